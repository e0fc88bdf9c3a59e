"""Ranks with simultaneous confidence sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from prefbench.stats.comparisons import holm
from prefbench.stats.runs import Mean, two_sided_p

LEVEL = 0.05


class Rank(NamedTuple):
    """A rank, 1 the best, and the smallest and largest that are not ruled out."""

    rank: int
    low: int
    high: int


def rank_sets(figures: ArrayLike, difference: Callable[[int, int], Mean], level: float = LEVEL) -> list[Rank]:
    """Ranks by estimate, each with a set that holds the true rank, for all at once with chance 1 - `level`.

    All pairs are compared and their p values corrected by Holm. One that is surely worse than k others has a
    rank of k + 1 at least, one that is surely better than m of n has n - m at most. Equal figures share a
    rank.

    Source: Mogstad, Romano, Shaikh & Wilhelm 2024, "Inference for ranks with applications to mobility across
    neighbourhoods and academic achievement across countries", Review of Economic Studies 91(1): sets of ranks
    from simultaneous inference on all differences, which is Holm's step-down here.

    Args:
        figures: `[n]`, larger is better.
        difference: the estimated difference of two, first minus second, by their indices.
        level: chance that a set of any one misses its rank.

    Returns:
        In the order given.
    """
    values = np.asarray(figures, dtype=np.float64)
    n = len(values)
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    found = [difference(i, j) for i, j in pairs]
    adjusted = holm([two_sided_p(each) for each in found])
    better, worse = np.zeros(n, dtype=int), np.zeros(n, dtype=int)
    for (i, j), each, p in zip(pairs, found, adjusted, strict=True):
        if p < level and each.estimate != 0:
            first, second = (i, j) if each.estimate > 0 else (j, i)
            worse[first] += 1
            better[second] += 1
    ranks = 1 + (values[None, :] > values[:, None]).sum(axis=1)
    return [Rank(int(ranks[i]), int(1 + better[i]), int(n - worse[i])) for i in range(n)]
