"""Print the tables of docs/results.md from a runs folder: `python leaderboard/scripts/tables.py runs`.

Means over runs; intervals are those of `prefbench leaderboard build`, over seeds.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd

from prefbench import registry
from prefbench.boards.table import build
from prefbench.record.files import find_records
from prefbench.record.schema import Record


def win_rates(frame: pd.DataFrame) -> str:
    """One row per aligner and ratio: rank, majority, minority, worst group with its interval, KL, length."""
    table = pd.DataFrame(
        {
            "ratio": frame["minority_ratio"].map(lambda r: f"{1 / r - 1:.0f}:1"),
            "aligner": frame["aligner"],
            "needs": frame["needs"],
            "rank": [
                f"{r.rank} [{r.rank_low}, {r.rank_high}]" if pd.notna(r.rank) else r.role
                for r in frame.itertuples()
            ],
            "majority": frame["majority_win_rate"].map("{:.2f}".format),
            "minority": frame["minority_win_rate"].map("{:.2f}".format),
            "worst [95%]": [
                f"{r.worst_group_win_rate:.2f} [{r.worst_group_win_rate_low:.2f}, "
                f"{r.worst_group_win_rate_high:.2f}]"
                for r in frame.itertuples()
            ],
            "worst seed": frame["worst_seed"].map("{:.2f}".format),
            "of means": frame["worst_group_of_means"].map("{:.2f}".format),
            "KL": frame["kl"].map(lambda v: "" if pd.isna(v) else f"{v:.1f}"),
            "words": frame["mean_length"].map("{:.1f}".format),
            "seeds": frame["n_seeds"],
            "status": frame["status"],
        }
    )
    return table.to_markdown(index=False)


def by_seed(records: list[Record], value: str) -> str:
    """A figure for each seed, one row per aligner, ratio and group."""
    rows: dict[tuple[str, str, str], dict[int, float]] = defaultdict(dict)
    for record in records:
        ratio = f"{1 / record.minority_ratio - 1:.0f}:1"
        for group in record.groups:
            figure = getattr(group, value)
            if figure is not None:
                role = "minority" if group.is_minority else "majority"
                rows[(record.aligner, ratio, role)][record.seed] = figure
    table = pd.DataFrame(rows).T.sort_index()
    table = table[sorted(table.columns)]
    table.insert(0, "mean", table.mean(axis=1))
    table.index.names = ["aligner", "ratio", "group"]
    return table.reset_index().to_markdown(index=False, floatfmt=".2f")


def agreement(records: list[Record]) -> str:
    """Adjusted Rand index of EM's clusters and the true groups, for each seed."""
    rows: dict[tuple[str, int], dict[int, float | None]] = defaultdict(dict)
    for record in records:
        if record.em is not None:
            ratio = f"{1 / record.minority_ratio - 1:.0f}:1"
            pairs = record.spec["task_options"]["pairs_per_annotator"]
            rows[(ratio, pairs)][record.seed] = record.em.adjusted_rand_index
    table = pd.DataFrame(rows).T.sort_index(ascending=[True, False])
    table = table[sorted(table.columns)]
    table.index.names = ["ratio", "pairs per annotator"]
    return table.reset_index().to_markdown(index=False, floatfmt=".2f")


def main(runs_dir: Path) -> None:
    """Print every table."""
    registry.load_plugins()
    records = [record for _, record in find_records(runs_dir)]
    learned = [r for r in records if r.groups and r.groups[0].reward_accuracy is not None]
    print("## Win rates\n\n" + win_rates(build(runs_dir)))
    print("\n## Win rate by seed\n\n" + by_seed(records, "win_rate"))
    if learned:
        print("\n## Reward accuracy on held-out pairs\n\n" + by_seed(learned, "reward_accuracy"))
    if any(record.em for record in records):
        print("\n## EM: adjusted Rand index\n\n" + agreement(records))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs"))
