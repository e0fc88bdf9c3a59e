"""Every configuration over its seeds, ranked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from prefbench.api.results import Results, load
from prefbench.api.shown import Shown, know_plugins, path_of, plain_console
from prefbench.boards.csv_file import read_csv, write_csv
from prefbench.boards.declared import read_declared
from prefbench.boards.matrix import duels_frame, head_to_head
from prefbench.boards.people_file import people_frame
from prefbench.boards.ranks import RANKED
from prefbench.boards.rows import Row, rows_of
from prefbench.boards.show import notes, said_once, show, shown_rows
from prefbench.boards.table import frame_of
from prefbench.errors import UserError
from prefbench.record.files import RECORD_FILE
from prefbench.record.packed import board_at
from prefbench.record.schema import Record
from prefbench.report.cells import drawn
from prefbench.report.tables import rows_table
from prefbench.spec import parse_ratio

if TYPE_CHECKING:
    import pandas as pd


class Leaderboard(Shown):
    """A row for each configuration, over its seeds: what `leaderboard` returns."""

    def __init__(self, frame: pd.DataFrame, rows: list[Row] | None) -> None:
        self._frame = frame
        self._found = rows

    def __len__(self) -> int:
        return len(self._frame)

    def frame(self) -> pd.DataFrame:
        """The rows with the columns of the CSV, which docs/leaderboard.md explains."""
        return self._frame.copy()

    def people(self) -> pd.DataFrame:
        """A row for each configuration and stratum: win rates by what is known of people, over seeds.

        The columns are those of the file `-people.csv` that `prefbench leaderboard build` writes, which
        docs/leaderboard.md explains; no row where nobody is told apart.

        Raises:
            UserError: there are no runs.
        """
        return people_frame(self._rows())

    def matrix(
        self, *aligners: str, task: str | None = None, minority_ratio: str | float | None = None
    ) -> pd.DataFrame:
        """Every two policies of a board head to head, for each group on the same prompts.

        Args:
            aligners: names or configurations' hashes; all of the board if left out.
            task: take this task's board; needed where the runs are of several.
            minority_ratio: take the board of this share: 0.2, "20%" or "4:1".

        Returns:
            A row for each group and pair: the share of prompts on which the first's response beats the
            second's (ties one half), its interval over seeds, p corrected by Holm, and the counts.

        Raises:
            UserError: there are several boards or no two whole policies, or there are no runs.
        """
        ratio = None if minority_ratio is None else parse_ratio(minority_ratio)
        return duels_frame(head_to_head(self._rows(), aligners, task, ratio))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write it as `prefbench leaderboard build` does."""
        write_csv(self._frame, path_of(path, "path"))

    def __repr__(self) -> str:
        return show(self._frame, console=plain_console())

    def _tables(self) -> list[Table]:
        header, rows, same = said_once(*shown_rows(self._frame))
        names = (f"{RANKED}{end}" for end in ("", "_low", "_high"))
        numbers = list(zip(*(self._frame[name].astype(float) for name in names), strict=True))
        return [rows_table(same, header, drawn(header, rows, "worst group", numbers))]

    def _sentences(self) -> list[str]:
        return notes(self._frame)

    def _rows(self) -> list[Row]:
        if self._found is None:
            raise UserError(
                "a leaderboard from a CSV file has no runs to draw or compare: give their folder."
            )
        return self._found


def leaderboard(*sources: Results | str | os.PathLike[str]) -> Leaderboard:
    """The leaderboard of runs, as `prefbench leaderboard build` makes it, or one that was written before.

    Args:
        sources: what `run` or `load` returned, and folders of runs; or one CSV file. `runs` if left out.

    Raises:
        UserError: there is no run, or a file that cannot be read.
    """
    know_plugins()
    given = sources or ("runs",)
    if len(given) == 1 and not isinstance(given[0], Results):
        path = path_of(given[0], "leaderboard")
        if path.suffix == ".csv" or (path.is_file() and path.name != RECORD_FILE and not board_at(path)):
            return Leaderboard(read_csv(path), None)
    found: dict[Path, tuple[Path, Record]] = {}
    declared: dict[str, list[int]] = {}
    for source in given:
        results = source if isinstance(source, Results) else load(source)
        found |= {Path(os.path.abspath(folder)): (folder, record) for folder, record in results.runs}
        if not isinstance(source, Results):
            declared |= read_declared(path_of(source, "runs folder"))
    rows = rows_of(found.values(), declared)
    return Leaderboard(frame_of(rows), rows)
