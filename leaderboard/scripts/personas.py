"""Print persona tables of docs/results.md from runs: `python leaderboard/scripts/personas.py runs-personas`.

Means over runs; intervals are those of `prefbench leaderboard build`, over seeds.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import pandas as pd

from prefbench import registry
from prefbench.boards.columns import PROMPTED
from prefbench.boards.table import build
from prefbench.record.files import find_records
from prefbench.record.schema import Record
from prefbench.report.figures import ratio_label


def worst(frame: pd.DataFrame, measure: str) -> str:
    """A row for each aligner and a column for each ratio: a measure with its interval."""
    cells: dict[str, dict[str, str]] = defaultdict(dict)
    for row in frame.sort_values(["minority_ratio", measure], ascending=False).to_dict("records"):
        value, low, high = (row[f"{measure}{end}"] for end in ("", "_low", "_high"))
        said = str(row["status"]) if pd.isna(value) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
        cells[row["aligner"]][ratio_label(row["minority_ratio"])] = said
    table = pd.DataFrame(cells).T
    last = frame[frame["minority_ratio"] == frame["minority_ratio"].min()].set_index("aligner")[measure]
    table = table.loc[sorted(table.index, key=lambda name: -last.get(name, float("-inf")))]
    table.insert(0, "needs", frame.drop_duplicates("aligner").set_index("aligner")["needs"])
    return table.fillna("").rename_axis("aligner").reset_index().to_markdown(index=False)


def across(frame: pd.DataFrame, measure: str) -> str:
    """A row for each aligner and a column for each task: a measure where the minority is smallest."""
    last = frame[frame["minority_ratio"] == frame["minority_ratio"].min()]
    table = last.pivot(index="aligner", columns="task", values=measure)
    table = table.loc[table.min(axis=1).sort_values(ascending=False).index]
    return table.map(lambda value: "" if pd.isna(value) else f"{value:.2f}").to_markdown(
        disable_numparse=True
    )


def directions(records: list[Record]) -> str:
    """T1 to T3 in figures: what happens to minority and majority as the ratio grows."""
    rows: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        ratio = ratio_label(record.minority_ratio)
        for group in record.groups:
            role = "minority" if group.is_minority else "majority"
            if record.aligner == "single_reward" and group.reward_accuracy is not None:
                rows["T1: single_reward's reward accuracy", role][ratio].append(group.reward_accuracy)
            if record.aligner in ("single_reward", "maxmin"):
                target = "T2" if record.aligner == "single_reward" else "T3"
                rows[f"{target}: {record.aligner}'s win rate", role][ratio].append(group.win_rate)
        if record.em is not None and record.aligner == "maxmin":
            rows["EM: adjusted Rand index", ""][ratio].append(record.em.adjusted_rand_index or 0.0)
    order = sorted({ratio for row in rows.values() for ratio in row}, key=lambda name: int(name[:-2]))
    lines = []
    for (what, role), row in sorted(rows.items()):
        figures = {ratio: f"{fmean(row[ratio]):.2f}" if row[ratio] else "" for ratio in order}
        lines.append({"what": what, "of": role, **figures})
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def main(runs_dir: Path) -> None:
    """Print every table."""
    registry.load_plugins()
    records = [record for _, record in find_records(runs_dir)]
    frame = build(runs_dir)
    for task in sorted(frame["task"].unique()):
        mine = [record for record in records if f"{record.task}@{record.task_version}" == task]
        conflict = [next(iter(r.task_report["conflict"].values())) for r in mine if r.task_report]
        said = {key: [row[key] for row in conflict if row.get(key) is not None] for key in conflict[0]}
        spans = ", ".join(f"{key} {min(values):.2f} to {max(values):.2f}" for key, values in said.items())
        print(f"\n## {task}\n\n{spans}\n\n{directions(mine)}")
        part = frame[frame["task"] == task]
        print(f"\nWorst group's win rate:\n\n{worst(part, 'worst_group_win_rate')}")
        if part[PROMPTED].notna().any():
            print(f"\nThe same with instructions in the prompt:\n\n{worst(part, PROMPTED)}")
    smallest = ratio_label(frame["minority_ratio"].min())
    for measure, how in (("worst_group_win_rate", "as it is"), (PROMPTED, "with the instruction")):
        print(f"\n## Worst group at {smallest}, prompt {how}\n\n{across(frame, measure)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs-personas"))
