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
TEXT = ("task", "model", "data", "aligner", "variant", "needs", "role", "status", "seeds", "worst_group")
TEXT_LAST = ("config_hash", "version", "date")
RANKS = ("rank", "rank_low", "rank_high")
TEXT_LATER = ("tuning", "sees", "outside")
WHOLE = (*RANKS, "n_seeds", "n_prompts", "numerics")
NUMBERS = ("kl", "mean_length", "reference_length", "empty_rate", "mde")
REGRETS = ("max_regret", "egalitarian_regret", "pareto_distance")
"""Columns that only worlds with listed responses fill."""
PROMPTED = "prompted_worst_group_win_rate"
ENDS = ("", "_low", "_high")
"""Ends of the names of a figure and of its interval's bounds."""
PROMPTED_COLUMNS = tuple(f"{PROMPTED}{end}" for end in ENDS)
"""Columns of answers to prompts with each group's instruction; only tasks that have instructions fill
them."""
CROSS_FITTED = "worst_group_cross_fitted"
"""Win rate of the group that is worst on one half of a run's prompts, read on the other half."""
REGRET_BOUNDS = ("egalitarian_regret_low", "egalitarian_regret_high")
OVER_SEEDS = (
    *("role", *RANKS, "worst_group_of_means", "worst_seed"),
    *(f"{CROSS_FITTED}{end}" for end in ("", "_low", "_high")),
    *(f"{metric}_sd" for metric in METRICS),
    *REGRET_BOUNDS,
)
"""Columns that boards lack which were made when the worst group was the smallest of means over seeds."""
RATES = (*METRICS, PROMPTED, CROSS_FITTED, "worst_group_of_means", "worst_seed")
"""Columns between 0 and 1, most of them with `_low` and `_high`."""
LATER = (*REGRETS, *PROMPTED_COLUMNS, "numerics", *OVER_SEEDS, *TEXT_LATER, *BEYOND)
"""Columns added after the first boards were published; older files lack them."""
BEFORE = {"tuning": "default"}
"""Text of columns in rows of files that lack them."""
_SHOWN_FIRST = (
    *("task", "model", "data", "minority_ratio", "aligner", "variant", "needs", "role", "status", *RANKS),
    *("n_seeds", "seeds", "n_prompts", "worst_group"),
    *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")),
    *NUMBERS,
    *TEXT_LAST,
)
COLUMNS = (*_SHOWN_FIRST, *(name for name in LATER if name not in _SHOWN_FIRST))
"""Columns of the CSV, in order. `task` is task@version; `n_prompts` counts prompts over all seeds;
`worst_group` is the group that is worst in most runs; rates are means over runs, `_sd` their standard
deviation between runs; `mde` is the smallest difference that would be found to another row with as many seeds
and this spread; `config_hash` names the specification without its seed; `date` is of the last run; `numerics`
is empty for runs from before it was counted and for rows that mix several; `tuning` is `default`, or the rule
and the number of configurations that `tune` chose the options by; `sees` says what policies are told of a
person whom they answer, and is empty of one for everybody; `outside` says who trained a policy that no run
did. The regrets are means over seeds, in standard
deviations of utility, and empty where responses cannot be listed."""

DECIMALS = 6
"""Rates are rounded so that the CSV reads and diffs well; a run has nowhere near a million prompts."""


def typed_frame(cells: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame with the columns' types: text, whole numbers that may be missing, and numbers."""
    import pandas as pd

    frame = pd.DataFrame([dict(row) for row in cells], columns=list(COLUMNS))
    for name in COLUMNS:
        if name in (*TEXT, *TEXT_LAST, *TEXT_LATER):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str).astype("str")
        elif name in WHOLE:
            frame[name] = pd.to_numeric(frame[name]).astype("Int64")
        else:
            frame[name] = pd.to_numeric(frame[name]).astype("float64")
    return frame


def is_old(frame: pd.DataFrame) -> bool:
    """True if a leaderboard's worst group is the smallest of means over seeds, as files once had it."""
    measured = frame["worst_group_win_rate"].notna()
    return bool(measured.any() and frame.loc[measured, "worst_group_of_means"].isna().all())
