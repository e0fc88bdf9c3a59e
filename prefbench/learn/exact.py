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

Any other welfare W(V_1, ..., V_G) that is concave and never falls is below each of its tangents. Of the
smallest of a few tangents the optimum is once more a dual like these; it bounds W from above, its policy's W
from below, and the tangent there joins the others until the two meet (Kelley 1960, with the policies kept
whole).
Source: MaxMin-RLHF, section 4 (arXiv 2402.08925) for the maxmin objective; the duals are derived in
docs/theory.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from prefbench.errors import PrefbenchError, UserError
from prefbench.learn.welfare import Welfare, WelfareFunction, each_by_itself, name_of

CERTIFICATE = 1e-8
"""Largest duality gap that a solution may have, in units of the rewards."""
NEWTON_STEPS = 100
TANGENTS = 150
"""Tangents of a welfare of one's own after which its optimum counts as not found."""
TRIED = 150
"""Policies, and as many averages of two, at whose values a declared welfare is held to its tangents."""


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
        value, gradient, hessian = _best(game, multipliers)
        return (
            value
            - float(multipliers @ disagreement)
            - float(prior @ np.log(multipliers))
            + float(prior @ np.log(prior))
            - 1,
            gradient - disagreement - prior / multipliers,
            hessian + np.diag(prior / multipliers**2),
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


def optimum(game: Game, welfare: WelfareFunction) -> Solution:
    """The exact optimum of any welfare of `learn/welfare.py`, or of one's own that has one.

    Raises:
        UserError: nothing here solves it.
        PrefbenchError: the certificate was not reached.
    """
    if not isinstance(welfare, Welfare):
        return per_sample(game, welfare)
    if type(welfare) is not Welfare:
        raise UserError(
            f"a subclass of Welfare ({type(welfare).__name__}) has no exact optimum: pass a function of the "
            f"reward matrix or Welfare.of_values(function, concave=True), or {_SAMPLE}."
        )
    shares = None if welfare.shares is None else np.asarray(welfare.shares)
    match welfare.kind:
        case "mean":
            return utilitarian(game, shares)
        case "per_sample_min":
            return per_sample(game, welfare)
        case "nash":
            return nash(game, shares)
        case "alpha":
            return alpha_welfare(game, welfare.alpha, shares)
        case "leximin":
            return leximin(game)
        case "population_min" | "dual":
            return maxmin(game)
        case "of_values":
            return concave(game, welfare)
    raise UserError(f"welfare '{welfare.kind}' has no exact optimum: {_SAMPLE}.")


_SAMPLE = "run PPO with --set model.optimiser=ppo"


def per_sample(game: Game, function: WelfareFunction) -> Solution:
    """max E_x [ E_{y~pi} function(r(x, y)) - beta KL ], in closed form.

    Raises:
        UserError: the function's number for a response depends on what else is in the batch.
    """
    found = each_by_itself(function, game.rewards.reshape(-1, game.groups))
    if found is None:
        raise UserError(
            f"welfare '{name_of(function)}' gives a response another number in another batch, so it is "
            "none of single responses, and its optimum is not computed: state it as "
            f"Welfare.of_values(function, concave=True), or {_SAMPLE}."
        )
    table = found.reshape(*game.reference.shape, 1)
    best = utilitarian(Game(table, game.reference, game.weights, game.beta))
    return Solution(best.group_weights, best.logprob, game.values(best.logprob), best.welfare, 0.0)


def concave(game: Game, welfare: Welfare) -> Solution:
    """max W(V_1, ..., V_G) of a welfare by `Welfare.of_values` that is declared concave.

    That W lies below its tangents, and rises with every V_g, is tried at the values of several hundred
    policies and at every one that is found on the way. The gap is certain as far as that holds.

    Raises:
        UserError: W is not declared concave, or is not; or it is finite nowhere.
        PrefbenchError: the certificate was not reached.
    """
    if not welfare.concave:
        raise UserError(
            f"welfare '{welfare.name}' is not declared concave, so its optimum is not computed: say "
            f"Welfare.of_values(..., concave=True) if it is concave and never falls, or {_SAMPLE}."
        )
    tangents = _Tangents(welfare)
    for values in _attainable(game):
        tangents.add(values)
    tangents.need()
    best, bound = None, np.inf
    # One tangent to start with; those that were only tried do not all have to be carried along.
    kept = [int(np.argmax(tangents.welfare))]
    for _ in range(TANGENTS):
        weights, upper = _below(game, tangents, kept)
        bound = min(bound, upper)
        logprob = game.policy(weights)
        values = game.values(logprob)
        reached = tangents.add(values)
        if best is None or reached > best.welfare:
            best = Solution(weights, logprob, values, reached, np.inf)
        if bound - best.welfare <= 0.5 * CERTIFICATE * tangents.scale:
            break
        # Where W is not finite there is no tangent: the nearest point with one, from the best known, has.
        share = 1.0
        while not np.isfinite(reached) and share > 1e-6:
            share /= 2
            base = tangents.values[int(np.argmax(tangents.welfare))]
            reached = tangents.add(base + share * (values - base))
        kept.append(len(tangents.welfare) - 1)
    assert best is not None
    return _certified(
        welfare.name,
        best.group_weights,
        best.logprob,
        best.values,
        best.welfare,
        bound,
        CERTIFICATE * tangents.scale,
    )


class _Tangents:
    """A declared welfare at the values where it was looked at, which must agree that it is concave."""

    def __init__(self, welfare: Welfare) -> None:
        self.of = welfare
        self.values: list[np.ndarray] = []
        self.welfare: list[float] = []
        self.slopes: list[np.ndarray] = []

    @property
    def scale(self) -> float:
        """Units of W in a unit of reward, at least one."""
        return max(1.0, float(self.slopes[-1].sum()))

    def add(self, values: np.ndarray) -> float:
        """W there; its tangent is kept if it is finite.

        Raises:
            UserError: what is known of W by now is not concave, or falls where a group gains.
        """
        with np.errstate(all="ignore"):
            reached, slope = self.of.slope(values)
        if reached == np.inf:
            raise UserError(f"welfare '{self.of.name}' is infinite at the groups' values {values.tolist()}.")
        if not np.isfinite(reached) or not np.isfinite(slope).all():
            return -np.inf
        slack = CERTIFICATE * max(1.0, float(np.abs(slope).sum()))
        if not np.abs(slope).max() > 0:
            raise UserError(
                f"welfare '{self.of.name}' does not rise at values {np.round(values, 3).tolist()}, so "
                f"that it has many optima: let it rise when every group gains, or {_SAMPLE}."
            )
        if slope.min() < -slack:
            raise UserError(
                f"welfare '{self.of.name}' is declared concave and never falling, but falls when group "
                f"{int(slope.argmin())} gains at values {np.round(values, 3).tolist()}: {_SAMPLE}."
            )
        if self.values:
            apart = np.stack(self.values) - values
            here, there = reached + apart @ slope, np.array(self.welfare)
            from_there = there - np.einsum("kg,kg->k", np.stack(self.slopes), apart)
            slacks = CERTIFICATE * np.maximum(1.0, np.abs(np.stack(self.slopes)).sum(axis=1))
            above = np.maximum(there - here - slack, reached - from_there - slacks)
            if above.max() > 0:
                other = self.values[int(above.argmax())]
                raise UserError(
                    f"welfare '{self.of.name}' is declared concave, but is not between the values "
                    f"{np.round(values, 3).tolist()} and {np.round(other, 3).tolist()} (or its gradient is "
                    f"wrong): {_SAMPLE}."
                )
        self.values.append(values)
        self.welfare.append(reached)
        self.slopes.append(np.maximum(slope, 0.0))
        return reached

    def need(self) -> None:
        """Refuse a welfare that has been finite nowhere."""
        if not self.welfare:
            raise UserError(
                f"welfare '{self.of.name}' is finite at no policy that was tried: shift the groups' values "
                "that it takes logarithms or powers of."
            )


def _attainable(game: Game) -> list[np.ndarray]:
    """Values of policies near and far: best for all kinds of weights, bad for some, and averages."""
    rng = np.random.default_rng(0)
    eye, some = np.eye(game.groups), np.full(game.groups, 0.7)
    signed = rng.normal(size=(TRIED // 2, game.groups))
    weights = [np.full(game.groups, 1 / game.groups), *eye, *rng.dirichlet(some, size=TRIED // 2)]
    weights += [0 * some, *(signed / np.abs(signed).sum(axis=1, keepdims=True))]
    values = [game.values(game.policy(w)) for w in weights]
    pairs = rng.integers(len(values), size=(TRIED, 2))
    shares = rng.random(TRIED)
    return values + [s * values[i] + (1 - s) * values[j] for s, (i, j) in zip(shares, pairs, strict=True)]


def _below(game: Game, tangents: _Tangents, kept: list[int]) -> tuple[np.ndarray, float]:
    """Group weights of the policy that is best by the smallest of some tangents, and that optimum."""
    slopes = np.stack([tangents.slopes[k] for k in kept])
    at_zero = np.array([tangents.welfare[k] - tangents.slopes[k] @ tangents.values[k] for k in kept])

    def objective(mix: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient, hessian = _best(game, mix @ slopes)
        return value + float(mix @ at_zero), slopes @ gradient + at_zero, slopes @ hessian @ slopes.T

    mix = _minimise_on_simplex(objective, len(kept), _scale(game))
    multipliers = mix @ slopes
    return multipliers / multipliers.sum(), objective(mix)[0]


def _best(game: Game, multipliers: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """max_pi l . V for any l >= 0 but zero, its gradient [G] and its Hessian [G, G]."""
    total = multipliers.sum()
    p = multipliers / total
    value, gradient, hessian = game.dual(p)
    product = hessian @ p
    curved = (hessian - product[:, None] - product[None, :] + p @ product) / total
    return total * value, value + gradient - float(gradient @ p), curved


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
    largest: float = CERTIFICATE,
) -> Solution:
    gap = bound - welfare
    if not abs(gap) <= largest:
        raise PrefbenchError(
            f"the exact {name} optimum was not reached: its duality gap is {gap:.2g}, above "
            f"{largest:.0e}; raise the KL weight or bring the rewards to a common scale."
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
