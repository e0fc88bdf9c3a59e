"""Rewards that are a distribution over a few values, read off frozen features.

    P(U(x, y) = v_k) = softmax_k( b_k + psi . W_k ),    v_k = k / (K - 1), k = 0, ..., K - 1

with psi the features less their mean over the responses in the pairs. The categorical form of distributional
preference learning (arXiv 2312.08358) minimises, over pairs,

    -log( P(U+ > U-) + P(U+ = U-) / 2 ) + entropy sum_k p_k log p_k,    p the mean distribution of responses

U+ and U- being independent. The second term keeps all responses from having one value: it is the mean
distribution that is spread out, not each one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Floats
from prefbench.learn.mean_spread import PRECISE, explained

ATOMS = 10
"""K, as the source has it."""
LEAST = 1e-12


@dataclass(frozen=True)
class Categorical:
    """A distribution over values between 0 and 1 for each response."""

    weights: Floats
    """[d, K]"""
    offset: Floats
    """[K]"""
    centre: Floats
    """[d] mean of the features over the responses in the pairs."""

    def chances(self, features: Floats) -> Floats:
        """P(U = v_k) of responses with these features [n, d], [n, K]."""
        return _softmax(self.offset + (features - self.centre) @ self.weights)

    def mean(self, features: Floats) -> Floats:
        """E U, [n]."""
        return np.asarray(self.chances(features) @ values(len(self.offset)))

    def spread(self, features: Floats) -> Floats:
        """Standard deviation of U, [n]."""
        chances, value = self.chances(features), values(len(self.offset))
        return np.asarray(np.sqrt(np.maximum(chances @ value**2 - (chances @ value) ** 2, 0)))

    def explained(self, features: Floats) -> float:
        """r^2 = Var(E U) / (Var(E U) + E Var U)."""
        return explained(self.mean(features), self.spread(features))


def values(atoms: int) -> Floats:
    """v, [atoms]."""
    return np.linspace(0.0, 1.0, atoms)


def ahead(chosen: Floats, rejected: Floats) -> Floats:
    """P(U+ > U-) + P(U+ = U-) / 2 for independent U with these chances [pairs, K] each, [pairs]."""
    return np.asarray((chosen * _at_most(rejected)).sum(axis=1))


def _at_most(chances: Floats) -> Floats:
    """P(U < v_k) + P(U = v_k) / 2, [n, K]."""
    return np.asarray(chances.cumsum(axis=1) - chances / 2)


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_categorical(
    chosen: Floats,
    rejected: Floats,
    *,
    ridge: float,
    entropy: float,
    atoms: int = ATOMS,
    strength: Floats | None = None,
) -> Categorical:
    """The distributions that minimise the loss above, summed over pairs, and a ridge penalty of W.

    Args:
        chosen: [pairs, d] features.
        rejected: [pairs, d]
        ridge: weight of |W|^2 / 2.
        entropy: weight of the second term.
        atoms: K.
        strength: [pairs] of the labels: the loss of both directions counts, by Z and 1 - Z; None where all
            are certain.
    """
    from scipy.optimize import minimize

    count, width = chosen.shape
    both = np.concatenate([chosen, rejected])
    centre = both.mean(axis=0)
    psi = both - centre
    certain = np.ones(count) if strength is None else strength

    def objective(point: Floats) -> tuple[float, Floats]:
        weights, offset = point[atoms:].reshape(width, atoms), point[:atoms]
        p = _softmax(offset + psi @ weights)
        first, second = p[:count], p[count:]
        below = _at_most(second)
        # Both chances sum to one; each is computed, lest a small one drown in rounding.
        forth = np.maximum((first * below).sum(axis=1), LEAST)
        back = np.maximum((second * _at_most(first)).sum(axis=1), LEAST)
        overall = np.maximum(p.mean(axis=0), LEAST)
        value = -(certain * np.log(forth) + (1 - certain) * np.log(back)).sum()
        value += entropy * count * (overall * np.log(overall)).sum()
        pull = (-certain / forth + (1 - certain) / back)[:, None]  # by P(ahead), as back = 1 - forth
        by_chance = np.concatenate([pull * below, pull * (1 - _at_most(first))])
        by_chance += entropy / 2 * (np.log(overall) + 1)
        by_logit = p * (by_chance - (p * by_chance).sum(axis=1, keepdims=True))
        return float(value) + ridge * (weights**2).sum() / 2, np.concatenate(
            [by_logit.sum(axis=0), (psi.T @ by_logit + ridge * weights).ravel()]
        )

    found = minimize(objective, np.zeros(atoms * (width + 1)), jac=True, method="L-BFGS-B", options=PRECISE).x
    return Categorical(found[atoms:].reshape(width, atoms), found[:atoms], centre)
