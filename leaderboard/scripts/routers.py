"""Worst group by what is known of people, of a runs folder: `python leaderboard/scripts/routers.py RUNS`.

Writes leaderboard/routers.csv, or with a second argument NAME leaderboard/NAME.csv, which `tables.py` makes a
table of docs/personal.md of.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd

from prefbench.record.files import find_records
from prefbench.record.schema import Record
from prefbench.stats.runs import interval_of, mean_of_figures

PUBLISHED = Path(__file__).parents[1]
OPTIONS = {"clusters": "{} clusters", "rank": "rank {}"}
"""Options of aligners that runs differ in: the number of groups is the usual one."""


def named(record: Record) -> str:
    """The aligner of a run, with the number of its clusters or its rank if that is not the groups' number."""
    chosen = record.spec["aligner_options"]
    other = [
        words.format(chosen[name])
        for name, words in OPTIONS.items()
        if chosen.get(name, len(record.groups)) != len(record.groups)
    ]
    return ", ".join([record.aligner, *other])


def summary(records: list[Record]) -> pd.DataFrame:
    """A row for each aligner, spread and stratum: the mean over seeds of the runs' worst groups."""
    figures: dict[tuple[str, float, str], list[tuple[float, float]]] = defaultdict(list)
    for record in records:
        if record.people is None:
            continue
        spread = record.spec["task_options"].get("spread", 0.0)
        for each in record.people.strata:
            known = "seen" if each.n is None else str(each.n)
            known = known if each.context == "own" else f"{known}, {each.context}"
            figures[named(record), spread, known].append((each.worst_group_win_rate, each.kl or 0.0))
    rows = []
    for (aligner, spread, known), found in figures.items():
        mean = mean_of_figures([worst for worst, _ in found])
        interval = interval_of(mean)
        rows.append(
            {
                "aligner": aligner,
                "spread": spread,
                "known": known,
                "seeds": len(found),
                "worst_group_win_rate": mean.estimate,
                "low": interval.low,
                "high": interval.high,
                "kl": sum(kl for _, kl in found) / len(found),
            }
        )
    return pd.DataFrame(rows).sort_values(["spread", "aligner", "known"], ignore_index=True)


def _place(known: str) -> tuple[bool, bool, int]:
    """Order of the columns: by number of pairs, then the control, then the seen."""
    pairs = known.partition(",")[0]
    return known == "seen", "," in known, int(pairs) if pairs.isdecimal() else 0


def table(frame: pd.DataFrame) -> str:
    """One row for each spread and aligner: the worst group, half its interval, by what is known of people."""
    frame = frame[~frame["known"].str.contains(",") | frame["known"].str.contains("shuffled")]
    text = [
        f"{row.worst_group_win_rate:.2f} ± {(row.high - row.low) / 2:.2f}"
        for row in frame.itertuples(index=False)
    ]
    wide = frame.assign(text=text).pivot(index=["spread", "aligner"], columns="known", values="text")
    order = sorted(wide.columns, key=_place)
    wide = wide[order].rename(columns=lambda name: name if not name.isdecimal() else f"n = {name}")
    return wide.fillna("").reset_index().to_markdown(index=False, disable_numparse=True)


if __name__ == "__main__":
    name = sys.argv[2] if len(sys.argv) > 2 else "routers"
    found = summary([record for _, record in find_records(Path(sys.argv[1]))])
    found.to_csv(PUBLISHED / f"{name}.csv", index=False, float_format="%.6g")
    print(table(found))
