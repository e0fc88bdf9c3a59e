"""A leaderboard's rows held against the runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from prefbench.boards.columns import COLUMNS, LATER
from prefbench.boards.csv_file import read_csv
from prefbench.boards.names import config_hash
from prefbench.boards.rows import rows_of
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
    seeds: dict[str, set[str]] = {}
    for row in published.to_dict("records"):
        seeds.setdefault(row["config_hash"], set()).update(row["seeds"].split())
    runs = [
        (folder, record)
        for folder, record in find_records(Path(runs_dir))
        if str(record.seed) in seeds.get(config_hash(record.spec), ())
    ]
    rows = frame_of(rows_of(runs)).to_dict("records") if runs else []
    built = {row["config_hash"]: row for row in rows}
    blank = {name for name in LATER if published[name].isna().all()}
    result: dict[str, list[str]] = {}
    for number, row in enumerate(published.to_dict("records"), start=2):
        name = (
            f"row {number}, {row['task']} {row['minority_ratio']:g} {row['aligner']} ({row['config_hash']})"
        )
        ours = built.get(row["config_hash"])
        wrong = result.setdefault(name, [])
        if ours is None:
            wrong.append(f"no run of it in '{runs_dir}'")
            continue
        for column in COLUMNS:
            written, computed = row[column], ours[column]
            if column in blank or (pd.isna(written) and pd.isna(computed)):
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
