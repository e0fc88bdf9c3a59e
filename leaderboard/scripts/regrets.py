"""Tables of docs/worlds.md on who loses what against the exact optimum, of what is in leaderboard/worlds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prefbench.boards.csv_file import read_csv

VOTES = "task.labels_per_pair=3"


def ranks(frame: pd.DataFrame) -> list[str]:
    """Each row's rank with those that cannot be ruled out; of what is not ranked its role."""
    return [
        f"{row.rank:.0f} [{row.rank_low:.0f}, {row.rank_high:.0f}]" if pd.notna(row.rank) else row.role
        for row in frame.itertuples()
    ]


def table(boards: Path, world: str, votes: bool = False) -> str:
    """One row for each aligner on a world, least egalitarian regret first.

    `votes`: of the runs whose pairs have three labels.
    """
    frame = read_csv(boards / f"{world}.csv")
    part = frame[frame["variant"].str.contains(VOTES, regex=False) == votes]
    part = part.sort_values("egalitarian_regret", kind="stable")
    return pd.DataFrame(
        {
            "aligner": part["aligner"],
            "needs": part["needs"],
            "rank": ranks(part),
            "egalitarian regret [95%]": [
                f"{lost:.3f} [{low:.3f}, {high:.3f}]"
                for lost, low, high in zip(
                    part["egalitarian_regret"],
                    part["egalitarian_regret_low"],
                    part["egalitarian_regret_high"],
                    strict=True,
                )
            ],
            "largest regret": part["max_regret"].map("{:.3f}".format),
            "distance to the front": part["pareto_distance"].map("{:.3f}".format),
            "worst group wins": part["worst_group_win_rate"].map("{:.2f}".format),
            "KL": part["kl"].map(lambda kl: "" if pd.isna(kl) else f"{kl:.2f}"),
            "seeds": part["n_seeds"],
        }
    ).to_markdown(index=False, disable_numparse=True)
