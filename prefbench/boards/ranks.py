"""Rows of a board held against each other, and ranks that admit ties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prefbench.boards.names import config_hash
from prefbench.boards.rows import Row
from prefbench.stats import comparisons

RANK_LEVEL = 0.05


def tie_ranks(rows: Sequence[Row]) -> list[tuple[Row, int]]:
    """Rank the complete rows of one board by worst-group win rate, with ties where noise allows one.

    The best row is compared with each of the others, prompt by prompt within seeds; the p values
    (two-sided, from `comparisons.mean_difference`) are corrected by Holm. It and all rows that it does
    not beat at 5% share its rank; the rest are ranked again the same way, after as many places. So a
    noisy row may share a rank that a slightly better but more certain one just misses.

    Returns:
        Rows with ranks, best first within a rank.
    """
    left = sorted(rows, key=lambda row: (-_worst(row), row.first.aligner, config_hash(row.first.spec)))
    result: list[tuple[Row, int]] = []
    while left:
        best, others = left[0], left[1:]
        adjusted = comparisons.holm([_p_value(best, other) for other in others])
        tied = [best, *(row for row, p in zip(others, adjusted, strict=True) if p >= RANK_LEVEL)]
        rank = len(result) + 1
        result += [(row, rank) for row in tied]
        left = [row for row, p in zip(others, adjusted, strict=True) if p < RANK_LEVEL]
    return result


def _worst(row: Row) -> float:
    return round(float(row.means.min()), 12)


def compare(
    first: Row, second: Row, metric: str, unbiased: bool = False
) -> tuple[comparisons.Difference, bool]:
    """First minus second on a metric, and whether it could be taken prompt by prompt.

    It can where both have the same seeds and, in each, the same prompts. Otherwise the two rows'
    variances are added.

    Args:
        first: whole, with scores for every seed.
        second: likewise.
        metric: one of `METRICS`, or `group/NAME` for a group's own win rate.
        unbiased: as in `comparisons.mean_difference`.
    """
    ours, theirs = first.metric_scores(metric), second.metric_scores(metric)
    same = [s.seed for s in first.seeds] == [s.seed for s in second.seeds] and all(
        a.prompts == b.prompts for a, b in zip(first.seeds, second.seeds, strict=True)
    )
    if same:
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        return comparisons.mean_difference(differences, unbiased), True
    a, b = comparisons.mean_difference(ours, unbiased), comparisons.mean_difference(theirs, unbiased)
    se = float(np.hypot(a.se, b.se))
    df = se**4 / (a.se**4 / a.df + b.se**4 / b.df)
    return comparisons.Difference(a.estimate - b.estimate, se, df), False


def _p_value(best: Row, other: Row) -> float:
    difference, _ = compare(best, other, "worst_group_win_rate")
    tail = comparisons.t_upper_tail(abs(difference.estimate) / difference.se, difference.df)
    return min(1.0, 2 * tail)
