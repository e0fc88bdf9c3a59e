"""Every two policies of a board head to head: whose response each group prefers, on the same prompts.

A win rate against the reference does not say who would win between two policies, as preferences need not be
transitive. The utilities of both responses stand in the evidence beside the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.boards.columns import DECIMALS
from prefbench.boards.compare import plain, row_title
from prefbench.boards.names import board_key, board_name, config_hash, joined
from prefbench.boards.rows import Row
from prefbench.errors import UserError
from prefbench.evaluate.win_rate import outcomes
from prefbench.record.evidence import read_items, sorted_items
from prefbench.registry import suggest
from prefbench.stats.comparisons import holm
from prefbench.stats.runs import interval_of, mean_over_runs, two_sided_p

if TYPE_CHECKING:
    import pandas as pd

SURE = 0.05


@dataclass(frozen=True)
class Duel:
    """Two policies head to head, judged by one group."""

    group: str
    first: str
    second: str
    win_rate: float
    """Share of prompts on which the first's response beats the second's, ties one half; mean over runs."""
    low: float
    """Lower end of its 95% interval over seeds."""
    high: float
    p_value: float
    """Probability of as much if both were alike, corrected by Holm over all pairs and groups."""
    wins: int
    """Responses, over seeds, that the group prefers."""
    ties: int
    losses: int


@dataclass(frozen=True)
class Matrix:
    """All duels of a board."""

    task: str
    """task@version."""
    model: str
    data: str
    minority_ratio: float
    policies: tuple[str, ...]
    """Aligners, with their options where one was run with several."""
    groups: tuple[str, ...]
    seeds: tuple[int, ...]
    """Seeds that all of them have; only these are compared."""
    n_prompts: int
    """Number of test prompts over seeds."""
    left_out: tuple[str, ...]
    """Policies that are not whole, and seeds that not all have, and why."""
    duels: tuple[Duel, ...]
    """One for each pair and group; the first of a pair stands before the second in `policies`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form."""
        return plain(self)


def head_to_head(
    rows: Sequence[Row],
    names: Sequence[str] = (),
    task: str | None = None,
    minority_ratio: float | None = None,
) -> Matrix:
    """Every two policies of one board, per group, on the same prompts and seeds.

    Args:
        rows: loaded, of any boards.
        names: aligners or configurations' hashes to take; all of the board if left out.
        task: take this task's board; `name` or `name@version`.
        minority_ratio: take the board of this share.

    Raises:
        UserError: several boards fit or none, a name fits nothing, fewer than two policies are whole, or
            their prompts or samples differ.
    """
    fitting = [row for row in rows if _fits(row, task, minority_ratio)]
    if not fitting:
        raise UserError(
            "none of these runs is of that task and minority ratio: leave --task or --minority-ratio out."
        )
    boards = {board_key(row.first): board_name(row.first) for row in fitting}
    if len(boards) > 1:
        named = sorted(set(boards.values()))
        more = ", ..." if len(named) > 4 else ""
        raise UserError(
            f"these runs are of {len(boards)} boards ({', '.join(named[:4])}{more}): choose a task and a "
            "minority ratio."
        )
    for name in names:
        if not any(name in _names(row) for row in fitting):
            known = sorted({row.first.aligner for row in fitting})
            raise UserError(f"no run of '{name}' on that board.{suggest(name, known)}")
    return _matrix_of([row for row in fitting if not names or set(names) & set(_names(row))])


def _names(row: Row) -> tuple[str, str]:
    return row.first.aligner, config_hash(row.first.spec)


def _fits(row: Row, task: str | None, ratio: float | None) -> bool:
    first = row.first
    return (task is None or task in (first.task, f"{first.task}@{first.task_version}")) and (
        ratio is None or abs(first.minority_ratio - ratio) < 1e-9
    )


def _seeds_left_out(whole: Mapping[str, Row], seeds: Sequence[int]) -> list[str]:
    """A line on the seeds that some of these policies have and others lack; none where all have the same."""
    more = sorted({seed for row in whole.values() for seed in row.records} - set(seeds))
    lacking = [title for title, row in whole.items() if not set(more) <= set(row.records)]
    return [f"seed {', '.join(map(str, more))}: {', '.join(lacking)} not run with it"] if more else []


def _matrix_of(rows: Sequence[Row]) -> Matrix:
    """The duels of rows of one board."""
    whole = sorted((row for row in rows if row.measurable), key=_place)
    if len(whole) < 2:
        raise UserError(
            f"{len(whole)} whole policy on that board: two are needed for a comparison"
            "; run another aligner with the same options."
        )
    seeds = sorted(set.intersection(*(set(row.records) for row in whole)))
    if not seeds:
        raise UserError("these policies have no seed in common: run them with the same seeds.")
    groups = [group.name for group in whole[0].groups]
    first = whole[0].first
    _check_alike(whole, seeds, groups)
    said = [[_answers(row.folders[seed], groups) for seed in seeds] for row in whole]
    titles = titles_of(whole)
    found = [
        (group, a, b, [_duel(x, y)[:, :, i] for x, y in zip(said[a], said[b], strict=True)])
        for a, b in combinations(range(len(whole)), 2)
        for i, group in enumerate(groups)
    ]
    means = [mean_over_runs([run.mean(axis=1) - 0.5 for run in runs]) for *_, runs in found]
    adjusted = holm([two_sided_p(mean) for mean in means])
    return Matrix(
        task=f"{first.task}@{first.task_version}",
        model=first.model,
        data=first.data,
        minority_ratio=first.minority_ratio,
        policies=tuple(titles),
        groups=tuple(groups),
        seeds=tuple(seeds),
        n_prompts=sum(len(answers.empty) for answers in said[0]),
        left_out=(
            *(f"{row_title(row)}: {row.status}" for row in rows if not row.measurable),
            *_seeds_left_out(dict(zip(titles, whole, strict=True)), seeds),
        ),
        duels=tuple(
            Duel(
                group=group,
                first=titles[a],
                second=titles[b],
                win_rate=round(0.5 + mean.estimate, DECIMALS),
                low=round(0.5 + interval_of(mean, -0.5, 0.5).low, DECIMALS),
                high=round(0.5 + interval_of(mean, -0.5, 0.5).high, DECIMALS),
                p_value=float(p),
                wins=sum(int((run == 1).sum()) for run in runs),
                ties=sum(int((run == 0.5).sum()) for run in runs),
                losses=sum(int((run == 0).sum()) for run in runs),
            )
            for (group, a, b, runs), mean, p in zip(found, means, adjusted, strict=True)
        ),
    )


def titles_of(rows: Sequence[Row]) -> list[str]:
    """Names of rows of one board: the aligner, with its options where several are of one."""
    several = Counter(row.first.aligner for row in rows)
    return [row.first.aligner if several[row.first.aligner] == 1 else row_title(row) for row in rows]


def _place(row: Row) -> tuple[float, str]:
    """Place in the tables: from the best worst group down, as on the board."""
    return -mean_over_runs(row.metric_scores("worst_group_win_rate")).estimate, row_title(row)


def _check_alike(rows: Sequence[Row], seeds: Iterable[int], groups: Sequence[str]) -> None:
    one = rows[0]
    prompts = {seed.seed: seed.prompts for seed in one.seeds}
    for row in rows[1:]:
        if sorted(group.name for group in row.groups) != sorted(groups):
            raise UserError(f"'{row_title(one)}' and '{row_title(row)}' have other groups: name runs of one.")
        theirs = {seed.seed: seed.prompts for seed in row.seeds}
        for seed in seeds:
            if theirs[seed] != prompts[seed]:
                raise UserError(
                    f"'{row_title(one)}' and '{row_title(row)}' are not comparable, their prompts differ at "
                    f"seed {seed}: one of them saw other data, run it again."
                )


@dataclass(frozen=True)
class _Answers:
    """One run's responses as the groups see them, prompts ordered by id."""

    utilities: Floats
    """`[prompts, samples, groups]`."""
    empty: np.ndarray[Any, np.dtype[np.bool_]]
    """`[prompts, samples]`."""


def _answers(folder: Path, groups: Sequence[str]) -> _Answers:
    ordered, samples = sorted_items(read_items(folder), groups)
    columns = [f"utility/{name}" for name in groups]
    return _Answers(
        ordered[columns].to_numpy(dtype=np.float64).reshape(-1, samples, len(groups)),
        ordered["empty"].to_numpy(dtype=bool).reshape(-1, samples),
    )


def _duel(ours: _Answers, theirs: _Answers) -> Floats:
    """Outcomes `[prompts, samples, groups]`: 1 won, 0.5 tied, 0 lost; two empty responses tie."""
    if ours.empty.shape != theirs.empty.shape:
        raise UserError("these policies have other numbers of samples: run them with the same.")
    try:
        found = outcomes(ours.utilities, theirs.utilities, ours.empty, theirs.empty)
    except ValueError as error:
        raise UserError(f"the items cannot be compared ({error}): run it again.") from None
    found[ours.empty & theirs.empty] = 0.5
    return found


def matrix_heading(matrix: Matrix) -> str:
    """A sentence on what the tables hold."""
    m = matrix
    return (
        f"{m.task} {m.model} {m.data} {m.minority_ratio:g}, seeds {joined(m.seeds)}, {m.n_prompts:,} "
        "prompts: percent of them on which a row's response beats a column's, ties one half; * surely not "
        "one half (5%, corrected by Holm over all pairs and groups)"
    )


def matrix_tables(matrix: Matrix) -> list[tuple[str, list[str], list[list[str]]]]:
    """A table for each group, as title, header and cells."""
    numbers = [str(number) for number in range(1, len(matrix.policies) + 1)]
    rates: dict[tuple[str, str, str], str] = {}
    for duel in matrix.duels:
        star = "*" if duel.p_value < SURE else ""
        rates[duel.group, duel.first, duel.second] = f"{100 * duel.win_rate:.0f}{star}"
        rates[duel.group, duel.second, duel.first] = f"{100 * (1 - duel.win_rate):.0f}{star}"
    return [
        (
            group,
            ["", "policy", *numbers],
            [
                [number, policy, *(rates.get((group, policy, other), "") for other in matrix.policies)]
                for number, policy in zip(numbers, matrix.policies, strict=True)
            ],
        )
        for group in matrix.groups
    ]


def duels_frame(matrix: Matrix) -> pd.DataFrame:
    """A row for each duel, with the fields of `Duel`."""
    import pandas as pd

    return pd.DataFrame([vars(duel) for duel in matrix.duels])
