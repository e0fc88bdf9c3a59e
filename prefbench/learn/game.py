"""Policies of several groups where every response can be listed, and what each group's value of one is.

For group rewards r_g(x, y), a reference pi_ref and a KL weight beta > 0, group g's value of a policy is

    V_g(pi) = E_x [ E_{y~pi} r_g(x, y) - beta KL(pi(.|x) || pi_ref(.|x)) ].

For group weights w on the simplex, sum_g w_g V_g has the closed-form optimum pi_w ~ pi_ref exp(sum_g w_g
r_g / beta) with value (the dual function)

    f(w) = beta E_x log sum_y pi_ref(y|x) exp(sum_g w_g r_g(x, y) / beta),

convex in w with gradient E_{pi_w}[r] and Hessian E_x Cov_{pi_w}(r) / beta. `exact.py` builds
on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.errors import PrefbenchError, UserError

CERTIFICATE = 1e-8
"""Largest duality gap that a solution may have, in units of the rewards."""


@dataclass(frozen=True)
class Game:
    """One policy and G groups. See the module's head for the symbols."""

    rewards: np.ndarray
    """[S, R, G] r_g(x, y)."""
    reference: np.ndarray
    """[S, R] pi_ref(y | x)."""
    weights: np.ndarray
    """[S] P(x), summing to one."""
    beta: float

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise UserError(
                f"KL weight {self.beta:g}: an exact optimum needs a positive one; give one above 0."
            )
        if not np.isfinite(self.rewards).all():
            raise PrefbenchError("a reward is not finite, so there is no exact optimum: check the rewards.")

    @property
    def groups(self) -> int:
        """G."""
        return int(self.rewards.shape[2])

    def policy(self, group_weights: np.ndarray) -> np.ndarray:
        """log pi_w(y | x), [S, R]: the optimum of sum_g w_g V_g for weights that sum to one."""
        return self._tilted(group_weights)[0]

    def _tilted(self, group_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log pi_w [S, R] and log Z_w [S]."""
        logits = np.log(self.reference) + self.rewards @ group_weights / self.beta
        top = logits.max(axis=1, keepdims=True)
        normaliser = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        return logits - normaliser, normaliser[:, 0]

    def dual(self, group_weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """f(w), its gradient [G] and its Hessian [G, G]."""
        logprob, normaliser = self._tilted(group_weights)
        mass = np.exp(logprob) * self.weights[:, None]
        flat = self.rewards.reshape(-1, self.groups)
        gradient = mass.ravel() @ flat
        local = (np.exp(logprob)[:, None, :] @ self.rewards)[:, 0]  # [S, G] means in each state
        second = flat.T @ (flat * mass.ravel()[:, None])
        hessian = (second - local.T @ (local * self.weights[:, None])) / self.beta
        return float(self.beta * (self.weights @ normaliser)), gradient, hessian

    def expected(self, logprob: np.ndarray) -> np.ndarray:
        """E_x E_{y~pi} r_g, [G]."""
        mass = np.exp(logprob) * self.weights[:, None]
        return np.asarray(mass.ravel() @ self.rewards.reshape(-1, self.groups))

    def kl(self, logprob: np.ndarray) -> float:
        """E_x KL(pi || pi_ref) in nats."""
        return float(self._kl_by_state(logprob) @ self.weights)

    def _kl_by_state(self, logprob: np.ndarray) -> np.ndarray:
        probability = np.exp(logprob)
        ratio = np.where(probability > 0, logprob - np.log(self.reference), 0.0)
        return np.asarray((probability * ratio).sum(axis=1))

    def values(self, logprob: np.ndarray) -> np.ndarray:
        """V_g(pi), [G]."""
        return self.expected(logprob) - self.beta * self.kl(logprob)

    def values_by_state(self, logprob: np.ndarray) -> np.ndarray:
        """V_g(pi) of each state by itself, [S, G]."""
        local = (np.exp(logprob)[:, None, :] @ self.rewards)[:, 0]
        return np.asarray(local - self.beta * self._kl_by_state(logprob)[:, None])


@dataclass(frozen=True)
class Solution:
    """An optimal policy and what proves it."""

    group_weights: np.ndarray
    """[G] the weights whose weighted sum this policy maximises, summing to one."""
    logprob: np.ndarray
    """[S, R] log pi(y | x)."""
    values: np.ndarray
    """[G] V_g(pi)."""
    welfare: float
    """The welfare that was maximised."""
    gap: float
    """Duality gap: how much more welfare any policy could have at most."""


def utilitarian(game: Game, shares: np.ndarray | None = None) -> Solution:
    """max sum_g share_g V_g, in closed form."""
    weights = np.full(game.groups, 1 / game.groups) if shares is None else shares / shares.sum()
    logprob = game.policy(weights)
    values = game.values(logprob)
    return Solution(weights, logprob, values, float(weights @ values), 0.0)


def group_optima(game: Game) -> np.ndarray:
    """Each group's own best value max_pi V_g, [G]."""
    return np.array([game.dual(np.eye(game.groups)[g])[0] for g in range(game.groups)])


def best_weighted(game: Game, multipliers: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """max_pi l . V for any l >= 0 but zero, its gradient [G] and its Hessian [G, G]."""
    total = multipliers.sum()
    p = multipliers / total
    value, gradient, hessian = game.dual(p)
    product = hessian @ p
    curved = (hessian - product[:, None] - product[None, :] + p @ product) / total
    return total * value, value + gradient - float(gradient @ p), curved


def scale_of(game: Game) -> float:
    """Spread of the rewards, at least one: the unit of tolerances."""
    return max(1.0, float(np.ptp(game.rewards, axis=(0, 1)).max()))


def certified(
    name: str,
    weights: np.ndarray,
    logprob: np.ndarray,
    values: np.ndarray,
    welfare: float,
    bound: float,
    largest: float = CERTIFICATE,
) -> Solution:
    """The solution with its duality gap.

    Raises:
        PrefbenchError: the gap is above `largest`.
    """
    gap = bound - welfare
    if not abs(gap) <= largest:
        raise PrefbenchError(
            f"the exact {name} optimum was not reached: its duality gap is {gap:.2g}, above "
            f"{largest:.0e}; raise the KL weight or bring the rewards to a common scale."
        )
    return Solution(weights, logprob, values, welfare, max(0.0, gap))
