"""The tables of docs/strategy.md: `python leaderboard/scripts/strategy.py RUNS --seeds 20`.

Runs every learner on every world of `WORLDS` under every report and reliability, continuing what is in the
folder RUNS, and writes leaderboard/strategy.csv and leaderboard/unreliable.csv, which `tables.py` makes the
page's tables of. `--world` and `--aligner`, which may be repeated, run a part; rows of other worlds and
aligners stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from prefbench import registry
from prefbench.evaluate.exaggeration import gain_table, gains, loss_table, losses
from prefbench.sweep.exaggeration import measured, study

PUBLISHED = Path(__file__).parents[1]
WORLDS: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "one question": ("worst_case_two_group", {}, ()),
    "two groups": ("bandit_two_group", {"task": {"features": "swapped"}}, ()),
    "three groups": ("bandit_k_group", {"aligner": {"clusters": 3}}, ()),
    "one question, three labels a pair": (
        "worst_case_two_group",
        {"task": {"labels_per_pair": 3}},
        ("crowd_pref", "pessimistic_median", "single_reward"),
    ),
}
"""Task, options, and aligners where not all learners are run: `crowd_pref` needs several labels of a pair."""


def computed(
    runs: Path, seeds: int, worlds: Sequence[str], aligners: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gains of reports, and the cost of coins, by world."""
    gained, lost = [], []
    for world in worlds:
        task, sets, few = WORLDS[world]
        of = study(task, few or aligners, seeds=seeds, sets=sets)
        frame, failed = measured(of, runs, Console(stderr=True))
        print("\n".join(failed))
        gained.append(pd.DataFrame(gains(frame)).assign(world=world))
        lost.append(pd.DataFrame(losses(frame)).assign(world=world))
    return pd.concat(gained), pd.concat(lost)


def gains_of(frame: pd.DataFrame, world: str) -> str:
    """The table of a world's gains: a row for each aligner, largest gain of a whole group first."""
    part = frame[frame["world"] == world].astype({"annotators": str})
    header, lines = gain_table(_rows(part))
    said = pd.DataFrame(lines, columns=header)
    said["gain"] += " (" + said["best report"] + ")"
    wide = said.pivot(index="aligner", columns="who reports", values="gain")
    whole = part[part["annotators"] == "all"].groupby("aligner")["gain"].max()
    few_last = sorted(wide.columns, key=lambda who: (who not in set(part["group"]), who))
    order = whole.sort_values(ascending=False, kind="stable").index
    return wide.loc[order, few_last].reset_index().to_markdown(index=False, disable_numparse=True)


def losses_of(frame: pd.DataFrame, world: str) -> str:
    """The table of a world's losses."""
    return _markdown(*loss_table(_rows(frame[frame["world"] == world])))


def _publish(frame: pd.DataFrame, name: str) -> None:
    """Write rows in the place of those of the same worlds and aligners."""
    path, parts = PUBLISHED / f"{name}.csv", [frame]
    if path.exists():
        before, key = pd.read_csv(path), ["world", "aligner"]
        again = before.set_index(key).index.isin(frame.set_index(key).index)
        parts = [before[~again], frame]
    pd.concat(parts).to_csv(path, index=False, float_format="%.6g")


def _rows(part: pd.DataFrame) -> list[dict[str, Any]]:
    known = part.astype(object).where(part.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in known.to_dict("records")]


def _markdown(header: list[str], lines: list[list[str]]) -> str:
    return pd.DataFrame(lines, columns=header).to_markdown(index=False, disable_numparse=True)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("runs", type=Path)
    asked.add_argument("--seeds", type=int, default=20)
    asked.add_argument("--world", action="append", choices=list(WORLDS))
    asked.add_argument("--aligner", action="append", default=[])
    said = asked.parse_args()
    registry.load_plugins()
    gained, lost = computed(said.runs, said.seeds, said.world or list(WORLDS), said.aligner)
    _publish(gained, "strategy")
    _publish(lost, "unreliable")
    for world in dict.fromkeys(gained["world"]):
        print(f"{world}\n\n{gains_of(gained, world)}\n\n{losses_of(lost, world)}\n")
