"""The frontier of an aligner: its worst group against its divergence, as its strength goes.

A policy that drifts farther from the reference wins more and breaks more, so that aligners are compared at
equal KL. Runs that differ in nothing but the strength (`Options.strength`) make a curve for each seed: the
run's own worst group against its KL. A value at some KL is interpolated, linear in log KL, and only between
two runs that were measured on either side. Along the curve stand what the learned rewards gained and what
the groups did, so that a policy that was optimised too much is seen.

Policies without training that go up a ladder (`Options.ladder`), as best-of-n does, make curves like these
for comparison. Where the divergence of such a policy is not known, its bound stands in its place.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prefbench import registry
from prefbench.boards.columns import DECIMALS
from prefbench.boards.names import board_key, board_name, contest_of, joined, tuning_of
from prefbench.boards.rows import Row
from prefbench.record.divergence import Source, divergence_of, options_of
from prefbench.record.schema import Record
from prefbench.stats.runs import interval_of, mean_of_figures

if TYPE_CHECKING:
    import pandas as pd

NATS = (1.0, 2.0, 4.0, 8.0)
"""Divergences at which frontiers are read off, nats per response; areas go from the first to the last."""
Point = tuple[float, float]
"""KL in nats per response, and a value there."""
Quantity = Literal["worst_group", "utility", "proxy"]
QUANTITIES: tuple[Quantity, ...] = ("worst_group", "utility", "proxy")
"""Figures along a frontier, as `Reached` has them."""


@dataclass(frozen=True)
class Reached:
    """The figures of one run on a frontier."""

    kl: float
    """Nats per response."""
    worst_group: float
    """The run's own worst group's win rate."""
    utility: float | None = None
    """Smallest gain of a group's true utility, in standard deviations over reference responses."""
    proxy: float | None = None
    """Smallest gain of a learned reward, in its standard deviations there; None where there is none."""


@dataclass(frozen=True)
class Frontier:
    """The frontier of one aligner with its other options as they are, on one board."""

    record: Record
    """One of its runs, for what they have in common."""
    option: str
    """The option that is its strength, or that its ladder goes up."""
    trained: bool
    """False of a ladder's curve, which others are compared with."""
    measure: Source
    """Source of its divergences: listed responses, sampled ones, or no more than a bound."""
    strengths: tuple[float, ...]
    reached: Mapping[int, tuple[Reached, ...]]
    """By seed, the figures at each strength, in their order."""

    @property
    def points(self) -> dict[int, tuple[Point, ...]]:
        """By seed, KL and worst group at each strength."""
        return {seed: tuple((each.kl, each.worst_group) for each in of) for seed, of in self.reached.items()}

    def at(self, nats: float) -> list[float]:
        """Worst group's win rate at a divergence, one for each seed; empty unless every seed has it."""
        return _of_all(value_at(points, nats) for points in self.points.values())

    def areas(self) -> list[float]:
        """Mean worst group over log KL from 1 to 8 nats, one a seed; empty unless every seed has it."""
        return _of_all(mean_over(points, NATS[0], NATS[-1]) for points in self.points.values())

    def along(self, quantity: Quantity) -> list[Point]:
        """KL and a quantity at each strength, averaged over seeds; empty unless every run has it."""
        each = [[(one.kl, getattr(one, quantity)) for one in of] for of in self.reached.values()]
        if any(y is None for of in each for _, y in of):
            return []
        return [(float(x), float(y)) for x, y in np.array(each, dtype=np.float64).mean(axis=0)]

    def means(self, quantity: Quantity = "worst_group") -> list[Point]:
        """The same, the smallest KL first."""
        return sorted(self.along(quantity))


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
        known = options_of(record.aligner)
        option = None if known is None else registry.axis_of(known)
        options = record.spec.get("aligner_options", {})
        if not isinstance(options.get(option), int | float) or row.status != "ok":
            continue  # also where the model's own strength was taken, which the record does not tell
        if any(divergence_of(each) is None for each in row.records.values()):
            continue
        rest = json.dumps({k: v for k, v in options.items() if k != option}, sort_keys=True)
        key = (_board(record), board_key(record), record.aligner, contest_of(record), rest)
        found.setdefault(key, []).append((float(options[option]), row))
    return [_frontier(found[key]) for key in sorted(found) if len(found[key]) > 1]


def not_drawn(frontiers: Sequence[Frontier]) -> dict[str, list[str]]:
    """By board, the aligners with a ladder that could stand on it and have no curve there."""
    missing: dict[str, list[str]] = {}
    for board, found in by_board(frontiers).items():
        record = found[0].record
        task = next((each for each in registry.entries("task") if each.name == record.task), None)
        there = {each.record.aligner for each in found}
        for entry in registry.entries("aligner"):
            laddered = getattr(entry.options, "ladder", None) is not None and entry.name not in there
            if laddered and task is not None and task.backbone in entry.backbones:
                if entry.needs <= task.provides:
                    missing.setdefault(board, []).append(entry.name)
    return missing


def by_board(
    frontiers: Iterable[Frontier], aligners: Collection[str] | None = None
) -> dict[str, list[Frontier]]:
    """Frontiers by the name of their board: those of all aligners or of these, and then what is not trained.

    A board on which there is none of these is left out.
    """
    boards: dict[str, list[Frontier]] = {}
    for found in frontiers:
        boards.setdefault(board_name(found.record), []).append(found)
    if not aligners:
        return boards
    return {
        board: [each for each in found if each.record.aligner in aligners or not each.trained]
        for board, found in boards.items()
        if any(each.record.aligner in aligners for each in found)
    }


def _board(record: Record) -> tuple[str, str, str, float]:
    return (f"{record.task}@{record.task_version}", record.model, record.data, -record.minority_ratio)


def _frontier(runs: Sequence[tuple[float, Row]]) -> Frontier:
    """The frontier of rows that differ in their strength; of the seeds that all of them have."""
    runs = sorted(runs, key=lambda run: run[0])
    first = runs[0][1].first
    common = set.intersection(*(set(row.records) for _, row in runs))
    reached = {seed: tuple(_reached(row, seed) for _, row in runs) for seed in sorted(common)}
    known = options_of(first.aligner)
    option = None if known is None else registry.axis_of(known)
    divergence = divergence_of(first)
    assert option is not None and divergence is not None
    return Frontier(
        first,
        option,
        getattr(known, "ladder", None) is None,
        divergence[1],
        tuple(strength for strength, _ in runs),
        reached,
    )


def _reached(row: Row, seed: int) -> Reached:
    record = row.records[seed]
    scores = next(found.scores for found in row.seeds if found.seed == seed)
    divergence = divergence_of(record)
    assert divergence is not None
    proxy = None if record.proxy is None else record.proxy.gain
    return Reached(divergence[0], float(scores.mean(axis=0).min()), record.utility_gain, proxy)


_NAMED = ("task", "model", "data", "minority_ratio", "aligner", "tuning", "option")
"""Columns that say which frontier it is."""


def _named(found: Frontier) -> dict[str, Any]:
    """The cells of `_NAMED`."""
    record = found.record
    return {
        "task": f"{record.task}@{record.task_version}",
        "model": record.model,
        "data": record.data,
        "minority_ratio": record.minority_ratio,
        "aligner": record.aligner,
        "tuning": tuning_of(record),
        "option": found.option,
    }


def points_frame(frontiers: Iterable[Frontier]) -> pd.DataFrame:
    """A row for each strength of each frontier: what was reached there, means over seeds.

    `utility` and `proxy` are empty unless every run of the frontier has them.
    """
    import pandas as pd

    made = []
    for found in frontiers:
        curves = {name: [y for _, y in found.along(name)] for name in QUANTITIES}
        for index, (strength, (kl, _)) in enumerate(
            zip(found.strengths, found.along("worst_group"), strict=True)
        ):
            cells = _named(found) | {"strength": strength, "kl": round(kl, DECIMALS)}
            reached = {name: round(values[index], DECIMALS) for name, values in curves.items() if values}
            made.append(cells | {"seeds": joined(found.reached)} | reached)
    return pd.DataFrame(made, columns=[*_NAMED, "strength", "seeds", "kl", *QUANTITIES])


def frontier_frame(frontiers: Iterable[Frontier]) -> pd.DataFrame:
    """A row for each frontier: the worst group at each of `NATS` and its area, means over seeds.

    With t intervals over seeds (95%) where there are two or more; empty where a seed was not measured on both
    sides.
    """
    import pandas as pd

    named = {f"at_{nats:g}_nats": nats for nats in NATS}
    columns = [
        *_NAMED,
        *("strengths", "seeds", "divergence", "kl_least", "kl_most"),
        *(f"{name}{end}" for name in (*named, "area") for end in ("", "_low", "_high")),
    ]
    made = []
    for found in frontiers:
        divergences = [x for points in found.points.values() for x, _ in points]
        cells = _named(found) | {
            "strengths": joined(f"{strength:g}" for strength in found.strengths),
            "seeds": joined(found.points),
            "divergence": found.measure,
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
