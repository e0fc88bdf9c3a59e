"""Tables of docs/results.md on frontiers: what is reached at equal divergence, and whose lead that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from claims import marked

from prefbench.boards.frontier import NATS, Frontier
from prefbench.stats.runs import Mean, interval_of, mean_of_figures

AT = [f"at {nats:g} nats" for nats in NATS]
AREA = "mean, 1 to 8 nats"
COLUMNS = [*AT, AREA]
"""What is read off a frontier, in the order of `_readings`."""


def reached(frontiers: Sequence[Frontier]) -> str:
    """The worst group's win rate at equal divergence, means over seeds; an empty cell was not reached by all.

    Who has the most at any of these divergences comes first.
    """
    lines = []
    for found in sorted(frontiers, key=lambda each: -max(map(_mean, _readings(each)))):
        divergences = [kl for points in found.points.values() for kl, _ in points]
        lines.append(
            {
                "aligner": f"`{found.record.aligner}`",
                "needs": ", ".join(found.record.needs) or "nothing",
                "strength": f"`{found.option}`",
                "KL": f"{min(divergences):.1f} to {max(divergences):.1f}",
                **dict(zip(COLUMNS, map(_shown, _readings(found)), strict=True)),
            }
        )
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def leads(frontiers: Sequence[Frontier], first: str = "maxmin") -> str:
    """The worst group of one aligner less that of each other at equal divergence, seed by seed.

    Bold is surely more and in italics surely less, corrected by Holm over the whole table.
    """
    by_name = {each.record.aligner: each for each in frontiers}
    mine = by_name[first]
    found = {
        (name, column): mean
        for name, other in by_name.items()
        if name != first
        for column, mean in zip(COLUMNS, _differences(mine, other), strict=True)
        if mean is not None
    }
    shown = dict(zip(found, marked(list(found.values())), strict=True))
    names = sorted({name for name, _ in found}, key=lambda name: _largest(found, name))
    columns = [column for column in COLUMNS if any(each == column for _, each in found)]
    lines = [
        {f"`{first}` less": f"`{name}`", **{column: shown.get((name, column), "") for column in columns}}
        for name in names
    ]
    return pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True)


def _readings(found: Frontier) -> list[list[float]]:
    return [*(found.at(nats) for nats in NATS), found.areas()]


def _differences(mine: Frontier, other: Frontier) -> list[Mean | None]:
    """One for each reading; None where either was not measured on every seed."""
    assert list(mine.points) == list(other.points)
    return [
        mean_of_figures(list(np.subtract(ours, theirs))) if ours and theirs else None
        for ours, theirs in zip(_readings(mine), _readings(other), strict=True)
    ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _shown(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, high = interval_of(mean_of_figures(values))
    return f"{np.mean(values):.2f} [{low:.2f}, {high:.2f}]"


def _largest(found: dict[tuple[str, str], Mean], name: str) -> float:
    return max(mean.estimate for (other, _), mean in found.items() if other == name)
