"""A leaderboard at a place: in a CSV, or made of the runs in a folder or a packed board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefbench.boards.csv_file import read_csv
from prefbench.boards.people_file import beside, people_frame, read_people
from prefbench.boards.ranks import check_rank_by
from prefbench.boards.rows import load_rows
from prefbench.boards.table import frame_of
from prefbench.errors import UserError
from prefbench.record.files import holds_runs

if TYPE_CHECKING:
    import pandas as pd


def leaderboard_at(path: Path, rank_by: str | None = None) -> pd.DataFrame:
    """The leaderboard of a file or of runs.

    Args:
        path: a CSV of `leaderboard build`, a folder of runs or a packed board.
        rank_by: the measure to rank by in the place of the board's own; of runs only.

    Raises:
        UserError: there is none, it cannot be read, or cannot be ranked so.
    """
    check_rank_by(rank_by)
    if holds_runs(path):
        return frame_of(load_rows(path), rank_by)
    if rank_by is not None:
        raise UserError(
            f"ranks by another measure compare runs, which '{path}' has not: give the runs folder or the "
            "packed board that it was built from."
        )
    return read_csv(path)


def people_at(path: Path) -> pd.DataFrame:
    """The figures by what is known of people, of runs or from the file beside a CSV.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    if holds_runs(path):
        return people_frame(load_rows(path))
    if not beside(path).exists():
        raise UserError(
            f"no '{beside(path)}': `prefbench leaderboard build` writes it where it matters who is "
            "answered, as with task.unseen_annotators or an aligner that sees something of people."
        )
    return read_people(beside(path))
