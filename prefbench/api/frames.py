"""Records and items of many runs as data frames."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench.api.results import Results, load, what_was_run
from prefbench.record.schema import Record

if TYPE_CHECKING:
    import pandas as pd

RATES = ("worst_group_win_rate", "minority_win_rate", "majority_win_rate", "mean_win_rate", "gap")
"""Fields of a record that have an interval, which stands in a field of its own."""
FIGURES = ("kl", "mean_length", "reference_length", "empty_rate", "retention", "utility_gain", "mde")
"""Further figures of a run."""


def runs_frame(*sources: Results | str | os.PathLike[str]) -> pd.DataFrame:
    """A row for each run: what was run, how it ended, its worst group, its gap and what to read beside them.

    Options that are not the default stand together in the column `variant`. The ends of an interval have its
    figure's name with `_low` and `_high` behind it. Of a run that diverged or failed the figures are missing.
    `Results.frame` has a row for each group.

    Args:
        sources: what `run` or `load` returned, and folders of runs; `runs` if left out. A run that is
            named twice is there once.

    Raises:
        UserError: there is no run.
    """
    import pandas as pd

    found = _gathered(sources)
    return pd.DataFrame([_row(folder, record) for folder, record in found.runs])


def items_frame(*sources: Results | str | os.PathLike[str]) -> pd.DataFrame:
    """A row for each response of each run: prompt, response, the reference's, and every group's utilities.

    Args:
        sources: as of `runs_frame`.

    Raises:
        UserError: there is no run, or none that has items.
    """
    return _gathered(sources).items()


def _gathered(sources: tuple[Results | str | os.PathLike[str], ...]) -> Results:
    """The runs of all sources, each of them once."""
    every = [source if isinstance(source, Results) else load(source) for source in sources or ("runs",)]
    found: Mapping[str, tuple[Path, Record]] = {
        os.path.abspath(folder): (folder, record) for folder, record in chain(*(each.runs for each in every))
    }
    return Results(found.values())


def _row(folder: Path, record: Record) -> dict[str, Any]:
    rates: dict[str, Any] = {}
    for name in RATES:
        low, high = getattr(record, f"{name}_ci") or (None, None)
        rates |= {name: getattr(record, name), f"{name}_low": low, f"{name}_high": high}
    return {
        **what_was_run(record),
        "worst_group": record.worst_group,
        **rates,
        **{name: getattr(record, name) for name in FIGURES},
        "egalitarian_regret": None if record.regret is None else record.regret.egalitarian_regret,
        "n_prompts": record.n_prompts,
        "numerics": record.numerics,
        "run": folder.name,
        "message": record.message,
    }
