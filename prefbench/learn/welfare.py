"""Welfare: what a policy optimiser maximises when several groups have a reward each.

A welfare turns a batch of rewards [batch, groups] into one number per response, [batch]. Before any
minimum the rewards must share a zero and a unit: Bradley-Terry rewards are only defined up to shift
and scale, so `Rewards` centres each on the reference policy and divides by its spread there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Welfare = Callable[[np.ndarray], np.ndarray]


def population_min(rewards: np.ndarray) -> np.ndarray:
    """Reward of the group whose mean over the batch is lowest (MaxMin-RLHF, Algorithm 1, line 3).

    The KL penalty is the same for every group, so the argmin over F_r is the argmin over mean rewards.
    """
    return np.asarray(rewards[:, int(rewards.mean(axis=0).argmin())])


def per_sample_min(rewards: np.ndarray) -> np.ndarray:
    """Lowest reward of each response; E[min_u r_u] <= min_u E[r_u], so it is the harsher of the two."""
    return np.asarray(rewards.min(axis=1))


def mean(weights: Sequence[float] | None = None) -> Welfare:
    """The utilitarian welfare: the groups' average reward, weighted by `weights` or equally."""

    def average(rewards: np.ndarray) -> np.ndarray:
        return np.asarray(np.average(rewards, axis=1, weights=weights))

    return average


WELFARES: dict[str, Welfare] = {
    "population_min": population_min,
    "per_sample_min": per_sample_min,
    "mean": mean(),
}
