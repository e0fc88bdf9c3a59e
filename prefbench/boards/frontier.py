"""The frontier of an aligner: its worst group against its divergence, as its strength goes.

A policy that drifts farther from the reference wins more and breaks more, so that aligners are compared at
equal KL. Runs that differ in nothing but the strength (`Options.strength`) make a curve for each seed: the
run's own worst group against its KL. A value at some KL is interpolated, linear in log KL, and only between
two runs that were measured on either side.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench import registry
from prefbench.boards.columns import DECIMALS
from prefbench.boards.names import board_key, contest_of, joined, tuning_of
from prefbench.boards.rows import Row
from prefbench.record.schema import Record
from prefbench.stats.runs import interval_of, mean_of_figures

if TYPE_CHECKING:
    import pandas as pd

NATS = (1.0, 2.0, 4.0, 8.0)
"""Divergences at which frontiers are read off, nats per response; areas go from the first to the last."""
Point = tuple[float, float]
"""KL in nats per response, and a worst group's win rate."""


@dataclass(frozen=True)
class Frontier:
    """The frontier of one aligner with its other options as they are, on one board."""

    record: Record
    """One of its runs, for what they have in common."""
    option: str
    """The option that is its strength."""
    strengths: tuple[float, ...]
    points: Mapping[int, tuple[Point, ...]]
    """By seed, a point for each strength, in their order."""

    def at(self, nats: float) -> list[float]:
        """Worst group's win rate at a divergence, one for each seed; empty unless every seed has it."""
        return _of_all(value_at(points, nats) for points in self.points.values())

    def areas(self) -> list[float]:
        """Mean worst group over log KL from 1 to 8 nats, one a seed; empty unless every seed has it."""
        return _of_all(mean_over(points, NATS[0], NATS[-1]) for points in self.points.values())

    def means(self) -> list[Point]:
        """KL and worst group of each strength, averaged over seeds; the smallest KL first."""
        each = np.array([[*points] for points in self.points.values()])
        return sorted((float(x), float(y)) for x, y in each.mean(axis=0))


def _of_all(values: Iterable[float | None]) -> list[float]:
    found = list(values)
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) else []


def value_at(points: Sequence[Point], nats: float) -> float | None:
    """A curve's value at a divergence, linear in log KL; None where it was not measured on both sides."""
    for (low, before), (high, after) in itertools.pairwise(sorted(points)):
        if 0 < low <= nats <= high:
            if low == high:
                return (before + after) / 2
            share = math.log(nats / low) / math.log(high / low)
            return before + share * (after - before)
    return None


def mean_over(points: Sequence[Point], first: float, last: float) -> float | None:
    """A curve's mean over log KL between two divergences, by trapezoids; None where either is not covered."""
    start, end = value_at(points, first), value_at(points, last)
    if start is None or end is None:
        return None
    inner = sorted((x, y) for x, y in points if first < x < last)
    x, y = zip((first, start), *inner, (last, end), strict=True)
    return float(np.trapezoid(y, np.log(x)) / math.log(last / first))


def frontiers_of(rows: Iterable[Row]) -> list[Frontier]:
    """The frontiers of rows, ordered by board and aligner; rows without a known KL make none.

    A row is left out where it is not whole, and a frontier where it has a single strength.
    """
    found: dict[tuple[Any, ...], list[tuple[float, Row]]] = {}
    for row in rows:
        record = row.first
        option = _strength_of(record.aligner)
        options = record.spec.get("aligner_options", {})
        if not isinstance(options.get(option), int | float) or row.status != "ok":
            continue  # also where the model's own strength was taken, which the record does not tell
        if any(_divergence(each) is None for each in row.records.values()):
            continue
        rest = json.dumps({k: v for k, v in options.items() if k != option}, sort_keys=True)
        key = (_board(record), board_key(record), record.aligner, contest_of(record), rest)
        found.setdefault(key, []).append((float(options[option]), row))
    return [_frontier(found[key]) for key in sorted(found) if len(found[key]) > 1]


def _divergence(record: Record) -> float | None:
    """KL from the reference in nats per response, the exact one where responses are listed."""
    return record.kl if record.regret is None else record.regret.kl


def _board(record: Record) -> tuple[str, str, str, float]:
    return (f"{record.task}@{record.task_version}", record.model, record.data, -record.minority_ratio)


def _strength_of(aligner: str) -> str | None:
    """The option of a registered aligner that is its strength."""
    entry = next((each for each in registry.entries("aligner") if each.name == aligner), None)
    return None if entry is None else getattr(entry.options, "strength", None)


def _frontier(runs: Sequence[tuple[float, Row]]) -> Frontier:
    """The frontier of rows that differ in their strength; of the seeds that all of them have."""
    runs = sorted(runs, key=lambda run: run[0])
    first = runs[0][1].first
    common = set.intersection(*(set(row.records) for _, row in runs))
    points = {}
    for seed in sorted(common):
        each = []
        for _, row in runs:
            scores = next(found.scores for found in row.seeds if found.seed == seed)
            divergence = _divergence(row.records[seed])
            assert divergence is not None
            each.append((divergence, float(scores.mean(axis=0).min())))
        points[seed] = tuple(each)
    option = _strength_of(first.aligner)
    assert option is not None
    return Frontier(first, option, tuple(strength for strength, _ in runs), points)


def frontier_frame(rows: Iterable[Row]) -> pd.DataFrame:
    """A row for each frontier: the worst group at each of `NATS` and its area, means over seeds.

    With t intervals over seeds (95%) where there are two or more; empty where a seed was not measured on both
    sides.
    """
    import pandas as pd

    named = {f"at_{nats:g}_nats": nats for nats in NATS}
    columns = [
        *("task", "model", "data", "minority_ratio", "aligner", "tuning", "option", "strengths", "seeds"),
        *("kl_least", "kl_most"),
        *(f"{name}{end}" for name in (*named, "area") for end in ("", "_low", "_high")),
    ]
    made = []
    for found in frontiers_of(rows):
        record = found.record
        divergences = [x for points in found.points.values() for x, _ in points]
        cells: dict[str, Any] = {
            "task": f"{record.task}@{record.task_version}",
            "model": record.model,
            "data": record.data,
            "minority_ratio": record.minority_ratio,
            "aligner": record.aligner,
            "tuning": tuning_of(record),
            "option": found.option,
            "strengths": joined(f"{strength:g}" for strength in found.strengths),
            "seeds": joined(found.points),
            "kl_least": round(min(divergences), DECIMALS),
            "kl_most": round(max(divergences), DECIMALS),
        }
        for name, nats in named.items():
            cells |= _interval(name, found.at(nats))
        made.append(cells | _interval("area", found.areas()))
    return pd.DataFrame(made, columns=columns)


def _interval(name: str, values: Sequence[float]) -> dict[str, float | None]:
    """Mean of values, one for each seed, and a 95% interval within [0, 1] where there are several."""
    if not values:
        return {}
    mean = mean_of_figures(values)
    cells: dict[str, float | None] = {name: round(mean.estimate, DECIMALS)}
    if len(values) > 1:
        for end, bound in zip(("low", "high"), interval_of(mean), strict=True):
            cells[f"{name}_{end}"] = round(bound, DECIMALS)
    return cells
