"""Rows of a board held against each other, and the ranks of its learners."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Floats
from prefbench.boards.columns import CROSS_FITTED
from prefbench.boards.estimates import egalitarian_regret
from prefbench.boards.names import config_hash
from prefbench.boards.rows import Row
from prefbench.errors import UserError
from prefbench.registry import role_of, suggest
from prefbench.stats.rank_sets import Rank, rank_sets
from prefbench.stats.runs import (
    Mean,
    difference_of,
    mean_of_figures,
    mean_over_prompts,
    mean_over_runs,
)

RANKED = "worst_group_win_rate"
REGRET = "egalitarian_regret"
MAY_RANK = (RANKED, "minority_win_rate", "majority_win_rate", "mean_win_rate", CROSS_FITTED, REGRET)
"""Measures that learners may be ranked by. A gap is none: it is small as well where nobody gained."""
RESOLVED = 1e-4
"""Standard deviations of utility to which optima are solved: two rows that are one optimum differ by less."""


def roles(rows: Iterable[Row]) -> dict[str, str]:
    """`learner`, `floor`, `ceiling` or `gold`, by the name of each row's aligner.

    What is told the true utilities is a ceiling where optima are exact. PPO on them can be exceeded: gold.
    """
    found: dict[str, str] = {}
    for row in rows:
        role = role_of(row.first.aligner, row.first.needs) or "learner"
        inexact = role == "ceiling" and row.first.regret is None
        found[row.first.aligner] = "gold" if inexact else role
    return found


def check_rank_by(by: str | None) -> None:
    """Refuse a measure that says nothing of who is better.

    Raises:
        UserError: it is none of `MAY_RANK`.
    """
    if by is not None and by not in MAY_RANK:
        raise UserError(f"'{by}' ranks nobody; what may is {', '.join(MAY_RANK)}.{_near(by)}")


def _near(by: str) -> str:
    near = suggest(by, MAY_RANK)
    return near if "Did you mean" in near else ""


def ranked(
    rows: Sequence[Row], role: Mapping[str, str], by: str | None = None
) -> list[tuple[Row, Rank | None]]:
    """The complete rows of one board from the best down, its learners with ranks and their sets.

    Learners are ranked among learners: floors and ceilings stand beside them and are not among the compared.
    The figure is the mean over seeds of each run's worst group, or, where every row has it, egalitarian
    regret, of which less is better. The order is that of the estimates; the sets tell the doubt.

    Args:
        rows: of one board.
        role: from `roles`.
        by: another figure, of `MAY_RANK`.

    Returns:
        Rows with their ranks; of a figure that is unknown of one of them, all without.

    Raises:
        UserError: the figure is none of these.
    """
    check_rank_by(by)
    regrets = [egalitarian_regret(row) for row in rows]
    known = [regret for regret in regrets if regret is not None]
    by_regret = bool(rows) and len(known) == len(rows) and by in (None, REGRET)
    if by == REGRET and not by_regret:
        return [(row, None) for row in rows]
    measure = RANKED if by in (None, REGRET) else by
    figures = (
        [-regret.estimate for regret in known]
        if by_regret
        else [float(np.mean([scores.mean() for scores in row.metric_scores(measure)])) for row in rows]
    )
    figure_of = {id(row): round(figure, 12) for row, figure in zip(rows, figures, strict=True)}
    ordered = sorted(
        rows, key=lambda row: (-figure_of[id(row)], row.first.aligner, config_hash(row.first.spec))
    )
    learners = [row for row in ordered if role[row.first.aligner] == "learner"]
    held = [_regrets(row) if by_regret else _scores(row, measure, mean_over_runs) for row in learners]
    sets = rank_sets([figure_of[id(row)] for row in learners], lambda i, j: held[i].less(held[j])[0])
    rank_of = {id(row): rank for row, rank in zip(learners, sets, strict=True)}
    return [(row, rank_of.get(id(row))) for row in ordered]


def compare(first: Row, second: Row, metric: str, prompts_only: bool = False) -> tuple[Mean, bool]:
    """First minus second on a metric, and whether it could be taken prompt by prompt.

    It can where both have the same seeds and, in each, the same prompts. Otherwise the two rows' variances
    are added.

    Args:
        first: whole, with scores for every seed.
        second: likewise.
        metric: one of `METRICS`, or `group/NAME` for a group's own win rate.
        prompts_only: leave the spread between seeds out, for policies that are what they are.
    """
    mean = mean_over_prompts if prompts_only else mean_over_runs
    return _scores(first, metric, mean).less(_scores(second, metric, mean))


@dataclass(frozen=True)
class Held:
    """A row's runs, ready to be held against those of other rows."""

    of: list[tuple[int, int]]
    """Each run's seed and what stands for its prompts: rows that have the same are compared run by run."""
    runs: list[Floats]
    mean: Callable[[list[Floats]], Mean]

    def less(self, other: Held) -> tuple[Mean, bool]:
        """This less another, and whether run by run."""
        if self.of == other.of:
            return self.mean([a - b for a, b in zip(self.runs, other.runs, strict=True)]), True
        return difference_of(self.mean(self.runs), self.mean(other.runs)), False


def _scores(row: Row, metric: str, mean: Callable[[list[Floats]], Mean]) -> Held:
    of = [(seed.seed, hash(seed.prompts)) for seed in row.seeds]
    return Held(of, row.metric_scores(metric), mean)


def _regrets(row: Row) -> Held:
    """Regrets, less being better. A run's is exact and needs no prompts."""
    lost = [np.array([-each.egalitarian_regret]) for r in row.records.values() if (each := r.regret)]
    of = [(seed, 0) for seed in row.records]
    return Held(of, lost, lambda runs: mean_of_figures(np.concatenate(runs), RESOLVED**2))
