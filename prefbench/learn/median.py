"""The median of annotators' linear rewards, and the policy that is best for the worst reward near it.

Annotator i's reward is <theta_i, phi>, a Bradley-Terry fit to her own pairs, with the box
theta_ij +- f sqrt((S_i^-1)_jj) around it, S_i = sum of d d^T over the differences d of her pairs' features,
plus the ridge: the bounding box of her ellipsoid |theta - theta_i|_{S_i} <= f. S_i depends on what she was
asked and not on what she said. Medians, coordinate by coordinate, of one point out of each box fill the box
from the median of the lower ends to the median of the upper ones. With z(pi) = E_pi phi - E_ref phi,

    max_pi min_{theta in box} <theta, z(pi)> - beta KL(pi || pi_ref)
        = min_{theta in box} f(theta) - <theta, E_ref phi>

by minimax, f the dual function of `game.py` with features in the place of rewards: a convex problem in the
box, whose solution is the reward that the policy is optimal for.

Source: the pessimistic median of maximum-likelihood estimates (arXiv 2503.09561). Boxes for ellipsoids are a
relaxation of ours, since the set of medians of ellipsoids has no simple form; the box contains it.
"""

from __future__ import annotations

import numpy as np

from prefbench.arrays import Floats, Ints
from prefbench.learn.game import CERTIFICATE, Game, Solution, certified
from prefbench.learn.rewards import fit_linear

NEWTON_STEPS = 200
NEAR = 1e-9
"""Share of a box's width within which a coordinate counts as being at its end."""


def fit_each(difference: Floats, user: Ints, penalty: float, strength: Floats | None = None) -> Floats:
    """Everybody's own linear reward theta_i, [users, d].

    Args:
        difference: [pairs, d] features of the chosen response minus those of the rejected one.
        user: [pairs] whose they are, from 0.
        penalty: of each one's reward, |theta_i|^2 / 2 beside the summed losses of her pairs.
        strength: [pairs] of the labels; None where all are certain.
    """

    def fitted(mine: Ints) -> Floats:
        sure = None if strength is None else strength[mine]
        return fit_linear(difference[mine], penalty, strength=sure, precise=True)

    return np.stack([fitted(np.flatnonzero(user == one)) for one in range(int(user.max()) + 1)])


def reaches(difference: Floats, user: Ints, penalty: float) -> Floats:
    """The reach of everybody's box for a radius of one, sqrt((S_i^-1)_jj), [users, d]."""
    ridge, found = penalty * np.eye(difference.shape[1]), []
    for one in range(int(user.max()) + 1):
        mine = difference[user == one]
        found.append(np.sqrt(np.diag(np.linalg.inv(mine.T @ mine + ridge))))
    return np.stack(found)


def median(values: Floats) -> Floats:
    """The median of [users, d] in each coordinate; of an even number zero is one more value.

    The mean of the two middle values would let either of the two who hold them gain by exaggerating; a median
    with a value that nobody reports does not (Moulin 1980). Zero is who has no opinion.
    """
    if len(values) % 2 == 0:
        values = np.concatenate([values, np.zeros((1, values.shape[1]))])
    return np.asarray(np.median(values, axis=0))


def pessimistic(game: Game, low: Floats, high: Floats) -> Solution:
    """max_pi min_{low <= theta <= high} <theta, z(pi)> - beta KL, by projected Newton steps on its dual.

    Args:
        game: features [S, R, d] in the place of rewards.
        low: [d] lower ends.
        high: [d] upper ends.

    Returns:
        The policy, with the least favourable theta as its weights.

    Raises:
        PrefbenchError: the certificate was not reached.
    """
    shift = game.expected(np.log(game.reference))

    def at(theta: Floats) -> tuple[float, Floats, Floats]:
        value, gradient, hessian = game.dual(theta)
        return value - float(theta @ shift), gradient - shift, hessian

    theta = np.clip(np.zeros(len(low)), low, high)
    near = NEAR * (high - low)
    for _ in range(NEWTON_STEPS):
        value, z, hessian = at(theta)
        worst = float(low @ np.maximum(z, 0) + high @ np.minimum(z, 0))
        if float(theta @ z) - worst <= 0.1 * CERTIFICATE:
            break
        free = ~(((theta <= low + near) & (z >= 0)) | ((theta >= high - near) & (z <= 0)))
        step = np.zeros(len(theta))
        step[free] = -np.linalg.lstsq(hessian[np.ix_(free, free)], z[free], rcond=1e-12)[0]
        length, found = 1.0, theta
        while length > 1e-12:
            found = np.clip(theta + length * step, low, high)
            # So near the optimum that a gain would drown in rounding, the whole step still converges.
            gain = float(z @ (theta - found))
            if gain <= 1e-11 * max(1.0, abs(value)) or at(found)[0] <= value - 1e-4 * gain:
                break
            length *= 0.5
        theta = found
    logprob = game.policy(theta)
    bound, z, _ = at(theta)
    kl = game.kl(logprob)
    welfare = float(low @ np.maximum(z, 0) + high @ np.minimum(z, 0)) - game.beta * kl
    return certified("pessimistic", theta, logprob, game.values(logprob), welfare, bound)
