"""Policies and rewards of a world fitted to pairs, exactly.

A loss of the difference of log-ratios is convex in the parameters, as the normaliser cancels. One of each
log-ratio need not be: then the fit is the stationary point that is reached from the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefbench.arrays import Floats, Ints
from prefbench.errors import Diverged
from prefbench.learn.interface import Pairs
from prefbench.learn.pairwise import LabelledLoss

SMOOTHING = (10.0, 100.0, 1e3, 1e4)
"""Sharpness of the smooth maximum over groups, in steps: the last is within log(G) / 1e4 of the maximum."""
ROUNDS = 200
"""Most fits with the divergence of the policy before."""
SETTLED = 1e-8
"""Nats between the divergence that a loss is given and the one of its policy, at which they are the same."""

Losses = Callable[[Floats], tuple[Floats, Callable[[Floats], Floats]]]
"""Parameters [d] to losses [pairs] and a function from weights of these [pairs] to the gradient of their
weighted sum [d]."""


def members_of(pairs: Pairs) -> Floats:
    """Weights of the pairs in each group's mean loss, [groups, pairs]; without groups in the mean of all."""
    weights = np.ones(len(pairs)) if pairs.weights is None else pairs.weights / pairs.weights.mean()
    if pairs.group is None:
        return np.ones((1, len(pairs))) * weights / len(pairs)
    _, group = np.unique(pairs.group.astype(str), return_inverse=True)
    members = (group == np.arange(group.max() + 1)[:, None]) * weights
    return np.asarray(members / members.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class PairsInWorld:
    """Pairs as places in a world's table of responses, with what a policy's parameters multiply."""

    design: Any
    """[S R, d] psi(x, y)."""
    chosen: Ints
    """[pairs] places in the flattened table."""
    rejected: Ints
    reference: Floats
    """[S, R] pi_ref(y | x)."""

    def table(self, theta: Floats) -> Floats:
        """log pi(y|x) / pi_ref(y|x) of every response, [S, R], of pi ~ pi_ref exp(theta . psi)."""
        from scipy.special import logsumexp

        tilt = (self.design @ theta).reshape(self.reference.shape)
        return np.asarray(tilt - logsumexp(tilt, axis=1, keepdims=True, b=self.reference))

    def divergence(self, theta: Floats, weights: Floats) -> float:
        """Mean of KL(pi || pi_ref) over the pairs' prompts, by these weights [pairs], nats."""
        ratio = self.table(theta)
        each = (self.reference * np.exp(ratio) * ratio).sum(axis=1)
        return float(np.average(each[self.chosen // ratio.shape[1]], weights=weights))


def fit(pairs: PairsInWorld, members: Floats, loss: LabelledLoss, penalty: float) -> Floats:
    """theta that minimises max_g sum_i members[g, i] loss_i + penalty |theta|^2 / 2, from theta = 0.

    A loss that is given the divergence is minimised with that of the policy before, until both are the same.

    Raises:
        Diverged: there is no finite minimum, or the divergence does not settle.
    """
    size = pairs.design.shape[1]
    if not loss.ratios:
        return fit_worst(_of_differences(pairs, loss), np.zeros(size), members, penalty)
    theta, kl, weights = np.zeros(size), 0.0, members.sum(axis=0)
    for _ in range(ROUNDS):
        theta = fit_worst(_of_ratios(pairs, loss, kl), theta, members, penalty)
        before, kl = kl, pairs.divergence(theta, weights)
        if not loss.divergence or abs(kl - before) <= SETTLED:
            return theta
    raise Diverged(f"the policy's divergence did not settle in {ROUNDS} fits: raise model.penalty.")


def _of_differences(pairs: PairsInWorld, loss: LabelledLoss) -> Losses:
    difference = pairs.design[pairs.chosen] - pairs.design[pairs.rejected]

    def at(theta: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
        losses, slope = loss.slopes(difference @ theta)
        return losses, lambda weights: difference.T @ (weights * slope)

    return at


def _of_ratios(pairs: PairsInWorld, loss: LabelledLoss, kl: float) -> Losses:
    def at(theta: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
        ratio = pairs.table(theta)
        losses, slope = loss.slopes(ratio.ravel()[np.stack([pairs.chosen, pairs.rejected])], kl)

        def gradient(weights: Floats) -> Floats:
            # The derivative of log pi(y|x) / pi_ref(y|x) is psi(x, y) - E_pi psi(x, .).
            each, count = weights * slope, ratio.size
            pull = np.bincount(pairs.chosen, each[0], count) + np.bincount(pairs.rejected, each[1], count)
            pull = pull.reshape(ratio.shape)
            away = pull - pull.sum(axis=1, keepdims=True) * pairs.reference * np.exp(ratio)
            return np.asarray(pairs.design.T @ away.ravel())

        return losses, gradient

    return at


def fit_worst(losses: Losses, start: Floats, members: Floats, penalty: float) -> Floats:
    """theta that minimises max_g members[g] . losses(theta) + penalty |theta|^2 / 2.

    The maximum is smoothed as log-sum-exp, the sharper the nearer theta is; one group needs no smoothing.

    Raises:
        Diverged: a loss is not finite where the fit begins or ends, or there is no finite minimum.
    """
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    _check_finite(losses(start)[0], "begins")
    theta = start
    for sharpness in SMOOTHING if len(members) > 1 else (1.0,):

        def objective(theta: Floats, sharpness: float = sharpness) -> tuple[float, Floats]:
            each, gradient = losses(theta)
            group = members @ each
            value = logsumexp(sharpness * group) / sharpness
            weights = np.exp(sharpness * (group - value))
            return float(value + penalty * (theta @ theta) / 2), gradient(weights @ members) + penalty * theta

        found = minimize(objective, theta, jac=True, method="L-BFGS-B", options=_PRECISE)
        theta = found.x
    if not np.isfinite(theta).all():
        raise Diverged("a pairwise loss has no finite minimum: raise model.penalty.")
    _check_finite(losses(theta)[0], "ends")
    return np.asarray(theta)


def _check_finite(losses: Floats, where: str) -> None:
    wrong = np.flatnonzero(~np.isfinite(losses))
    if len(wrong):
        raise Diverged(
            f"the loss of {len(wrong)} of {len(losses)} pairs is not finite where the fit {where} "
            f"({losses[wrong[0]]:g}): mend the loss."
        )


_PRECISE: Any = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 5000, "maxfun": 20000}
