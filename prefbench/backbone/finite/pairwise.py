"""Policies and rewards of a world fitted to pairs: losses are convex in their parameters, fits exact."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.errors import Diverged
from prefbench.learn.interface import Pairs, PairwiseLoss
from prefbench.learn.pairwise import torch_slopes

SMOOTHING = (10.0, 100.0, 1e3, 1e4)
"""Sharpness of the smooth maximum over groups, in steps: the last is within log(G) / 1e4 of the maximum."""


def members_of(pairs: Pairs) -> Floats:
    """Weights of the pairs in each group's mean loss, [groups, pairs]; without groups in the mean of all."""
    weights = np.ones(len(pairs)) if pairs.weights is None else pairs.weights / pairs.weights.mean()
    if pairs.group is None:
        return np.ones((1, len(pairs))) * weights / len(pairs)
    _, group = np.unique(pairs.group.astype(str), return_inverse=True)
    members = (group == np.arange(group.max() + 1)[:, None]) * weights
    return np.asarray(members / members.sum(axis=1, keepdims=True))


def fit_worst(difference: Any, members: Floats, loss: PairwiseLoss, penalty: float) -> Floats:
    """theta that minimises max_g sum_i members[g, i] loss(theta . difference_i) + penalty |theta|^2 / 2.

    The maximum is smoothed as log-sum-exp, the sharper the nearer theta is; one group needs no smoothing.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    theta = np.zeros(difference.shape[1])
    slopes = getattr(loss, "slopes", None) or functools.partial(torch_slopes, loss)
    for sharpness in SMOOTHING if len(members) > 1 else (1.0,):

        def objective(theta: Floats, sharpness: float = sharpness) -> tuple[float, Floats]:
            losses, slope = slopes(difference @ theta)
            group = members @ losses
            value = logsumexp(sharpness * group) / sharpness
            weights = np.exp(sharpness * (group - value))
            gradient = difference.T @ ((weights @ members) * slope)
            return float(value + penalty * (theta @ theta) / 2), gradient + penalty * theta

        found = minimize(objective, theta, jac=True, method="L-BFGS-B", options=_PRECISE)
        theta = found.x
    if not np.isfinite(theta).all():
        raise Diverged("a pairwise loss has no finite minimum: raise model.penalty.")
    return np.asarray(theta)


_PRECISE: Any = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 5000, "maxfun": 20000}
