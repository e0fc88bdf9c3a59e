"""Trust in each of several people who label the same pairs, from their agreement alone.

Let y_i = +1 or -1 be what person i says of a pair, and t the right answer. If people err independently of
each other, E[y_i y_j] = m_i m_j with m_i = 2 a_i - 1, a_i being how often i is right: apart from its diagonal
the matrix of agreements has rank one. m is fitted to it by least squares, each entry weighed by the pairs
that the two share, which is the leading eigenvector once the diagonal, and whatever nobody shares, is filled
in with what m says of it. Votes are then weighed by m, and who is wrong more often than right counts the
other way.

Source: Crowd-PrefRL (arXiv 2401.10941) with the spectral meta-learner. That one centres labels of two
classes; which response of a pair stands first means nothing, so here there is nothing to centre.

It knows one right answer. People who want something else are to it people who err: a minority that wants
the contrary has m below zero, and its votes are turned round.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Floats, Ints
from prefbench.learn.interface import Pairs

SWEEPS = 1000
SETTLED = 1e-12
"""Largest change of a weight in a sweep at which the fit has converged."""


@dataclass(frozen=True)
class Votes:
    """Labels of pairs as votes for one of the two responses."""

    first: Ints
    """[pairs] the row in which each pair occurs first; +1 votes for what was chosen there."""
    pair: Ints
    """[votes] place of its pair."""
    user: Ints
    """[votes] place of who said it."""
    said: Floats
    """[votes] from -1 to +1; a label of strength Z is 2 Z - 1 of one."""
    users: int

    @staticmethod
    def of(pairs: Pairs, number: Ints, people: Floats | Ints) -> Votes:
        """Labels as votes.

        Args:
            pairs: labels with `user_id`.
            number: [labels] the same for labels of one pair.
            people: [users] ids in order; whoever is not among them has no vote.
        """
        assert pairs.user_id is not None
        _, first, pair = np.unique(number, return_index=True, return_inverse=True)
        chosen = np.asarray(pairs.chosen, dtype=object)
        sign = np.where(chosen == chosen[first][pair], 1.0, -1.0)
        sure = 1.0 if pairs.strength is None else 2 * pairs.strength - 1
        place = {person: at for at, person in enumerate(people.tolist())}
        user = np.array([place.get(person, -1) for person in pairs.user_id.tolist()])
        known = user >= 0
        return Votes(first, pair[known], user[known], (sign * sure)[known], len(place))


def trust(votes: Votes) -> Floats:
    """m_i of everybody, [users], from -1 to 1; its sign is such that most votes are right.

    Who shares no pair with anybody has 0.
    """
    from scipy.sparse import coo_matrix

    shape = (len(votes.first), votes.users)
    said = coo_matrix((votes.said, (votes.pair, votes.user)), shape).tocsr()
    there = coo_matrix((np.ones(len(votes.said)), (votes.pair, votes.user)), shape).tocsr()
    agreed, shared = ((each.T @ each).toarray() for each in (said, there))
    for each in (agreed, shared):
        np.fill_diagonal(each, 0.0)
    m = np.linalg.eigh(agreed)[1][:, -1]
    for _ in range(SWEEPS):
        before = m.copy()
        for one in range(votes.users):
            weight = shared[one] @ m**2
            m[one] = np.clip(agreed[one] @ m / weight, -1, 1) if weight > 0 else 0.0
        if np.abs(m - before).max() <= SETTLED:
            break
    return np.asarray(m if m @ there.sum(axis=0).A1 >= 0 else -m)


def merged(pairs: Pairs, votes: Votes, weights: Floats, shares: bool = False) -> Pairs:
    """One label of each pair: the side with the larger sum of weighted votes.

    Args:
        pairs: the labels.
        votes: the same as votes.
        weights: of people's votes, [users].
        shares: let the label's strength be that side's share of all weight, instead of certain.

    Returns:
        Pairs without ids. A pair whose sums are equal has strength 0.5.
    """
    each = weights[votes.user] * votes.said
    total = np.bincount(votes.pair, each, len(votes.first))
    whole = np.bincount(votes.pair, np.abs(weights[votes.user]), len(votes.first))
    strength = np.where(total == 0, 0.5, 1.0)
    if shares:
        strength = 0.5 + np.abs(total) / (2 * np.where(whole > 0, whole, 1.0))
    turned, rows = total < 0, votes.first.tolist()
    ahead, behind = ([side[row] for row in rows] for side in (pairs.chosen, pairs.rejected))
    return Pairs(
        [pairs.prompts[row] for row in rows],
        np.where(turned, np.asarray(behind, object), np.asarray(ahead, object)).tolist(),
        np.where(turned, np.asarray(ahead, object), np.asarray(behind, object)).tolist(),
        strength=strength,
    )
