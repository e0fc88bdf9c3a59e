"""Tables of docs/results.md on reviews, of what is in leaderboard/reviews."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from claims import has_single_labels
from regrets import VOTES, ranks

from prefbench.boards.csv_file import read_csv
from prefbench.record.evidence import read_items
from prefbench.record.files import find_records
from prefbench.report.figures import ratio_label
from prefbench.stats.power import detectable_over_runs

RATIOS = ("1-1", "2-1", "6-1", "10-1")
"""Names of the boards, a file for each ratio."""
WELL_KNOWN = ("gold_maxmin", "maxmin_known_groups", "maxmin", "single_reward", "dpo", "reference")
"""Aligners of README's table."""
ANSWERS, ANSWERING = 5, ("single_reward", "maxmin")
"""How many prompts are shown, and whose answers beside the reference's."""


def read(boards: Path, names: Iterable[str] = RATIOS, votes: bool = False) -> pd.DataFrame:
    """Rows of the boards of those names; those whose pairs have three labels, or the others."""
    frame = pd.concat([read_csv(boards / f"{name}.csv") for name in names], ignore_index=True)
    return frame[frame["variant"].str.contains(VOTES, regex=False) == votes]


def cell(row: pd.Series) -> str:
    """The worst group's mean over seeds with its interval."""
    low, high = row["worst_group_win_rate_low"], row["worst_group_win_rate_high"]
    return f"{row['worst_group_win_rate']:.2f} [{low:.2f}, {high:.2f}]"


def ranking(frame: pd.DataFrame) -> str:
    """One row for each aligner and ratio, in the order of the boards: the largest worst group first."""
    table = pd.DataFrame(
        {
            "ratio": frame["minority_ratio"].map(ratio_label),
            "aligner": frame["aligner"],
            "needs": frame["needs"],
            "rank": ranks(frame),
            "worst group [95%]": frame.apply(cell, axis=1),
            "worst seed": frame["worst_seed"].map("{:.2f}".format),
            "majority": frame["majority_win_rate"].map("{:.2f}".format),
            "minority": frame["minority_win_rate"].map("{:.2f}".format),
            "KL": frame["kl"].map(lambda kl: "" if pd.isna(kl) else f"{kl:.1f}"),
            "words": frame["mean_length"].map("{:.1f}".format),
            "seeds": frame["n_seeds"],
        }
    )
    if table["ratio"].nunique() == 1:
        del table["ratio"]
    return table.to_markdown(index=False, disable_numparse=True)


def worst_by_ratio(frame: pd.DataFrame, names: Iterable[str] = WELL_KNOWN) -> str:
    """One row for each aligner: the worst group's win rate, with its interval, at each ratio."""
    rows = []
    for name in names:
        mine = frame[frame["aligner"] == name].sort_values("minority_ratio", ascending=False)
        cells = {ratio_label(row["minority_ratio"]): cell(row) for _, row in mine.iterrows()}
        rows.append({"aligner": f"`{name}`", "needs": mine["needs"].iloc[0], **cells})
    return pd.DataFrame(rows).fillna("").to_markdown(index=False, disable_numparse=True)


def beyond(frame: pd.DataFrame) -> str:
    """What a win rate does not see, one row for each aligner, fewest words that are none first."""
    columns = {
        "nonword_rate": "non-words",
        "distinct_1": "distinct-1",
        "distinct_2": "distinct-2",
        "retention": "kept",
    }
    table = frame.set_index("aligner")[list(columns)].rename(columns=columns)
    table = table.sort_values(["non-words", "kept"], ascending=[True, False], kind="stable")
    return table.reset_index().to_markdown(index=False, floatfmt=".2f")


def answers(board: Path, seed: int) -> str:
    """The first test prompts of a seed: what the reference answers, and what aligners make of it."""
    said = {}
    for folder, record in find_records(board):
        if record.seed == seed and record.aligner in ANSWERING and has_single_labels(record):
            first = read_items(folder).drop_duplicates("prompt_id").head(ANSWERS)
            said["prompt"], said["reference"] = first["prompt"].tolist(), first["reference_response"].tolist()
            said[record.aligner] = first["response"].tolist()
    table = pd.DataFrame(said)[["prompt", "reference", *ANSWERING]]
    return table.to_markdown(index=False, disable_numparse=True)


def resolved(frame: pd.DataFrame, seeds: Iterable[int] = (3, 5, 10, 20)) -> str:
    """Smallest difference between two learners' worst groups that so many seeds show four times in five.

    Of a learner with the spread between seeds that half of the learners have, a quarter, and three quarters.
    """
    spreads = frame.loc[frame["role"] == "learner", "worst_group_win_rate_sd"]
    parts = {"a quarter of the learners": 0.25, "half": 0.5, "three quarters": 0.75}
    rows = [
        {
            "spread between seeds of": words,
            "standard deviation": f"{spreads.quantile(part):.2f}",
            **{f"{n} seeds": f"{detectable_over_runs(spreads.quantile(part), n):.2f}" for n in seeds},
        }
        for words, part in parts.items()
    ]
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
