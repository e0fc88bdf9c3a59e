"""Payments that make the truth the best report: Vickrey, Clarke and Groves on a policy's welfare.

Groups report rewards r~_g with sizes s_g that sum to one; the policy maximises the affine welfare

    ASW(pi) = sum_g s_g E_pi r~_g - beta KL(pi || pi_ref),

and group g pays what its report costs the others,

    p_g = max_pi ASW_-g(pi) - ASW_-g(pi*),    ASW_-g = ASW without g's term.

What g has is s_g E_pi* r_g - p_g, which for true r_g is ASW(pi*) less a number that its report does not
move, and pi* maximises ASW as it was reported: the truth is at least as good as any lie, whatever the others
say.
Without payments it is not, since a larger report pulls the policy nearer.

Source: Sun et al. 2024 (arXiv 2405.16276). Both maxima are dual functions of `game.py`, so that payments are
exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from prefbench.arrays import Floats
from prefbench.learn.game import Game


@dataclass(frozen=True)
class Charged:
    """The policy for the groups' reports, and what each group pays."""

    logprob: Floats
    """[S, R] log pi*(y | x)."""
    payments: Floats
    """[G] p_g, in the units of the welfare; divided by s_g in those of the group's own reward."""


def charged(reported: Game, shares: Floats) -> Charged:
    """The policy of the reports and its payments.

    Args:
        reported: the groups' reported rewards.
        shares: [G] their sizes, summing to one.
    """
    logprob = reported.policy(shares)
    expected, cost = reported.expected(logprob), reported.beta * reported.kl(logprob)
    payments = []
    for group in range(reported.groups):
        others = np.where(np.arange(reported.groups) == group, 0.0, shares)
        best = reported.dual(others)[0]
        payments.append(best - (float(others @ expected) - cost))
    return Charged(logprob, np.array(payments))


def told(game: Game, group: int, factor: float, whose: int) -> Game:
    """The game in which a group reports a factor times the reward of a group, its own or another's."""
    rewards = game.rewards.copy()
    rewards[..., group] = factor * game.rewards[..., whose]
    return replace(game, rewards=rewards)
