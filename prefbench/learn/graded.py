"""Labels in classes, as a normal reward gives them: one response clearly better, slightly, or neither.

With r ~ N(mu, SD^2) of two responses and correlation rho, the difference is

    Delta ~ N( mu_A - mu_B,  SD_A^2 + SD_B^2 - 2 rho SD_A SD_B ),

and a label says in which interval it lies: |Delta| < 1/2 a tie, from 1/2 slightly, from 3/2 clearly better
(mean-variance rewards of Zhang et al. 2024, arXiv 2410.14632, whose loss is the divergence of a pair's label
frequencies from these chances). Strength Z says the class: |2Z - 1| is nearest to 0, 1/2 or 1. Labels that
never use a class have no interval for it: without ties the sign decides, without slight ones there is one
interval on each side.
"""

from __future__ import annotations

import math

import numpy as np

from prefbench.arrays import Bools, Floats
from prefbench.learn.mean_spread import MeanSpread, PairLoss
from prefbench.learn.votes import PairVotes

TIE, CLEAR = 0.5, 1.5
UNIT = 1.2
"""Bradley-Terry reward that a mean of 1 stands for where every SD is 1: of logistic slope 1.7 / sqrt(2)."""
LEAST = 1e-300


def classes(votes: PairVotes, strength: Floats | None) -> tuple[Floats, Floats]:
    """Label frequencies of each pair, and the edges of the classes that labels use.

    Args:
        votes: the labels by pair.
        strength: [labels] of them; None where all are certain.

    Returns:
        [pairs, C] with rows that sum to one, from the second response clearly better to the first; and
        [C - 1] edges, rising.
    """
    sure = np.ones(len(votes.pair)) if strength is None else 2 * strength - 1
    grade = np.rint(2 * np.where(votes.turned, -sure, sure))  # -2 ... 2, of the first response
    used = np.abs(grade)
    edges = [TIE] if (used == 0).any() else [0.0]
    edges += [CLEAR] if (used == 1).any() and (used == 2).any() else []
    whole = np.unique(np.array([-edge for edge in edges] + edges))
    middle = np.array([0.0, (TIE + CLEAR) / 2, CLEAR + 1])[used.astype(int)] * np.sign(grade)
    place = np.searchsorted(whole, middle)
    counts = np.zeros((len(votes.count), len(whole) + 1))
    np.add.at(counts, (votes.pair, place), 1.0)
    return counts / counts.sum(axis=1, keepdims=True), whole


def chances(d: Floats, spread: Floats, edges: Floats) -> Floats:
    """P(Delta in each interval) for Delta ~ N(d, spread^2), [pairs] each, as [pairs, C]."""
    from scipy.special import ndtr

    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    u = (bounds - d[:, None]) / spread[:, None]
    low, high = u[:, :-1], u[:, 1:]
    # Beyond the mean both are near one: on the other side their difference keeps its digits.
    above = low > 0
    return np.asarray(np.where(above, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low)))


def graded(frequency: Floats, edges: Floats, correlation: float) -> PairLoss:
    """KL( frequency || chances ) of each pair, with its derivatives.

    Args:
        frequency: [pairs, C] of the labels.
        edges: [C - 1] of the intervals.
        correlation: rho, from 0 below 1.
    """
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    known = np.where(frequency > 0, frequency, 1.0)
    entropy = (frequency * np.log(known)).sum(axis=1)

    def loss(d: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        spread = np.sqrt(first**2 + second**2 - 2 * correlation * first * second)
        p = np.maximum(chances(d, spread, edges), LEAST)
        u = (bounds - d[:, None]) / spread[:, None]
        density = np.exp(-(np.where(np.isfinite(u), u, 0.0) ** 2) / 2) / math.sqrt(2 * math.pi)
        density = np.where(np.isfinite(u), density, 0.0)
        moment = np.where(np.isfinite(u), u, 0.0) * density
        pull = -frequency / p  # by the chances
        by_d = -(pull * np.diff(density, axis=1)).sum(axis=1) / spread
        by_spread = -(pull * np.diff(moment, axis=1)).sum(axis=1) / spread
        return (
            entropy - (frequency * np.log(p)).sum(axis=1),
            by_d,
            by_spread * (first - correlation * second) / spread,
            by_spread * (second - correlation * first) / spread,
        )

    return loss


def divergence(found: MeanSpread, first: Floats, second: Floats, weight: float = 1.0) -> Floats:
    """|mu_A - mu_B| - weight (SD_A + SD_B) for features [n, d] each, [n]: low where people will disagree."""
    apart = np.abs(found.mean(first) - found.mean(second))
    return np.asarray(apart - weight * (found.spread(first) + found.spread(second)))


def auroc(score: Floats, positive: Bools) -> float | None:
    """Chance that a positive has a larger score than a negative, ties one half; None where one is missing.

    Args:
        score: [n]
        positive: [n]
    """
    from scipy.stats import rankdata

    some, others = int(positive.sum()), int((~positive).sum())
    if not some or not others:
        return None
    return float((rankdata(score)[positive].sum() - some * (some + 1) / 2) / (some * others))
