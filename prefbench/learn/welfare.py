"""Welfare: what a policy optimiser maximises when several groups have a reward each.

Let F_g(pi) = E[r_g] - beta KL(pi || pi_ref) be group g's value. A welfare W(F_1, ..., F_G) is optimised
through its weights w_g = dW/dF_g: a batch of rewards [batch, groups] becomes one number per response,
[batch], sum_g w_g r_g. Only the per-sample minimum is not of that kind. Where responses can be listed,
`learn/exact.py` has each welfare's exact optimum.

Before any comparison of groups the rewards must share a zero and a unit: Bradley-Terry rewards are only
defined up to shift and scale, so `Rewards` centres each on the reference policy and divides by its spread
there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["population_min", "per_sample_min", "dual", "mean", "nash", "leximin", "alpha"]

LEXIMIN_DECAY = 0.1
"""Weight of the next worst group relative to the worst one: leximin is the limit of zero."""
NASH_FLOOR = 0.05
"""Least gain that a Nash weight is computed with: before anybody has gained, all weights are equal."""


@dataclass(frozen=True)
class Welfare:
    """How several groups' rewards become one."""

    kind: Kind
    shares: tuple[float, ...] | None = None
    """Weights of the groups in `mean`, `nash` and `alpha`; None weighs them equally."""
    alpha: float = -1.0
    """Of `alpha`: W = (1/alpha) log sum_g share_g exp(alpha F_g); towards 0 the mean, to -inf the minimum."""
    step: float = 0.1
    """Of `dual`: step of the mirror descent on the group weights."""

    def __call__(
        self, rewards: np.ndarray, values: np.ndarray | None = None, past: np.ndarray | None = None
    ) -> np.ndarray:
        """One number per response, [batch].

        Args:
            rewards: normalised rewards of this batch, [batch, groups].
            values: F_g of the current policy, [groups]; the batch's means if left out.
            past: the batches' mean rewards so far, [iterations, groups].
        """
        if self.kind == "per_sample_min":
            # What the authors' scripts do. E[min_g r_g] <= min_g E[r_g]: the harsher of the two.
            return np.asarray(rewards.min(axis=1))
        means = rewards.mean(axis=0) if values is None else values
        if self.kind == "population_min":
            # MaxMin-RLHF, Algorithm 1, line 3. The KL charge is the same for every group, so the argmin
            # over F_g is the argmin over mean rewards.
            return np.asarray(rewards[:, int(means.argmin())])
        if self.kind == "mean":
            return np.asarray(np.average(rewards, axis=1, weights=self.shares))
        return np.asarray(rewards @ self.group_weights(means, past))

    def group_weights(self, values: np.ndarray, past: np.ndarray | None) -> np.ndarray:
        """dW/dF_g up to a factor, summing to one, [groups]."""
        count = len(values)
        shares = np.full(count, 1 / count) if self.shares is None else np.asarray(self.shares)
        if self.kind == "dual":
            # Mirror descent on the simplex of group weights: w <- w exp(-step F), all steps at once.
            return _softmax(-self.step * (np.zeros(count) if past is None else past.sum(axis=0)))
        if self.kind == "alpha":
            return _softmax(np.log(shares) + self.alpha * values)
        if self.kind == "leximin":
            weights = np.empty(count)
            weights[values.argsort(kind="stable")] = LEXIMIN_DECAY ** np.arange(count)
            return np.asarray(weights / weights.sum())
        if self.kind == "nash":
            # W = sum_g share_g log(F_g - F_g(pi_ref)), and F_g(pi_ref) = 0 for normalised rewards.
            weights = shares / np.maximum(values, NASH_FLOOR)
            return np.asarray(weights / weights.sum())
        raise ValueError(f"{self.kind} has no group weights")


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())


population_min = Welfare("population_min")
per_sample_min = Welfare("per_sample_min")


def mean(weights: Sequence[float] | None = None) -> Welfare:
    """The utilitarian welfare: the groups' average reward, weighted by `weights` or equally."""
    return Welfare("mean", None if weights is None else tuple(weights))
