"""The columns of a leaderboard, of which kind each is, and a frame of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prefbench.boards.beyond import BEYOND

if TYPE_CHECKING:
    import pandas as pd

METRICS = (
    "worst_group_win_rate",
    "minority_win_rate",
    "majority_win_rate",
    "mean_win_rate",
    "gap",
)
TEXT = ("task", "model", "data", "aligner", "variant", "needs", "status", "seeds", "worst_group")
TEXT_LAST = ("config_hash", "version", "date")
WHOLE = ("tie_rank", "n_seeds", "n_prompts", "numerics")
NUMBERS = ("kl", "mean_length", "reference_length", "empty_rate", "mde")
REGRETS = ("max_regret", "egalitarian_regret", "pareto_distance")
"""Columns that only worlds with listed responses fill."""
PROMPTED = "prompted_worst_group_win_rate"
PROMPTED_COLUMNS = tuple(f"{PROMPTED}{end}" for end in ("", "_low", "_high"))
"""Columns of answers to prompts with each group's instruction; only tasks that have instructions fill
them."""
LATER = (*REGRETS, *PROMPTED_COLUMNS, "numerics", *BEYOND)
"""Columns added after the first boards were published; older files lack them."""
COLUMNS = (
    *("task", "model", "data", "minority_ratio", "aligner", "variant", "needs", "status", "tie_rank"),
    *("n_seeds", "seeds", "n_prompts", "worst_group"),
    *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")),
    *NUMBERS,
    *TEXT_LAST,
    *LATER,
)
"""Columns of the CSV, in order. `task` is task@version; `n_prompts` counts prompts over all seeds; `mde` is
the smallest difference that as many prompts per row would show, seeds apart; `config_hash` names the
specification without its seed; `date` is of the last run; `numerics` is empty for runs from before it was
counted and for rows that mix several. The regrets are means over seeds, in standard deviations of utility,
and empty where responses cannot be listed."""

DECIMALS = 6
"""Rates are rounded so that the CSV reads and diffs well; a run has nowhere near a million prompts."""


def typed_frame(cells: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame with the columns' types: text, whole numbers that may be missing, and numbers."""
    import pandas as pd

    frame = pd.DataFrame([dict(row) for row in cells], columns=list(COLUMNS))
    for name in COLUMNS:
        if name in (*TEXT, *TEXT_LAST):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str).astype("str")
        elif name in WHOLE:
            frame[name] = pd.to_numeric(frame[name]).astype("Int64")
        else:
            frame[name] = pd.to_numeric(frame[name]).astype("float64")
    return frame
