"""Weights of several policies beside the reference in one product, chosen by labels for the worst off.

With log pi_w = (1 - sum_k w_k) log pi_ref + sum_k w_k log pi_k the difference of a pair's log-ratios, which
is DPO's implicit reward, is linear in the weights: D_w = sum_k w_k D_k, but for what normalises the product
at each token. The weights are

    argmax over w >= 0 with sum_k w_k <= s of  min over groups g of  mean over g's pairs of log sigmoid(D_w),

a concave problem of few variables. The reference is w = 0, so that no group's labels become less likely than
a coin makes them where nothing helps all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.arrays import Floats, Ints
from prefbench.learn.rewards import log_likelihood, residual

if TYPE_CHECKING:
    from prefbench.learn.interface import Pairs, Policy

PRECISE: Any = {"ftol": 1e-12, "maxiter": 1000}


def log_ratio_gains(policies: Sequence[Policy], reference: Policy, pairs: Pairs) -> Floats:
    """D_k of each pair, the chosen response's log-ratio less that of the rejected one, nats [pairs, K]."""

    def apart(policy: Policy) -> Floats:
        chosen, rejected = (policy.logprob(pairs.prompts, side) for side in (pairs.chosen, pairs.rejected))
        assert chosen is not None and rejected is not None
        return np.asarray(chosen - rejected)

    base = apart(reference)
    return np.stack([apart(policy) - base for policy in policies], axis=1)


def worst_off_weights(gain: Floats, group: Ints, most: float, strength: Floats | None = None) -> Floats:
    """Weights [K] under which the group whose labels are least likely has them likeliest.

    Args:
        gain: [pairs, K] D_k.
        group: [pairs] whose they are, from 0.
        most: what weights sum to at most.
        strength: [pairs] of the labels; None where all are certain.
    """
    from scipy.optimize import LinearConstraint, NonlinearConstraint, minimize

    policies = gain.shape[1]
    count = np.bincount(group)
    each = np.eye(len(count))[group] / count[group][:, None]  # [pairs, groups], to take means by

    def means(point: Floats) -> Floats:
        return np.asarray(log_likelihood(gain @ point[:policies], strength) @ each - point[policies])

    def slopes(point: Floats) -> Floats:
        by_weight = (residual(gain @ point[:policies], strength)[:, None] * each).T @ gain
        return np.column_stack([by_weight, np.full(len(count), -1.0)])

    def objective(point: Floats) -> tuple[float, Floats]:
        return float(upward @ point), upward

    # The last number is the least mean, which is raised as far as every group's mean lets it.
    upward = np.append(np.zeros(policies), -1.0)
    start = np.append(np.zeros(policies), np.log(0.5))
    within: Any = [
        NonlinearConstraint(means, 0, np.inf, jac=slopes),
        LinearConstraint(np.append(np.ones(policies), 0.0), -np.inf, most),
    ]
    bounds: Any = [*[(0.0, most)] * policies, (None, None)]
    found = minimize(
        objective,
        start,
        jac=True,
        method="SLSQP",
        bounds=bounds,
        constraints=within,
        options=PRECISE,
    )
    weights = np.clip(found.x[:policies], 0, most)
    return weights if means(np.append(weights, 0)).min() > np.log(0.5) else np.zeros(policies)
