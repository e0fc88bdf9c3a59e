"""Tables of docs/results.md on persona groups; `python leaderboard/scripts/personas.py BOARD` prints them."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from claims import WORST, marked, trends

from prefbench import registry
from prefbench.boards.columns import PROMPTED
from prefbench.boards.ranks import compare, roles
from prefbench.boards.rows import Row, load_rows
from prefbench.boards.table import frame_of
from prefbench.record.schema import Record
from prefbench.report.figures import ratio_label

DUELS = (("maxmin", "single_reward"), ("maxmin", "dpo"), ("maxmin", "maxmin_known_groups"))
"""Who is compared with whom in each contest."""


def with_floor(rows: Sequence[Row], floor: str = "reference") -> list[tuple[str, str]]:
    """Every learner beside a floor, in the order of their names."""
    role = roles(rows)
    return [(name, floor) for name in sorted(role) if role[name] == "learner"]


def contest(record: Record) -> str:
    """Who disagrees: the task where it says so, or how many groups there are."""
    return f"`{record.task}`" if len(record.groups) == 2 else f"{len(record.groups)} groups"


def by_contest(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by contest."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[contest(row.first)].append(row)
    return dict(sorted(found.items(), key=lambda each: (not each[0].startswith("`"), each[0])))


def smallest(rows: Sequence[Row]) -> list[Row]:
    """Rows where the minority is smallest."""
    least = min(row.first.minority_ratio for row in rows)
    return [row for row in rows if row.first.minority_ratio == least]


def across(rows: Sequence[Row], measure: str = WORST) -> str:
    """A measure with its interval where the minority is smallest: an aligner a row, a contest a column.

    The aligner whose smallest figure is largest comes first.
    """
    shown: dict[str, dict[str, str]] = defaultdict(dict)
    least: dict[str, float] = {}
    for name, mine in by_contest(rows).items():
        frame = frame_of(smallest(mine))
        for row in frame.to_dict("records"):
            value, low, high = (float(row[f"{measure}{end}"]) for end in ("", "_low", "_high"))
            shown[row["aligner"]][name] = f"{value:.2f} [{low:.2f}, {high:.2f}]"
            least[row["aligner"]] = min(value, least.get(row["aligner"], value))
    needs = {row.first.aligner: ", ".join(row.first.needs) or "nothing" for row in rows}
    lines = [
        {"aligner": f"`{name}`", "needs": needs[name], **shown[name]}
        for name in sorted(shown, key=lambda name: -least[name])
    ]
    return pd.DataFrame(lines).fillna("").to_markdown(index=False, disable_numparse=True)


def versus(rows: Sequence[Row], pairs: Iterable[tuple[str, str]] = DUELS) -> str:
    """The worst group of one aligner less that of another where the minority is smallest, seed by seed.

    Bold is surely more and in italics surely less, corrected by Holm over the whole table.
    """
    contests = {
        name: {row.first.aligner: row for row in smallest(mine)} for name, mine in by_contest(rows).items()
    }
    found = {
        (first, second, name): compare(there[first], there[second], WORST)[0]
        for first, second in pairs
        for name, there in contests.items()
    }
    lines: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for (first, second, name), shown in zip(found, marked(list(found.values())), strict=True):
        lines[first, second][name] = shown
    table = [
        {"worst group of": f"`{first}`", "less that of": f"`{second}`", **cells}
        for (first, second), cells in lines.items()
    ]
    return pd.DataFrame(table).to_markdown(index=False, disable_numparse=True)


def clusters(rows: Sequence[Row], aligner: str = "maxmin") -> str:
    """What EM found: how many clusters on how many seeds, and their agreement with the groups."""
    lines = []
    for name, mine in by_contest(rows).items():
        for row in mine:
            found = [record.em for record in row.records.values() if record.em is not None]
            if row.first.aligner != aligner or not found:
                continue
            numbers = Counter(em.clusters for em in found)
            agreement = [em.adjusted_rand_index or 0.0 for em in found]
            lines.append(
                {
                    "groups": name,
                    "ratio": ratio_label(row.first.minority_ratio),
                    "clusters": ", ".join(f"{n} on {seeds}" for n, seeds in sorted(numbers.items())),
                    "adjusted Rand index": f"{np.mean(agreement):.2f}",
                    "smallest": f"{min(agreement):.2f}",
                    "seeds": len(found),
                }
            )
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def main(board: Path) -> None:
    """Print every table."""
    registry.load_plugins()
    rows = load_rows(board)
    for name, mine in by_contest(rows).items():
        conflict = [next(iter(r.task_report["conflict"].values())) for r in mine[0].records.values()]
        spans = ", ".join(
            f"{key} {min(values):.2f} to {max(values):.2f}"
            for key in conflict[0]
            if (values := [each[key] for each in conflict if each.get(key) is not None])
        )
        print(f"## {name}\n\n{spans}\n\n{trends(mine)}\n")
    print(f"## Worst group\n\n{across(rows)}\n\n## Told\n\n{across(rows, PROMPTED)}\n")
    print(f"## Compared\n\n{versus(rows)}\n\n{versus(rows, with_floor(rows))}\n")
    print(f"## Clusters\n\n{clusters(rows)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
