"""Two aligners on the same prompts and seeds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.table import Table

from prefbench.api.results import Results
from prefbench.api.shown import Shown, know_plugins, path_of
from prefbench.boards.compare import (
    Comparison,
    Match,
    Side,
    compare_rows,
    comparison_rows,
    matched,
    rows_apart,
    side_of,
)
from prefbench.boards.rows import Row
from prefbench.registry import name_of
from prefbench.report.cells import drawn
from prefbench.report.tables import rows_table
from prefbench.spec import parse_ratio
from prefbench.stats.covered import said_of

if TYPE_CHECKING:
    import pandas as pd

Compares = Results | str | os.PathLike[str] | Callable[..., Any]
"""Runs, their folder, a name among the runs of `runs_dir`, or an aligner's function."""


class Compared(Shown):
    """Two sides, prompt by prompt and seed by seed: what `compare` returns."""

    def __init__(self, match: Match) -> None:
        self._match = match
        self.statistics: Comparison = compare_rows(match)
        """The numbers that `prefbench leaderboard compare --json` prints."""

    def frame(self) -> pd.DataFrame:
        """A row for each measure: both sides, their difference with its 95% interval and its p value.

        Differences are first minus second; p values are corrected by Holm.
        """
        import pandas as pd

        return pd.DataFrame([vars(measure) for measure in self.statistics.measures])

    def _tables(self) -> list[Table]:
        title, header, rows = comparison_rows(self.statistics)
        numbers = [(m.difference, m.low, m.high) for m in self.statistics.measures]
        widest = max(abs(bound) for each in numbers for bound in each)
        cells = drawn(header, rows, "95% interval", numbers, (-widest, widest))
        return [rows_table(title, header, cells, names_break=True)]

    def _sentences(self) -> list[str]:
        left_out = ", ".join(map(str, self.statistics.left_out))
        said = [f"only one of the two has seed {left_out}: not compared"] if left_out else []
        few = said_of(len(self.statistics.seeds))
        return [*said, few] if few else said

    def _rows(self) -> list[Row]:
        return [self._match.first, self._match.second]


def compare(
    first: Compares,
    second: Compares,
    *,
    runs_dir: str | os.PathLike[str] = "runs",
    task: str | None = None,
    minority_ratio: str | float | None = None,
) -> Compared:
    """Compare two aligners in every group and in what sums them up, as `prefbench leaderboard compare` does.

    The difference is tested by a t test over seeds; of one seed, over its prompts.

    Args:
        first: what `run` or `load` returned, a folder with runs, or the name of an aligner, its function or
            a configuration's hash, whose runs lie in `runs_dir`.
        second: likewise.
        runs_dir: where names are looked up.
        task: take names from this task only.
        minority_ratio: take names at this share only: 0.2, "20%" or "4:1".

    Raises:
        UserError: one of them fits nothing or too much, or the two are not of one board.
    """
    know_plugins()
    folder = path_of(runs_dir, "runs_dir")
    ratio = None if minority_ratio is None else parse_ratio(minority_ratio)

    def side(given: Compares) -> Side:
        if isinstance(given, Results):
            name = " and ".join(sorted({record.aligner for record in given.records}))
            return Side(name, rows_apart(given.runs))
        if isinstance(given, os.PathLike):
            given = os.fspath(given)
        return side_of(name_of("aligner", given), folder, task, ratio)

    return Compared(matched(side(first), side(second)))
