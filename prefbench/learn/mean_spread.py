"""Rewards that are normal over people, mean and standard deviation both read off frozen features.

    r(x, y) ~ N(mu, SD^2),    mu = phi . theta,    SD = s softplus(b + psi . sigma) / m

with psi = phi less its mean and m the root mean square of the softplus, both over the responses in the pairs;
b makes it 1 where psi . sigma is 0. So s is the root mean square of SD. Where labels say only which response
is better, mu and SD have no common scale (the chance of a label depends on their ratio alone), and s is 1.
Where they have grades the intervals between these fix the scale, and s is fitted.

The loss of a pair depends on mu+ - mu-, SD+ and SD-. `ordered` is that of distributional preference learning
(Siththaranjan, Laidlaw and Hadfield-Menell 2024, arXiv 2312.08358, mean-and-variance form):

    softplus( -sqrt(2 pi) z ),    z = (mu+ - mu-) / sqrt(SD+^2 + SD-^2)

With one SD for all, z = D mu / sqrt(2), it is Bradley-Terry's for the reward sqrt(pi) mu.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.learn.rewards import fit_linear, log_likelihood, residual

SLOPE = math.sqrt(2 * math.pi)
UNIT = math.sqrt(math.pi)
"""Bradley-Terry reward that a mean of 1 stands for, where every SD is 1."""
OFFSET = math.log(math.e - 1)
"""b: softplus of it is 1."""
PRECISE: Any = {"gtol": 1e-8, "ftol": 1e-14, "maxiter": 3000, "maxfun": 6000}
PairLoss = Callable[[Floats, Floats, Floats], tuple[Floats, Floats, Floats, Floats]]
"""(mu+ - mu-, SD+, SD-), [pairs] each, to the loss of each pair and its derivatives by the three."""


@dataclass(frozen=True)
class MeanSpread:
    """A mean and a standard deviation over people for each response."""

    theta: Floats
    """[d]"""
    sigma: Floats
    """[d]"""
    centre: Floats
    """[d] mean of the features over the responses in the pairs."""
    scale: float
    """s / m."""

    def mean(self, features: Floats) -> Floats:
        """mu of responses with these features [n, d], [n]."""
        return np.asarray(features @ self.theta)

    def spread(self, features: Floats) -> Floats:
        """SD of the same, [n]."""
        return np.asarray(self.scale * np.logaddexp(0.0, OFFSET + (features - self.centre) @ self.sigma))

    def explained(self, features: Floats) -> float:
        """r^2 = Var(mu) / (Var(mu) + E SD^2): near 1 where people want the same of these responses."""
        return explained(self.mean(features), self.spread(features))


def explained(mean: Floats, spread: Floats) -> float:
    """Share of the variance of rewards that lies between responses and not between people."""
    between = float(mean.var())
    return between / max(between + float((spread**2).mean()), 1e-300)


def ordered(strength: Floats | None = None) -> PairLoss:
    """softplus(-sqrt(2 pi) z) of each pair; with strength Z of both directions, by Z and 1 - Z."""

    def loss(d: Floats, chosen: Floats, rejected: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        variance = chosen**2 + rejected**2
        z = d / np.sqrt(variance)
        pull = -SLOPE * residual(SLOPE * z, strength)  # by z
        away = -pull * z / variance
        value = -log_likelihood(SLOPE * z, strength)
        return value, pull / np.sqrt(variance), away * chosen, away * rejected

    return loss


def fit_mean_spread(
    chosen: Floats,
    rejected: Floats,
    loss: PairLoss,
    *,
    ridge: float,
    spread_ridge: float,
    unit: float = UNIT,
    strength: Floats | None = None,
    weights: Floats | None = None,
    free_scale: bool = False,
) -> MeanSpread:
    """The mean and the spread that minimise the pairs' summed loss and ridge penalties.

    Args:
        chosen: [pairs, d] features of one response of each pair.
        rejected: [pairs, d] of the other one.
        loss: of the pairs.
        ridge: of unit theta, the Bradley-Terry reward that a mean stands for where every SD is 1.
        spread_ridge: of sigma.
        unit: rewards that a mean of 1 stands for.
        strength: [pairs] of labels for the Bradley-Terry reward that the fit begins with.
        weights: [pairs] of the losses; None counts each once.
        free_scale: fit s instead of having it 1.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    count, width = chosen.shape
    both = np.concatenate([chosen, rejected])
    centre = both.mean(axis=0)
    psi, difference = both - centre, chosen - rejected
    each = np.ones(count) if weights is None else weights

    def objective(point: Floats) -> tuple[float, Floats]:
        theta, sigma, s = point[:width], point[width : 2 * width], math.exp(point[2 * width])
        raw = OFFSET + psi @ sigma
        soft = np.logaddexp(0.0, raw)
        square = float((soft**2).mean())
        spread = s * soft / math.sqrt(square)
        value, by_mean, *by_spread = loss(difference @ theta, spread[:count], spread[count:])
        pull = np.concatenate([each * by_spread[0], each * by_spread[1]])
        along = float(pull @ spread)  # by log s
        by_soft = s / math.sqrt(square) * pull - along / (len(both) * square) * soft
        penalties = ridge * unit**2 * (theta @ theta) / 2 + spread_ridge * (sigma @ sigma) / 2
        by_theta = difference.T @ (each * by_mean) + ridge * unit**2 * theta
        by_sigma = psi.T @ (by_soft * expit(raw)) + spread_ridge * sigma
        by_scale = np.array([along if free_scale else 0.0])
        return float(each @ value + penalties), np.concatenate([by_theta, by_sigma, by_scale])

    start = fit_linear(difference, ridge, weights, strength, precise=True) / unit
    point = np.concatenate([start, np.zeros(width + 1)])
    found = minimize(objective, point, jac=True, method="L-BFGS-B", options=PRECISE).x
    theta, sigma = found[:width], found[width : 2 * width]
    soft = np.logaddexp(0.0, OFFSET + psi @ sigma)
    return MeanSpread(theta, sigma, centre, math.exp(found[2 * width]) / math.sqrt(float((soft**2).mean())))
