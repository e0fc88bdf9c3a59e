"""The best that a policy can do for the worst group once it is told something of its user.

With an experiment (`experiment.py`) that shows a context C of a person of group g, an adaptive policy answers
by pi_C, and group g has the value E_{C|g} V_g(pi_C), V_g with its KL charge as in `game.py`. For a prior w on
groups the posterior is p_g(C) ~ w_g P(C | g), and in each context the best policy for the mean over it is
pi_p, the utilitarian optimum for weights p(C). Hence

    f(w) = sum_g w_g E_{C|g} V_g(pi_{p(C)}) = sum_C h(w_1 P(C|1), ..., w_G P(C|G)),

where h(m) = max_pi sum_g m_g V_g(pi) is what any weights can have of a policy. h is a maximum of linear
functions, so f is convex, its gradient is E_{C|g} V_g(pi_{p(C)}), and by minimax

    max over adaptive policies of min_g E_{C|g} V_g = min_w f(w).

The minimiser is the least favourable prior (Wald 1950): Bayes' policy for it is best for the worst group, and
no policy that is shown as much has more. Told nothing this is `exact.maxmin`; told the group, each group has
its own optimum. With the groups' shares for w instead one has the best policy for the population's mean.
Derivation: docs/personal.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Floats
from prefbench.errors import PrefbenchError
from prefbench.learn.experiment import Experiment
from prefbench.learn.game import CERTIFICATE, Game, scale_of
from prefbench.learn.newton import minimise_on_simplex

BLOCK = 2_000_000
"""Probabilities of responses that are held at once."""


@dataclass(frozen=True)
class Adaptive:
    """Bayes' policy for a prior, what the groups have of it, and what no adaptive policy can exceed."""

    prior: Floats
    """[G] w: what `posterior` takes."""
    values: Floats
    """[G] E_{C|g} V_g."""
    errors: Floats
    """[G] their standard errors, from the drawing of contexts."""
    bound: float
    """f(w): what the worst group can have of any policy at most; for shares, the best population mean."""
    bound_error: float
    """Standard error of `bound`."""

    @property
    def value(self) -> float:
        """E V_g of the worst group."""
        return float(self.values.min())

    @property
    def error(self) -> float:
        """Standard error of `value`."""
        return float(self.errors[self.values.argmin()])

    @property
    def gap(self) -> float:
        """Most that any policy could give the worst group beyond `value`, with these contexts."""
        return max(0.0, self.bound - self.value)


def posterior(loglik: Floats, prior: Floats) -> Floats:
    """p_g(C) ~ w_g P(C | g), as [..., G].

    Args:
        loglik: [..., G] log-likelihood of contexts under each group, up to a constant for each context, in
            nats; of no pair it is zero.
        prior: [G] w, not negative, with a positive sum.
    """
    with np.errstate(divide="ignore"):
        logits = loglik + np.log(prior)
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def values_of(game: Game, beliefs: Floats) -> tuple[Floats, Floats]:
    """V_g(pi_p) [C, G] for beliefs p [C, G] on groups, and the Hessians of the dual function there [C, G, G].

    As `Game.dual` for many weights at once: V_g = E r_g - p . E r + f(p), as beta KL = p . E r - f(p).
    """
    states, responses, groups = game.rewards.shape
    i, j = np.triu_indices(groups)
    rewards = game.rewards
    summed = np.concatenate([np.ones((states, responses, 1)), rewards, rewards[..., i] * rewards[..., j]], 2)
    slopes, base = np.moveaxis(rewards, 2, 1) / game.beta, np.log(game.reference)[:, None]
    values = np.empty_like(beliefs)
    hessians = np.empty((*beliefs.shape, groups))
    step = max(1, BLOCK // (states * responses))
    for start in range(0, len(beliefs), step):
        some = slice(start, start + step)
        p = beliefs[some]
        tilted = p @ slopes  # [S, C, R]
        tilted += base
        top = tilted.max(axis=2, keepdims=True)
        tilted -= top
        moments = np.exp(tilted, out=tilted) @ summed
        total, moments = moments[..., :1], moments[..., 1:] / moments[..., :1]
        best = game.beta * (game.weights @ (np.log(total) + top)[..., 0])
        local = moments[..., :groups]
        mean = np.tensordot(game.weights, local, 1)
        covariances = np.tensordot(game.weights, moments[..., groups:] - local[..., i] * local[..., j], 1)
        hessians[some, i, j] = hessians[some, j, i] = covariances / game.beta
        values[some] = mean + (best - (p * mean).sum(axis=1))[:, None]
    return values, hessians


def dual(game: Game, experiment: Experiment, weights: Floats) -> tuple[float, Floats, Floats]:
    """f(w) for positive weights, its gradient [G] (the groups' values) and its Hessian [G, G]."""
    mass = experiment.chances * weights
    total = mass.sum(axis=1)
    p = mass / total[:, None]
    values, hessians = values_of(game, p)
    gradient = (experiment.chances * values).sum(axis=0)
    # h is homogeneous: along m itself it has no curvature, and across it that of the dual, over |m|.
    product = np.einsum("cij,cj->ci", hessians, p)
    curved = hessians - product[:, :, None] - product[:, None, :] + (product * p).sum(axis=1)[:, None, None]
    hessian = np.einsum("ci,cj,cij->ij", experiment.chances, experiment.chances / total[:, None], curved)
    return float(weights @ gradient), gradient, hessian


def least_favourable(game: Game, experiment: Experiment) -> Adaptive:
    """max over adaptive policies of min_g E_{C|g} V_g, by the prior under which the best policy has least.

    The optimum is `value`, and `bound` too. Its standard error is `bound_error`: f is flat at its minimum,
    where an error of the prior adds nothing to that of the value.

    Raises:
        PrefbenchError: the certificate was not reached.
    """
    last: dict[bytes, tuple[float, Floats, Floats]] = {}

    def objective(w: Floats) -> tuple[float, Floats, Floats]:
        # Newton's method asks again where its line search ended: one pass over all contexts, not two.
        weights = w / w.sum()
        if (point := weights.tobytes()) not in last:
            last.clear()
            last[point] = dual(game, experiment, weights)
        return last[point]

    prior = minimise_on_simplex(objective, game.groups, scale_of(game)) * experiment.scale
    found = of_prior(game, experiment, prior / prior.sum())
    gap = found.bound - found.value
    if not abs(gap) <= CERTIFICATE:
        raise PrefbenchError(
            f"the least favourable prior was not found: its duality gap is {gap:.2g}, above "
            f"{CERTIFICATE:.0e}; raise the KL weight or bring the rewards to a common scale."
        )
    return found


def of_prior(game: Game, experiment: Experiment, prior: Floats) -> Adaptive:
    """Bayes' policy for a prior [G] that sums to one, such as the groups' shares."""
    policies = values_of(game, posterior(experiment.loglik, prior))[0]
    values = (experiment.chances * policies).sum(axis=0)
    # Where contexts are simulated, posteriors are by likelihoods, and the chances meet them but for chance.
    weights = prior / experiment.scale
    weights = weights / weights.sum()
    return Adaptive(
        prior=prior,
        values=values,
        errors=np.array([experiment.standard_error(policies, one) for one in np.eye(game.groups)]),
        bound=float(weights @ values),
        bound_error=experiment.standard_error(policies, weights),
    )
