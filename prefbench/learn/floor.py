"""The best policy for some under a floor for others, where responses are listed or stand as samples.

    max_pi  E r - beta KL   subject to   E s >= b

has the dual f(l) = beta E_x log E_ref exp((r + l (s - b)) / beta), convex in the multiplier l >= 0, with the
slope E_{pi_l} s - b and pi_l ~ pi_ref exp((r + l s) / beta). The slope rises with l, so the optimum is its
root, or l = 0 where the policy for r alone meets the floor.
Source: one-shot safety alignment by a dual (CAN, arXiv 2405.19544), with a group in the place of safety.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.learn.game import Game

MOST = 100.0
"""Largest multiplier: a floor that takes more is lowered to what this one reaches, nearly all there is."""


@dataclass(frozen=True)
class Floored:
    """The optimum under a floor."""

    multiplier: float
    """l, the price of the floor in units of r per unit of s."""
    floor: float
    """b, or what the largest multiplier reaches if that is less."""
    logprob: np.ndarray
    """[S, R] log pi(y | x)."""
    reached: float
    """E s of the policy."""
    unconstrained: float
    """E s of the policy for r alone."""
    value: float
    """E r - beta KL of the policy."""
    dual: float
    """f at the multiplier: no policy that meets the floor has a larger value."""


def with_floor(game: Game, floor: float) -> Floored:
    """The optimum of a game of two rewards, the first of which counts and the second has a floor.

    Raises:
        UserError: the game's KL weight is not positive.
    """
    from scipy.optimize import brentq

    def tilted(multiplier: float) -> np.ndarray:
        weights = np.array([1.0, multiplier])
        scaled = Game(game.rewards, game.reference, game.weights, game.beta / weights.sum())
        return scaled.policy(weights / weights.sum())

    def reached(multiplier: float) -> float:
        return float(game.expected(tilted(multiplier))[1])

    alone, most = reached(0.0), reached(MOST)
    met = min(floor, most)
    if alone >= floor:
        multiplier = 0.0
    elif most <= floor:
        multiplier = MOST
    else:
        multiplier = float(brentq(lambda price: reached(price) - floor, 0.0, MOST, xtol=1e-13))
    logprob = tilted(multiplier)
    each, charge = game.expected(logprob), game.beta * game.kl(logprob)
    total = 1.0 + multiplier
    scaled = Game(game.rewards, game.reference, game.weights, game.beta / total)
    dual = total * scaled.dual(np.array([1.0, multiplier]) / total)[0] - multiplier * met
    return Floored(multiplier, met, logprob, float(each[1]), alone, float(each[0] - charge), dual)
