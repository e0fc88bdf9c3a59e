"""Ensembles of rewards that prefer a response as often as people do (Halpern et al. 2025, arXiv 2506.06298).

A reward is drawn with chance lambda_k and decides alone. The ensemble is calibrated on a pair (a, b) if it
prefers a as often as the share s of people who do, and its error is

    E ( sum_k lambda_k 1{r_k(a) > r_k(b)} - s )^2.

Of a pair that only one person labelled, s is 0 or 1 and the error is Brier's score of that label, which the
same chances minimise in expectation. To find the best ensemble is NP-hard; it is built stage by stage: to the
chances p so far comes a reward h with weight alpha,

    minimise over alpha in [0, 1] and h   E ( (1 - alpha) p + alpha 1{h(a) > h(b)} - s )^2.

For a given alpha that is classification: 1{h(a) > h(b)} costs alpha (alpha + 2 ((1 - alpha) p - s)), so the
sign of the bracket says which side h should prefer and its size how much the pair weighs. It is solved by
logistic regression for some alphas; alpha itself then has a closed form for each, and the best of all is
kept. The form of the fit is ours; of the source only the objective and the stages are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Floats
from prefbench.learn.rewards import fit_linear

STEPS = (0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
"""Weights of a new reward that it is fitted for; the first reward has weight 1."""
LEAST_GAIN = 1e-4
"""Fall of the error below which a stage adds nothing."""


@dataclass(frozen=True)
class Ensemble:
    """Linear rewards with their chances."""

    heads: Floats
    """[d, K]"""
    weights: Floats
    """[K] lambda, positive, with sum one."""
    errors: tuple[float, ...]
    """[K] of the pairs after each stage."""

    def chances(self, difference: Floats) -> Floats:
        """Chance of preferring the first response, for feature differences [pairs, d], [pairs]."""
        return np.asarray(prefers(difference @ self.heads) @ self.weights)


def prefers(margin: Floats) -> Floats:
    """1 where a reward's margin is above 0, 1/2 where it is 0, elementwise."""
    return np.asarray((np.sign(margin) + 1) / 2)


def error(chances: Floats, share: Floats, count: Floats) -> float:
    """E (chances - share)^2 over pairs [pairs], each as often as it has labels."""
    return float(np.average((chances - share) ** 2, weights=count))


def floor_of_one(share: Floats, count: Floats) -> float:
    """E min(s, 1 - s)^2: the least error of a single reward, whatever it is."""
    return error(np.zeros_like(share), np.minimum(share, 1 - share), count)


def fit_ensemble(difference: Floats, share: Floats, count: Floats, *, stages: int, ridge: float) -> Ensemble:
    """Rewards and their chances, stage by stage.

    Args:
        difference: [pairs, d] features of the first response less those of the second.
        share: [pairs] of people who prefer the first.
        count: [pairs] labels that each share comes of: its weight.
        stages: most rewards K; fewer where one more would add nothing.
        ridge: of each reward.
    """
    heads: list[Floats] = []
    errors: list[float] = []
    weights = np.zeros(0)
    chances = np.full(len(share), 0.5)
    for _ in range(stages):
        tried = [
            _stage(difference, share, count, chances, step, ridge) for step in (STEPS if heads else (1.0,))
        ]
        reached, alpha, head = min(tried, key=lambda one: one[0])
        if heads and reached > errors[-1] - LEAST_GAIN:
            break
        heads.append(head)
        weights = np.append((1 - alpha) * weights, alpha)
        chances = (1 - alpha) * chances + alpha * prefers(difference @ head)
        errors.append(reached)
    return Ensemble(np.stack(heads, axis=1), weights, tuple(errors))


def _stage(
    difference: Floats, share: Floats, count: Floats, chances: Floats, step: float, ridge: float
) -> tuple[float, float, Floats]:
    """Error, weight and reward of one more stage, the reward fitted for a given weight."""
    cost = step + 2 * ((1 - step) * chances - share)
    weight = count * np.abs(cost)
    if not weight.any():  # a coin is as good as any reward
        return error(chances, share, count), 0.0, np.zeros(difference.shape[1])
    head = fit_linear(difference * np.where(cost > 0, -1.0, 1.0)[:, None], ridge, weight)
    away = prefers(difference @ head) - chances
    along = float(count @ away**2)
    alpha = min(max(float(count @ (away * (share - chances))) / along, 0.0), 1.0) if along else 0.0
    alpha = 1.0 if step == 1 else alpha
    return error(chances + alpha * away, share, count), alpha, head
