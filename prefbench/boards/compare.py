"""Two aligners of one board, compared prompt by prompt and seed by seed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.boards.names import (
    NOT_OF_SETTING,
    board_key,
    board_name,
    config_hash,
    joined,
    made_by,
    setting_key,
    variant,
)
from prefbench.boards.rows import Row, SeedScores, load_rows, rows_of
from prefbench.errors import UserError
from prefbench.record.files import find_records, is_run, read_record, run_folders
from prefbench.record.schema import Record
from prefbench.registry import suggest
from prefbench.stats import comparisons
from prefbench.stats.runs import interval_of, mean_over_runs, two_sided_p


@dataclass(frozen=True)
class MeasureDifference:
    """One measure of two rows on the same prompts and seeds."""

    measure: str
    """`group/NAME` for a group's own win rate, else one of `METRICS`."""
    first: float
    second: float
    difference: float
    """First minus second, so a positive number favours the first."""
    low: float
    """Lower end of the difference's 95% interval."""
    high: float
    p_value: float
    """Two-sided, corrected by Holm over the measures that differ; measures that are the same count once."""
    wins: int
    """Prompts, over seeds, on which the first scored higher."""
    ties: int
    losses: int


@dataclass(frozen=True)
class Comparison:
    """Two rows of one board, prompt by prompt."""

    task: str
    """task@version."""
    model: str
    data: str
    minority_ratio: float
    first: str
    """The aligner, with its options where they are not the defaults."""
    second: str
    seeds: tuple[int, ...]
    """Seeds that both have; only these are compared."""
    n_prompts: int
    """Number of test prompts over seeds."""
    left_out: tuple[int, ...]
    """Seeds that only one of the two has."""
    measures: tuple[MeasureDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form."""
        return plain(self)


def plain(result: Any) -> dict[str, Any]:
    """Fields of a result, which is a dataclass, as JSON has them: lists in the place of tuples.

    Raises:
        ValueError: a figure is NaN or infinite.
    """
    found: dict[str, Any] = json.loads(json.dumps(asdict(result), allow_nan=False))
    return found


COMPARED = ("worst_group_win_rate", "minority_win_rate", "mean_win_rate")


def compare_aligners(
    first: str,
    second: str,
    runs_dir: Path = Path("runs"),
    task: str | None = None,
    minority_ratio: float | None = None,
) -> Comparison:
    """Compare two aligners, prompt by prompt and seed by seed, in every group and in what sums them up.

    The differences are judged as the board's are, by a t test over seeds (`stats.runs.mean_over_runs`); with
    one seed, over its prompts. The worst group is each side's own in each run.

    Args:
        first: an aligner of the runs folder, a configuration's hash from the CSV, a run's folder, or a
            folder with several runs of one configuration.
        second: likewise.
        runs_dir: where names are looked up.
        task: take names from this task only; `name` or `name@version`.
        minority_ratio: take names at this share only.

    Raises:
        UserError: if a name fits nothing or too much, or the two are not of one board: another task
            version, ratio, model, option of the task or prompts.
    """
    sides = (side_of(name, Path(runs_dir), task, minority_ratio) for name in (first, second))
    return compare_rows(matched(*sides))


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: the rows that may be meant."""

    name: str
    """Name of it in messages."""
    rows: list[Row]
    """Each judged by its own seeds only."""


@dataclass(frozen=True)
class Match:
    """Two rows of one board with the seeds and groups that both have, in one order."""

    first: Row
    second: Row
    left_out: tuple[int, ...]
    """Seeds that only one of the two has."""


def matched(ours: Side, theirs: Side) -> Match:
    """The rows of two sides that can be compared.

    Raises:
        UserError: there are none, or more than one pair.
    """
    first, second = ours.name, theirs.name
    boards = {board_key(row.first) for row in ours.rows} & {board_key(row.first) for row in theirs.rows}
    if not boards:
        apart = _why_apart(ours.rows[0].first, theirs.rows[0].first)
        raise UserError(f"'{first}' and '{second}' {apart}.")
    if len(boards) > 1:
        named = sorted(board_name(row.first) for row in ours.rows if board_key(row.first) in boards)
        raise UserError(
            f"'{first}' and '{second}' meet on {len(boards)} boards ({', '.join(named[:4])}"
            f"{', ...' if len(named) > 4 else ''}): choose a task and a minority ratio."
        )
    return _aligned(_only(ours, boards), _only(theirs, boards), first, second)


def compare_rows(match: Match) -> Comparison:
    """The comparison of two rows by their prompts and seeds."""
    a, b = match.first, match.second
    return Comparison(
        task=f"{a.first.task}@{a.first.task_version}",
        model=a.first.model,
        data=a.first.data,
        minority_ratio=a.first.minority_ratio,
        first=row_title(a),
        second=row_title(b),
        seeds=tuple(seed.seed for seed in a.seeds),
        n_prompts=sum(len(seed.scores) for seed in a.seeds),
        left_out=match.left_out,
        measures=_differences(a, b),
    )


def side_of(name: str, runs_dir: Path, task: str | None = None, ratio: float | None = None) -> Side:
    """The side that a name of `compare_aligners` means.

    Raises:
        UserError: it means nothing.
    """
    for folder in (Path(name), runs_dir / name):
        if is_run(folder):
            rows = rows_of([(folder, read_record(folder))])
            if not rows:
                raise UserError(f"'{folder}' was measured in tuning, on no test prompt: compare other runs.")
            return Side(name, rows)
        if run_folders(folder):
            return Side(name, load_rows(folder))
    runs = [(f, r) for f, r in find_records(runs_dir) if r.split == "test"]
    named = [(f, r) for f, r in runs if name in (r.aligner, config_hash(r.spec))]
    if not named:
        known = sorted({record.aligner for _, record in runs})
        raise UserError(f"no run of '{name}' in '{runs_dir}', nor a run's folder.{suggest(name, known)}")
    fitting = [
        (folder, record)
        for folder, record in named
        if (task is None or task in (record.task, f"{record.task}@{record.task_version}"))
        and (ratio is None or abs(record.minority_ratio - ratio) < 1e-9)
    ]
    if not fitting:
        boards = sorted({board_name(record) for _, record in named})
        raise UserError(
            f"'{name}' was not run so in '{runs_dir}': its runs are on {', '.join(boards)}"
            "; leave --task or --minority-ratio out, or name one of these."
        )
    return Side(name, rows_apart(fitting))


def rows_apart(runs: Iterable[tuple[Path, Record]]) -> list[Row]:
    """The rows of runs, where only a configuration's own seeds and groups say what is whole."""
    kinds: dict[tuple[str, str], list[tuple[Path, Record]]] = {}
    for folder, record in runs:
        kinds.setdefault((setting_key(record), config_hash(record.spec)), []).append((folder, record))
    return [row for same in kinds.values() for row in rows_of(same)]


def _why_apart(ours: Record, theirs: Record) -> str:
    """The first thing in which two records' boards differ."""
    if ours.task == theirs.task and ours.task_version != theirs.task_version:
        return f"are of versions {ours.task_version} and {theirs.task_version} of {ours.task}: run one again"
    if setting_key(ours) == setting_key(theirs):
        made = " and ".join(made_by(record.numerics) for record in (ours, theirs))
        return f"are not comparable, they were made by {made}: run one again"
    for name in sorted({*ours.spec, *theirs.spec} - NOT_OF_SETTING):
        a, b = ours.spec.get(name), theirs.spec.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            differing = sorted(key for key in {*a, *b} if a.get(key) != b.get(key))
            name = f"{name.removesuffix('_options')}.{differing[0]}" if differing else name
            a, b = (options.get(differing[0]) if differing else options for options in (a, b))
        if a != b:
            return f"are not comparable, {name} is {a!r} and {b!r}: name runs of one board"
    return "are not comparable: name runs of one board"


def _only(side: Side, boards: set[str]) -> Row:
    name = side.name
    fitting = [row for row in side.rows if board_key(row.first) in boards]
    if len(fitting) > 1:
        listed = ", ".join(f"{config_hash(r.first.spec)} ({variant(r.first) or 'defaults'})" for r in fitting)
        raise UserError(f"'{name}' was run with different options: say which by its hash, {listed}.")
    if not fitting[0].measurable:
        raise UserError(f"'{name}' cannot be compared, it is {fitting[0].status}: run it again.")
    return fitting[0]


def _aligned(a: Row, b: Row, first: str, second: str) -> Match:
    """Both rows with the seeds that both have, and groups in one order."""
    names = [group.name for group in a.groups]
    others = [group.name for group in b.groups]
    if sorted(names) != sorted(others):
        raise UserError(
            f"'{first}' and '{second}' are not comparable, one has groups {', '.join(names)} "
            f"and the other {', '.join(others)}"
            ": name runs of the same groups."
        )
    common = sorted(a.records.keys() & b.records.keys())
    if not common:
        raise UserError(f"'{first}' and '{second}' have no seed in common: run both with the same seeds.")
    order = [others.index(name) for name in names]
    ours = {seed.seed: seed for seed in a.seeds}
    theirs = {seed.seed: SeedScores(seed.seed, seed.prompts, seed.scores[:, order]) for seed in b.seeds}
    for seed in common:
        if ours[seed].prompts != theirs[seed].prompts:
            raise UserError(
                f"'{first}' and '{second}' are not comparable, their prompts differ at seed {seed}: "
                "one of them saw other data, run it again."
            )
    rows = [
        Row(
            {seed: row.records[seed] for seed in common},
            a.groups,
            [scores[seed] for seed in common],
            folders={seed: row.folders[seed] for seed in common},
        )
        for row, scores in ((a, ours), (b, theirs))
    ]
    return Match(rows[0], rows[1], tuple(sorted(a.records.keys() ^ b.records.keys())))


def _differences(a: Row, b: Row) -> tuple[MeasureDifference, ...]:
    raw = []
    tests: dict[bytes, float] = {}
    for measure in (*(f"group/{group.name}" for group in a.groups), *COMPARED):
        ours, theirs = a.metric_scores(measure), b.metric_scores(measure)
        by_seed = [x - y for x, y in zip(ours, theirs, strict=True)]
        found = mean_over_runs(by_seed)
        every = np.concatenate(by_seed)
        # The minority is one of the groups and so may the worst one be: the same test is not paid for twice.
        same = every.tobytes()
        tests[same] = two_sided_p(found)
        means = [float(np.mean([values.mean() for values in side])) for side in (ours, theirs)]
        bounds = interval_of(found, low=-1.0)
        counts = [int(count) for count in ((every > 0).sum(), (every == 0).sum(), (every < 0).sum())]
        raw.append((measure, means, found.estimate, bounds, same, counts))
    adjusted = dict(zip(tests, comparisons.holm(list(tests.values())).tolist(), strict=True))
    return tuple(
        MeasureDifference(
            measure=measure,
            first=means[0],
            second=means[1],
            difference=estimate,
            low=bounds.low,
            high=bounds.high,
            p_value=adjusted[same],
            wins=counts[0],
            ties=counts[1],
            losses=counts[2],
        )
        for measure, means, estimate, bounds, same, counts in raw
    )


def row_title(row: Row) -> str:
    """A row's aligner, with its options where they are not the defaults."""
    options = variant(row.first)
    return f"{row.first.aligner} ({options})" if options else row.first.aligner


def comparison_rows(comparison: Comparison) -> tuple[str, list[str], list[list[str]]]:
    """A comparison as title, header and cells of a table.

    The last column counts prompts on which A wins more, as much, and less than B.
    """
    c = comparison
    title = (
        f"A {c.first}, B {c.second}: {c.task} {c.model} {c.data} {c.minority_ratio:g}, "
        f"seeds {joined(c.seeds)}, {c.n_prompts:,} prompts, p corrected by Holm"
    )
    header = ["win rate", "A", "B", "A - B", "95% interval", "p", "up/same/down"]
    rows = [
        [
            m.measure.removeprefix("group/").removesuffix("_win_rate").replace("worst_group", "worst group"),
            f"{m.first:.3f}",
            f"{m.second:.3f}",
            f"{m.difference:+.3f}",
            f"[{m.low:+.3f}, {m.high:+.3f}]",
            f"{m.p_value:.2g}",
            f"{m.wins:,}/{m.ties:,}/{m.losses:,}",
        ]
        for m in c.measures
    ]
    return title, header, rows
