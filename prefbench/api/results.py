"""Runs with their records and evidence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from prefbench.api.shown import Shown, know_plugins, path_of
from prefbench.boards.names import config_hash, setting_key, variant
from prefbench.boards.rows import Row, rows_of
from prefbench.boards.table import summarise_runs
from prefbench.errors import UserError
from prefbench.record.evidence import read_items
from prefbench.record.files import RECORD_FILE, find_records, read_record, run_folders
from prefbench.record.packed import board_of
from prefbench.record.schema import Record
from prefbench.registry import name_of, suggest
from prefbench.report.held_out_table import held_out_table
from prefbench.report.tables import people_table, result_table, room_line, runs_table, seeds_table, verdict
from prefbench.report.values_table import values_table
from prefbench.spec import parse_ratio
from prefbench.text import one_line

if TYPE_CHECKING:
    import pandas as pd

Runs = Sequence[tuple[Path, Record]]
"""Folders and their records."""

GROUP_COLUMNS = (
    *("share", "is_minority", "win_rate", "ci_low", "ci_high", "wins", "ties", "losses"),
    *("mean_utility", "reference_utility", "unit", "reward_accuracy"),
)
"""Columns of `Results.frame` that a record has for each group."""
RUN_COLUMNS = (
    "worst_group_win_rate",
    "gap",
    "kl",
    "mean_length",
    "reference_length",
    "empty_rate",
    "n_prompts",
)
"""Columns that it has for the run."""
FIELDS = ("task", "aligner", "model", "data", "minority_ratio", "seed", "status")
"""Fields that `Results.where` chooses by."""


class Results(Shown):
    """One run or several: what `run` and `load` return.

    `len` counts the runs, and iteration gives each by itself. Printed, or at the end of a notebook's cell,
    one run is the table that `prefbench run` prints; several are a row each, and their mean over seeds where
    they are of one configuration.
    """

    def __init__(self, runs: Iterable[tuple[Path, Record]]) -> None:
        self._runs: Runs = tuple(runs)
        if not self._runs:
            raise UserError("there are no runs: name at least one.")

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Results]:
        return (Results([run]) for run in self._runs)

    @property
    def runs(self) -> Runs:
        """Folders and their records."""
        return self._runs

    @property
    def paths(self) -> list[Path]:
        """The runs' folders."""
        return [folder for folder, _ in self._runs]

    @property
    def records(self) -> list[Record]:
        """Everything that is known of each run, as in its `record.json`."""
        return [record for _, record in self._runs]

    @property
    def record(self) -> Record:
        """Record of the only run.

        Raises:
            UserError: there are several.
        """
        if len(self._runs) > 1:
            raise UserError(f"these are {len(self._runs)} runs: take .records, or .where(seed=...) first.")
        return self._runs[0][1]

    def where(self, **fields: Any) -> Results:
        """The runs that have these values.

        Args:
            fields: any of task, aligner, model, data, minority_ratio, seed and status, such as
                `aligner="maxmin"`; a task or an aligner may be the function itself.

        Raises:
            UserError: there is no such field, or no run that has all the values.
        """
        left = self._runs
        for name, value in fields.items():
            if name not in FIELDS:
                raise UserError(f"runs have no '{name}'.{suggest(name, FIELDS)}")
            chosen = _test(name, value)
            found = [(folder, record) for folder, record in left if chosen(record)]
            if not found:
                known = sorted({str(getattr(record, name)) for _, record in left})
                raise UserError(f"no run here has {name} {value!r}.{suggest(str(value), known)}")
            left = found
        return Results(left)

    def frame(self) -> pd.DataFrame:
        """A row for each run and group, with the group's win rate, its 95% interval and its utilities.

        A run that diverged or failed has one row, without numbers. Means over seeds are in the frame of
        `pb.leaderboard(results)`.
        """
        import pandas as pd

        return pd.DataFrame([row for folder, record in self._runs for row in _group_rows(folder, record)])

    def items(self) -> pd.DataFrame:
        """A row for each response: prompt, response, the reference's, and what each group makes of both.

        Those of runs that diverged or failed are missing.

        Raises:
            UserError: the evidence beside a record is missing or cannot be read.
        """
        import pandas as pd

        tables = []
        for folder, record in self._runs:
            if record.status == "ok":
                table = read_items(folder)
                for name, value in (("seed", record.seed), ("aligner", record.aligner), ("run", folder.name)):
                    table.insert(0, name, value)
                tables.append(table)
        if not tables:
            raise UserError(
                f"no run here has items, the first is {verdict(self._runs[0][1])}: run one again."
            )
        return pd.concat(tables, ignore_index=True)

    def _tables(self) -> list[Table]:
        if len(self._runs) == 1:
            shown = (result_table, people_table, values_table, held_out_table)
            return [*filter(None, (made(self.record) for made in shown))]
        tables = [runs_table(self.records)]
        kinds = {(setting_key(r), r.aligner, config_hash(r.spec)) for r in self.records}
        seeds = {record.seed for record in self.records}
        if len(kinds) == 1 and len(seeds) == len(self._runs):
            tables.append(seeds_table(summarise_runs(self._runs)))
        return tables

    def _above(self) -> list[str]:
        room = room_line(self.record) if len(self._runs) == 1 else None
        return [] if room is None else [room]

    def _ended_well(self) -> bool:
        return all(record.status == "ok" for record in self.records)

    def _sentences(self) -> list[str]:
        if len(self._runs) > 1:
            return []
        ((folder, record),) = self._runs
        trace = folder / "error.txt"
        traced = [f"error: {one_line(trace)}"] if record.status == "failed" and trace.exists() else []
        return [verdict(record), f"record: {one_line(folder / RECORD_FILE)}", *traced]

    def _rows(self) -> list[Row]:
        return rows_of(self._runs)


def what_was_run(record: Record) -> dict[str, Any]:
    """First columns of a frame of runs: what a run was, and how it ended."""
    return {
        "task": f"{record.task}@{record.task_version}",
        "model": record.model,
        "data": record.data,
        "minority_ratio": record.minority_ratio,
        "aligner": record.aligner,
        "variant": variant(record),
        "seed": record.seed,
        "status": record.status,
    }


def _group_rows(folder: Path, record: Record) -> Iterator[dict[str, Any]]:
    run = what_was_run(record)
    measured = {name: getattr(record, name) for name in RUN_COLUMNS} | {"run": folder.name}
    for group in record.groups:
        yield {**run, "group": group.name, **{c: getattr(group, c) for c in GROUP_COLUMNS}, **measured}
    if not record.groups:
        yield {**run, "group": None, **dict.fromkeys(GROUP_COLUMNS), **measured}


def _test(name: str, value: Any) -> Callable[[Record], bool]:
    """True if a record has a value in one of `FIELDS`."""
    if name == "minority_ratio":
        ratio = parse_ratio(value)
        return lambda record: abs(record.minority_ratio - ratio) < 1e-9
    if name in ("task", "aligner"):
        value = name_of("task" if name == "task" else "aligner", value)
    if name == "task":
        return lambda record: value in (record.task, f"{record.task}@{record.task_version}")
    return lambda record: bool(getattr(record, name) == value)


def load(path: str | os.PathLike[str]) -> Results:
    """A run from its folder, or all runs of a runs folder.

    Nothing in them is run. A record that cannot be read is left out of a runs folder with a warning.

    Args:
        path: a run's folder, its `record.json`, or a runs folder.

    Raises:
        UserError: there is no record, or the only one cannot be read.
    """
    know_plugins()
    folder = path_of(path, "run")
    if not (folder / RECORD_FILE).exists() and run_folders(folder):
        found = find_records(folder)
        if not found:
            raise UserError(f"no record in '{folder}' can be read: name a folder with runs in it.")
        return Results(found)
    own = folder.is_dir() or board_of(folder) is not None
    return Results([(folder if own else folder.parent, read_record(folder))])
