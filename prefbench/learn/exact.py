"""Exact optima where every response can be listed, each with a certificate.

With the values V_g, the reference pi_ref and the dual function f of `game.py`, each welfare is a convex
problem in as many unknowns as there are groups:

    maxmin     max_pi min_g V_g                         = min_w f(w)
    alpha < 0  max_pi (1/alpha) log sum s_g e^{alpha V_g} = min_w f(w) + KL(w || s) / |alpha|
    Nash       max_pi sum_g s_g log V_g                 = min_{l >= 0} max_pi l.V - sum s log l + (sum s log
    s) - 1

by minimax: V is concave in pi, and each welfare is concave and increasing. Whatever w is found, the
difference between the right side at w and the left side at pi_w bounds the error of both: that is the
certificate. Any other concave welfare is `concave.py`'s.
Source: MaxMin-RLHF, section 4 (arXiv 2402.08925) for the maxmin objective; the duals are derived in
docs/theory.md.
"""

from __future__ import annotations

import numpy as np

from prefbench.errors import UserError
from prefbench.learn.concave import BY_PPO, concave
from prefbench.learn.game import Game, Solution, best_weighted, certified, scale_of, utilitarian
from prefbench.learn.newton import minimise_on_simplex, newton
from prefbench.learn.welfare import Welfare, WelfareFunction, each_by_itself, name_of


def maxmin(game: Game, offset: np.ndarray | None = None) -> Solution:
    """max_pi min_g (V_g - offset_g), by the dual over group weights.

    Raises:
        PrefbenchError: the certificate was not reached.
    """
    shift = np.zeros(game.groups) if offset is None else offset

    def objective(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient, hessian = game.dual(w)
        return value - float(w @ shift), gradient - shift, hessian

    weights = minimise_on_simplex(objective, game.groups, scale_of(game))
    logprob = game.policy(weights)
    values = game.values(logprob)
    welfare = float((values - shift).min())
    return certified("maxmin", weights, logprob, values, welfare, objective(weights)[0])


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
        raise UserError(f"alpha={alpha:g}: this welfare is concave for alpha < 0 only: set it below 0.")
    prior = np.full(game.groups, 1 / game.groups) if shares is None else shares / shares.sum()

    def objective(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient, hessian = game.dual(w)
        ratio = np.log(w / prior)
        return (
            value + float(w @ ratio) / -alpha,
            gradient + (ratio + 1) / -alpha,
            hessian + np.diag(1 / w) / -alpha,
        )

    weights = minimise_on_simplex(objective, game.groups, scale_of(game))
    logprob = game.policy(weights)
    values = game.values(logprob)
    lowest = values.min()
    welfare = lowest + float(np.log(prior @ np.exp(alpha * (values - lowest)))) / alpha
    return certified("alpha", weights, logprob, values, welfare, objective(weights)[0])


def nash(game: Game, shares: np.ndarray | None = None) -> Solution:
    """max sum_g share_g log(V_g - V_g(pi_ref)): the Nash bargaining solution against the reference.

    Raises:
        UserError: no policy is better than the reference for every group.
        PrefbenchError: the certificate was not reached.
    """
    prior = np.full(game.groups, 1 / game.groups) if shares is None else shares / shares.sum()
    disagreement = game.expected(np.log(game.reference))
    start = maxmin(game, disagreement)
    if start.welfare <= 1e-6 * scale_of(game):
        raise UserError(
            "Nash welfare needs a policy that every group prefers to the reference; here the worst-off gains "
            f"{start.welfare:.2g} at most: choose another welfare."
        )

    def objective(multipliers: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient, hessian = best_weighted(game, multipliers)
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
    multipliers = newton(
        objective, prior / np.maximum(start.values - disagreement, start.welfare), 1e-10, False
    )
    weights = multipliers / multipliers.sum()
    logprob = game.policy(weights)
    values = game.values(logprob)
    welfare = float(prior @ np.log(values - disagreement))
    return certified("Nash", weights, logprob, values, welfare, objective(multipliers)[0])


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
            f"reward matrix or Welfare.of_values(function, concave=True), or {BY_PPO}."
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
    raise UserError(f"welfare '{welfare.kind}' has no exact optimum: {BY_PPO}.")


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
            f"Welfare.of_values(function, concave=True), or {BY_PPO}."
        )
    table = found.reshape(*game.reference.shape, 1)
    best = utilitarian(Game(table, game.reference, game.weights, game.beta))
    return Solution(best.group_weights, best.logprob, game.values(best.logprob), best.welfare, 0.0)


def pareto_distance(game: Game, values: np.ndarray) -> float:
    """Amount of V_g that every group could gain at once: zero on the Pareto front, [in units of V].

    max_pi min_g (V_g(pi) - values_g), which is maxmin with an offset.
    """
    return max(0.0, maxmin(game, values).welfare)
