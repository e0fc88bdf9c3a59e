"""The sign estimator: a reward by the share of labels that it orders rightly (arXiv 2510.23965)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.one_policy import policy_for
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_everybody, fit_linear, pairs_of, strength_of
from prefbench.learn.weighted import Frozen, both_sides, spread
from prefbench.search import LogUniform
from prefbench.work import Recipe

STEPS = 8
"""Widths on the way to the last one, each fit beginning with the one before."""


class SignOptions(SingleRewardOptions):
    """A linear reward by its share of wrong signs, and PPO on it."""

    search = {"width": LogUniform(0.03, 1.0)}

    width: float = Field(0.1, gt=0)
    """Width of the rounded step that a sign is, in root mean squares of the pairs' margins."""


def fit_sign(
    difference: np.ndarray, start: np.ndarray, width: float, strength: np.ndarray | None = None
) -> np.ndarray:
    """The unit vector w that minimises the mean of sigmoid(-w . x / t), for t that falls to a width.

    Args:
        difference: feature differences x, chosen minus rejected, [pairs, d].
        start: weights to begin with, [d]; their direction counts.
        width: the last t, in root mean squares of the margins at the start; the first is 1.
        strength: of the labels, [pairs]; None where all are certain.

    Returns:
        [d], of length 1. The loss is not convex: it is the minimum that the start leads to.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    toward = np.ones(len(difference)) if strength is None else 2 * strength - 1
    weights = start / np.linalg.norm(start)
    unit = max(float(np.sqrt(np.mean((difference @ weights) ** 2))), 1e-12)
    for t in np.geomspace(1.0, width, STEPS) * unit:

        def objective(free: np.ndarray, t: float = t) -> tuple[float, np.ndarray]:
            length = np.linalg.norm(free)
            w = free / length
            wrong = expit(-(difference @ w) / t)
            # Z sigmoid(-m) + (1 - Z) sigmoid(m) is (2 Z - 1) sigmoid(-m) and a constant.
            slope = -(toward * wrong * (1 - wrong)) @ difference / (t * len(wrong))
            return float(np.mean(toward * wrong)), (slope - (slope @ w) * w) / length

        found = minimize(objective, weights, jac=True, method="L-BFGS-B").x
        weights = found / np.linalg.norm(found)
    return np.asarray(weights)


def features_and_policy(recipe: Recipe) -> None:
    """A reward for everybody, its features of every pair, and a policy by PPO on a reward of those."""
    recipe.everybody()
    recipe.features("features", passes=2)
    recipe.optimise("policy by PPO", 1)


@pb.aligner("sign_estimator", work=features_and_policy)
def sign_estimator(view: pb.View, backbone: pb.Backbone, options: SignOptions) -> pb.Policy:
    """A reward that orders as many labels rightly as it can, linear in frozen features, and PPO on it.

    Where people differ symmetrically about their mean, its direction is that of their mean utility, which a
    Bradley-Terry reward's is not. It begins with that reward, on features of everybody's.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0])
    chosen, rejected = both_sides(experts, train)
    certain, difference = strength_of(train), chosen - rejected
    start = fit_linear(difference, experts.penalty, strength=certain)
    weights = fit_sign(difference, start, options.width, certain)
    said = np.concatenate([chosen, rejected])
    unit, zero = spread(weights, said), said.mean(axis=0) @ weights

    def reward(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.asarray((experts(prompts, responses) @ weights - zero) / unit)[:, None]

    return policy_for(view, backbone, reward, options, held_out)
