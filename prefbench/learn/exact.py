"""Exact optima where every response can be listed, each with a certificate.

For group rewards r_g(x, y), a reference pi_ref and a KL weight beta > 0, group g's value of a policy is

    V_g(pi) = E_x [ E_{y~pi} r_g(x, y) - beta KL(pi(.|x) || pi_ref(.|x)) ].

For group weights w on the simplex, sum_g w_g V_g has the closed-form optimum pi_w ~ pi_ref exp(sum_g w_g
r_g / beta) with value (the dual function)

    f(w) = beta E_x log sum_y pi_ref(y|x) exp(sum_g w_g r_g(x, y) / beta),

convex in w with gradient E_{pi_w}[r] and Hessian E_x Cov_{pi_w}(r) / beta. Each welfare is then a convex
problem in as many unknowns as there are groups:

    maxmin     max_pi min_g V_g                         = min_w f(w)
    alpha < 0  max_pi (1/alpha) log sum s_g e^{alpha V_g} = min_w f(w) + KL(w || s) / |alpha|
    Nash       max_pi sum_g s_g log V_g                 = min_{l >= 0} max_pi l.V - sum s log l + (sum s log
    s) - 1

by minimax: V is concave in pi, and each welfare is concave and increasing. Whatever w is found, the
difference between the right side at w and the left side at pi_w bounds the error of both: that is the
certificate.
Source: MaxMin-RLHF, section 4 (arXiv 2402.08925) for the maxmin objective; the duals are derived in
docs/theory.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prefbench.errors import PrefbenchError, UserError
from prefbench.learn.welfare import Welfare

CERTIFICATE = 1e-8
"""Largest duality gap that a solution may have, in units of the rewards."""
NEWTON_STEPS = 100


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
            raise UserError(f"KL weight {self.beta:g}: an exact optimum needs a positive one.")
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
        probability = np.exp(logprob)
        ratio = np.where(probability > 0, logprob - np.log(self.reference), 0.0)
        return float((probability * ratio).sum(axis=1) @ self.weights)

    def values(self, logprob: np.ndarray) -> np.ndarray:
        """V_g(pi), [G]."""
        return self.expected(logprob) - self.beta * self.kl(logprob)


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
    """What was maximised."""
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


def maxmin(game: Game, offset: np.ndarray | None = None) -> Solution:
    """max_pi min_g (V_g - offset_g), by the dual over group weights.

    Raises:
        PrefbenchError: the certificate was not reached.
    """
    shift = np.zeros(game.groups) if offset is None else offset

    def objective(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient, hessian = game.dual(w)
        return value - float(w @ shift), gradient - shift, hessian

    weights = _minimise_on_simplex(objective, game.groups, _scale(game))
    logprob = game.policy(weights)
    values = game.values(logprob)
    welfare = float((values - shift).min())
    return _certified("maxmin", weights, logprob, values, welfare, objective(weights)[0])


def leximin(game: Game) -> Solution:
    """The maxmin optimum of which the next worst group, and so on, is as well off as can be.

    With beta > 0 every V_g is strictly concave in pi, so the maxmin policy is unique (of two, their average
    would leave the worst group better off) and there is nothing left to choose: leximin is maxmin.
    """
    return maxmin(game)


def alpha_welfare(game: Game, alpha: float, shares: np.ndarray | None = None) -> Solution:
    """max (1/alpha) log sum_g share_g exp(alpha V_g) for alpha < 0 (Park et al. 2024, arXiv 2405.00254).

    Raises:
        UserError: alpha is not negative; the welfare is then not concave.
        PrefbenchError: the certificate was not reached.
    """
    if not alpha < 0:
        raise UserError(
            f"alpha={alpha:g}: this welfare is concave for alpha < 0 only; towards 0 it is the mean."
        )
    prior = np.full(game.groups, 1 / game.groups) if shares is None else shares / shares.sum()

    def objective(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient, hessian = game.dual(w)
        ratio = np.log(w / prior)
        return (
            value + float(w @ ratio) / -alpha,
            gradient + (ratio + 1) / -alpha,
            hessian + np.diag(1 / w) / -alpha,
        )

    weights = _minimise_on_simplex(objective, game.groups, _scale(game))
    logprob = game.policy(weights)
    values = game.values(logprob)
    lowest = values.min()
    welfare = lowest + float(np.log(prior @ np.exp(alpha * (values - lowest)))) / alpha
    return _certified("alpha", weights, logprob, values, welfare, objective(weights)[0])


def nash(game: Game, shares: np.ndarray | None = None) -> Solution:
    """max sum_g share_g log(V_g - V_g(pi_ref)): the Nash bargaining solution against the reference.

    Raises:
        UserError: no policy is better than the reference for every group.
        PrefbenchError: the certificate was not reached.
    """
    prior = np.full(game.groups, 1 / game.groups) if shares is None else shares / shares.sum()
    disagreement = game.expected(np.log(game.reference))
    start = maxmin(game, disagreement)
    if start.welfare <= 1e-6 * _scale(game):
        raise UserError(
            "Nash welfare needs a policy that every group prefers to the reference; here the worst-off gains "
            f"{start.welfare:.2g} at most: choose another welfare."
        )

    def objective(multipliers: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        total = multipliers.sum()
        p = multipliers / total
        value, gradient, hessian = game.dual(p)
        value, gradient = value - float(p @ disagreement), gradient - disagreement
        product = hessian @ p
        curved = (hessian - product[:, None] - product[None, :] + p @ product) / total
        return (
            total * value - float(prior @ np.log(multipliers)) + float(prior @ np.log(prior)) - 1,
            value + gradient - float(gradient @ p) - prior / multipliers,
            curved + np.diag(prior / multipliers**2),
        )

    # At the optimum multiplier = share / gain.
    multipliers = _newton(
        objective, prior / np.maximum(start.values - disagreement, start.welfare), 1e-10, False
    )
    weights = multipliers / multipliers.sum()
    logprob = game.policy(weights)
    values = game.values(logprob)
    welfare = float(prior @ np.log(values - disagreement))
    return _certified("Nash", weights, logprob, values, welfare, objective(multipliers)[0])


def optimum(game: Game, welfare: Welfare) -> Solution:
    """The exact optimum of any welfare of `learn/welfare.py`."""
    shares = None if welfare.shares is None else np.asarray(welfare.shares)
    if welfare.kind == "mean":
        return utilitarian(game, shares)
    if welfare.kind == "per_sample_min":
        lowest = Game(game.rewards.min(axis=2, keepdims=True), game.reference, game.weights, game.beta)
        found = utilitarian(lowest)
        return Solution(found.group_weights, found.logprob, game.values(found.logprob), found.welfare, 0.0)
    if welfare.kind == "nash":
        return nash(game, shares)
    if welfare.kind == "alpha":
        return alpha_welfare(game, welfare.alpha, shares)
    if welfare.kind == "leximin":
        return leximin(game)
    return maxmin(game)


def pareto_distance(game: Game, values: np.ndarray) -> float:
    """How much more V_g every group could have at once: zero on the Pareto front, [in units of V].

    max_pi min_g (V_g(pi) - values_g), which is maxmin with an offset.
    """
    return max(0.0, maxmin(game, values).welfare)


def _scale(game: Game) -> float:
    return max(1.0, float(np.ptp(game.rewards, axis=(0, 1)).max()))


def _certified(
    name: str,
    weights: np.ndarray,
    logprob: np.ndarray,
    values: np.ndarray,
    welfare: float,
    bound: float,
) -> Solution:
    gap = bound - welfare
    if not abs(gap) <= CERTIFICATE:
        raise PrefbenchError(
            f"the exact {name} optimum was not reached: its duality gap is {gap:.2g}, above "
            f"{CERTIFICATE:.0e}; raise the KL weight or bring the rewards to a common scale."
        )
    return Solution(weights, logprob, values, welfare, max(0.0, gap))


Objective = Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]]
"""Value, gradient and Hessian of a smooth convex function."""


def _minimise_on_simplex(objective: Objective, size: int, scale: float) -> np.ndarray:
    """A minimiser inside the simplex by a log-barrier method.

    On the central path with barrier weight m the duality gap is at most size * m, so the last m decides it
    (Boyd and Vandenberghe 2004, section 11.2).
    """
    x = np.full(size, 1 / size)
    if size == 1:
        return x
    barrier = 0.1 * scale
    last = 0.1 * CERTIFICATE / size
    while True:

        def penalised(point: np.ndarray, weight: float = barrier) -> tuple[float, np.ndarray, np.ndarray]:
            value, gradient, hessian = objective(point)
            return (
                value - weight * float(np.log(point).sum()),
                gradient - weight / point,
                hessian + np.diag(weight / point**2),
            )

        x = _newton(penalised, x, 0.1 * barrier, fixed_sum=True)
        if barrier <= last:
            return x
        barrier = max(last, 0.05 * barrier)


def _newton(objective: Objective, x: np.ndarray, tolerance: float, fixed_sum: bool) -> np.ndarray:
    """Newton's method with backtracking for positive x, until every x_i dF/dx_i is within the tolerance.

    With a fixed sum (of one) the gradient counts up to a common shift.
    """
    size = len(x)
    border = int(fixed_sum)
    value, gradient, hessian = objective(x)
    for _ in range(NEWTON_STEPS):
        if fixed_sum:
            gradient = gradient - gradient @ x
        slope = gradient * x
        if np.abs(slope).max() <= tolerance:
            break
        # In units of x itself: barrier terms of very different sizes then weigh alike.
        system = np.zeros((size + border, size + border))
        system[:size, :size] = hessian * np.outer(x, x)
        if fixed_sum:
            system[size, :size] = system[:size, size] = x
        try:
            relative = np.linalg.solve(system, np.append(-slope, np.zeros(border)))[:size]
        except np.linalg.LinAlgError:
            break  # the certificate judges what was reached
        decrement = float(-slope @ relative)
        falling = float(-relative.min())
        length = min(1.0, 0.95 / falling) if falling > 0 else 1.0
        # So near the optimum that a gain would drown in rounding, the whole step still converges.
        if decrement > 1e-11 * max(1.0, abs(value)):
            while length > 1e-12:
                if objective(x * (1 + length * relative))[0] <= value - 1e-4 * length * decrement:
                    break
                length *= 0.5
        x = x * (1 + length * relative)
        if fixed_sum:
            x = x / x.sum()
        value, gradient, hessian = objective(x)
    return x
