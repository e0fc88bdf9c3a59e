"""Tables of docs/which-aligner.md: what aligners lose where something goes wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from claims import has_single_labels

from prefbench.record.files import find_records
from prefbench.record.schema import Record
from prefbench.stats.comparisons import holm
from prefbench.stats.runs import interval_of, mean_of_figures, two_sided_p

BASE, FEW, SMALL, COINS = "as it is", "few pairs", "small minority", "half coins"
CONDITIONS = (BASE, FEW, SMALL, COINS)
NEEDS = ("nothing", "user_id", "group", "oracle")
"""In the order of what has to be known."""
FLOOR = "reference"
LEVEL = 0.05
Regrets = dict[str, dict[int, float]]
"""Egalitarian regret by aligner and seed."""


def condition_of(record: Record) -> str:
    """What goes wrong on a record's board."""
    options = record.spec["task_options"]
    if record.minority_ratio < 0.1:
        return SMALL
    if options.get("reliability", 1.0) < 1.0:
        return COINS
    return FEW if options["pairs_per_annotator"] < 10 else BASE


def is_shown(record: Record) -> bool:
    """True of one policy for everybody that learned of one label of each pair."""
    return has_single_labels(record) and not record.sees and record.regret is not None


def regrets(records: Iterable[Record], world: str) -> tuple[dict[str, Regrets], dict[str, str]]:
    """Of a world, regrets under each condition, and what each aligner needs."""
    found: dict[str, Regrets] = {condition: defaultdict(dict) for condition in CONDITIONS}
    needs: dict[str, str] = {}
    for record in records:
        if record.task == world and is_shown(record):
            assert record.regret is not None
            value = record.regret.egalitarian_regret
            found[condition_of(record)][record.aligner][record.seed] = value
            needs[record.aligner] = ", ".join(record.needs) or "nothing"
    return found, needs


def verdicts(of: Mapping[str, Mapping[int, float]]) -> dict[str, str]:
    """`less` or `more` of each aligner that surely loses less or more than the floor, seed by seed.

    Corrected by Holm over the aligners of the condition.
    """
    others = [name for name in of if name != FLOOR]
    means = [
        mean_of_figures([value - of[FLOOR][seed] for seed, value in sorted(of[name].items())])
        for name in others
    ]
    p = holm([two_sided_p(mean) for mean in means])
    return {
        name: "less" if mean.estimate < 0 else "more"
        for name, mean, each in zip(others, means, p, strict=True)
        if each < LEVEL
    }


def cell(figures: Mapping[int, float], verdict: str | None) -> str:
    """A mean and half its interval; bold where it is surely less than the floor's, in italics where more."""
    mean = mean_of_figures(list(figures.values()))
    low, high = interval_of(mean, -np.inf, np.inf)
    text = f"{mean.estimate + 0.0:.2f} ± {(high - low) / 2:.2f}"
    return {"less": f"**{text}**", "more": f"*{text}*", None: text}[verdict]


def table(published: Path, world: str) -> str:
    """One row for each aligner and one column for each condition, by what has to be known."""
    files = (published / "worlds" / f"{world}.zip", published / "conditions.zip")
    found, needs = regrets((record for file in files for _, record in find_records(file)), world)
    names = set.intersection(*(set(of) for of in found.values()))
    judged = {condition: verdicts({name: of[name] for name in names}) for condition, of in found.items()}
    first = {name: np.mean(list(found[BASE][name].values())) for name in names}
    rows = [
        {
            "needs": needs[name],
            "aligner": f"`{name}`",
            **{condition: cell(of[name], judged[condition].get(name)) for condition, of in found.items()},
        }
        for name in sorted(names, key=lambda name: (NEEDS.index(needs[name]), first[name]))
    ]
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)
