"""A leaderboard's rows held against the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.boards.columns import COLUMNS, LATER
from prefbench.boards.csv_file import read_csv
from prefbench.boards.names import config_hash
from prefbench.boards.people_file import PEOPLE_COLUMNS, people_frame, read_people
from prefbench.boards.rows import Row, rows_of
from prefbench.boards.table import frame_of
from prefbench.record.files import find_records

ROUNDED = 1e-6
"""Largest distance of a number of the CSV from what the runs give: the digits that it is rounded to."""


def verify_csv(path: Path, runs_dir: Path) -> dict[str, list[str]]:
    """Check that every row of a leaderboard follows from the runs in a folder.

    Runs that the file does not name (another configuration, another seed) are left out first, as ranks
    and gaps are relative to what is there. The runs themselves are not checked: see `verify_board`.

    Returns:
        What is wrong with each row, by task, aligner and configuration; empty where nothing is.

    Raises:
        UserError: if the file or the runs cannot be read.
    """
    published = read_csv(path)
    rows = _rows_named(published, runs_dir)
    blank = {name for name in LATER if published[name].isna().all()}
    columns = [name for name in COLUMNS if name not in blank]
    return _held(published, frame_of(rows) if rows else None, ("config_hash",), columns, runs_dir)


def verify_people_csv(path: Path, runs_dir: Path) -> dict[str, list[str]]:
    """`verify_csv` of a file of people's figures."""
    published = read_people(path)
    rows = _rows_named(published, runs_dir)
    key = ("config_hash", "known", "n", "context")
    return _held(published, people_frame(rows) if rows else None, key, PEOPLE_COLUMNS, runs_dir)


def _rows_named(published: pd.DataFrame, runs_dir: Path) -> list[Row]:
    """The rows of the runs that a file names."""
    seeds: dict[str, set[str]] = {}
    for row in published.to_dict("records"):
        seeds.setdefault(row["config_hash"], set()).update(row["seeds"].split())
    runs = [
        (folder, record)
        for folder, record in find_records(Path(runs_dir))
        if str(record.seed) in seeds.get(config_hash(record.spec), ())
    ]
    return rows_of(runs)


def _held(
    published: pd.DataFrame,
    frame: pd.DataFrame | None,
    key: Sequence[str],
    columns: Iterable[str],
    runs_dir: Path,
) -> dict[str, list[str]]:
    """Errors in each row of a file, by the row that the runs give with the same key."""

    def key_of(row: Mapping[Any, Any]) -> tuple[str, ...]:
        return tuple(_cell(row[name]) for name in key)

    built = {} if frame is None else {key_of(row): row for row in frame.to_dict("records")}
    result: dict[str, list[str]] = {}
    for number, row in enumerate(published.to_dict("records"), start=2):
        name = (
            f"row {number}, {row['task']} {row['minority_ratio']:g} {row['aligner']} ({row['config_hash']})"
        )
        ours = built.get(key_of(row))
        wrong = result.setdefault(name, [])
        if ours is None:
            wrong.append(f"no run of it in '{runs_dir}'")
            continue
        for column in columns:
            written, computed = row[column], ours[column]
            if pd.isna(written) and pd.isna(computed):
                continue
            if isinstance(computed, str) or pd.isna(written) or pd.isna(computed):
                same = not pd.isna(written) and not pd.isna(computed) and written == computed
            else:
                same = abs(written - computed) <= ROUNDED * max(1.0, abs(computed))
            if not same:
                wrong.append(f"{column} is {_cell(written)}, the runs give {_cell(computed)}")
    return result


def _cell(value: Any) -> str:
    return "empty" if pd.isna(value) else str(value)
