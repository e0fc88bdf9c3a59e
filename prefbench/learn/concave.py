"""The optimum of a welfare of one's own that is declared concave, from its tangents.

A welfare W(V_1, ..., V_G) that is concave and never falls is below each of its tangents. Of the smallest of a
few tangents the optimum is a dual like those of `exact.py`; it bounds W from above, its policy's W from
below, and the tangent there joins the others until the two meet (Kelley 1960, with the policies kept whole).
"""

from __future__ import annotations

import numpy as np

from prefbench.errors import UserError
from prefbench.learn.game import CERTIFICATE, Game, Solution, best_weighted, certified, scale_of
from prefbench.learn.newton import minimise_on_simplex
from prefbench.learn.welfare import Welfare

BY_PPO = "run PPO with --set model.optimiser=ppo"
"""Remedy for a welfare whose optimum is not computed."""
TANGENTS = 150
"""Tangents of a welfare of one's own after which its optimum counts as not found."""
TRIED_POLICIES = 150
"""Policies, and as many averages of two, at whose values a declared welfare is held to its tangents."""


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
            f"Welfare.of_values(..., concave=True) if it is concave and never falls, or {BY_PPO}."
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
    return certified(
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
            raise UserError(
                f"welfare '{self.of.name}' is infinite at the groups' values {values.tolist()}: let it be "
                "finite where all groups are well off."
            )
        if not np.isfinite(reached) or not np.isfinite(slope).all():
            return -np.inf
        slack = CERTIFICATE * max(1.0, float(np.abs(slope).sum()))
        if not np.abs(slope).max() > 0:
            raise UserError(
                f"welfare '{self.of.name}' does not rise at values {np.round(values, 3).tolist()}, so "
                f"that it has many optima: let it rise when every group gains, or {BY_PPO}."
            )
        if slope.min() < -slack:
            raise UserError(
                f"welfare '{self.of.name}' is declared concave and never falling, but falls when group "
                f"{int(slope.argmin())} gains at values {np.round(values, 3).tolist()}: {BY_PPO}."
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
                    f"wrong): {BY_PPO}."
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
    signed = rng.normal(size=(TRIED_POLICIES // 2, game.groups))
    weights = [np.full(game.groups, 1 / game.groups), *eye, *rng.dirichlet(some, size=TRIED_POLICIES // 2)]
    weights += [0 * some, *(signed / np.abs(signed).sum(axis=1, keepdims=True))]
    values = [game.values(game.policy(w)) for w in weights]
    pairs = rng.integers(len(values), size=(TRIED_POLICIES, 2))
    shares = rng.random(TRIED_POLICIES)
    return values + [s * values[i] + (1 - s) * values[j] for s, (i, j) in zip(shares, pairs, strict=True)]


def _below(game: Game, tangents: _Tangents, kept: list[int]) -> tuple[np.ndarray, float]:
    """Group weights of the policy that is best by the smallest of some tangents, and that optimum."""
    slopes = np.stack([tangents.slopes[k] for k in kept])
    at_zero = np.array([tangents.welfare[k] - tangents.slopes[k] @ tangents.values[k] for k in kept])

    def objective(mix: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, gradient, hessian = best_weighted(game, mix @ slopes)
        return value + float(mix @ at_zero), slopes @ gradient + at_zero, slopes @ hessian @ slopes.T

    mix = minimise_on_simplex(objective, len(kept), scale_of(game))
    multipliers = mix @ slopes
    return multipliers / multipliers.sum(), objective(mix)[0]
