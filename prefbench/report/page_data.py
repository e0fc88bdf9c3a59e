"""The settings that the page's script draws, with their lines, cells, runs and responses, as JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench.boards.columns import RANKS
from prefbench.boards.names import config_hash
from prefbench.boards.rows import Row
from prefbench.record.near_reference import near_reference
from prefbench.record.schema import Record
from prefbench.report.figures import (
    MEASURES,
    Cell,
    Curve,
    FigureSetting,
    Line,
    ratio_label,
    training_curves,
)
from prefbench.report.page_matrix import matrix_of
from prefbench.report.page_reader import shelves
from prefbench.report.page_runs import run_of
from prefbench.report.styles import PALETTE
from prefbench.stats.covered import said_of_all
from prefbench.stats.runs import interval_of, mean_over_runs
from prefbench.text import one_line


@dataclass(frozen=True)
class RowsByCell:
    """The rows of a runs folder, found by a cell of a figure."""

    by_key: Mapping[tuple[str, str, str], Row]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> RowsByCell:
        """All of them."""
        return cls({_key(row): row for row in rows})

    def __getitem__(self, cell: Cell) -> Row:
        row = cell.row
        return self.by_key[row["task"], row["aligner"], row["config_hash"]]


def _key(row: Row) -> tuple[str, str, str]:
    record = row.first
    return f"{record.task}@{record.task_version}", record.aligner, config_hash(record.spec)


def setting_data(setting: FigureSetting, rows: RowsByCell, prompts: int) -> dict[str, Any]:
    """All that is drawn of one setting.

    Args:
        setting: one task, model and data.
        rows: the leaderboard's.
        prompts: how many prompts of each ratio and seed the reader has.
    """
    curves = training_curves(setting.cells)
    ratios = setting.ratios
    groups = _group_names(setting)
    return {
        "label": one_line(setting.label),
        "ratios": [{"value": ratio, "label": ratio_label(ratio)} for ratio in ratios],
        "first": setting.first_shown,
        "lines": [_line(line) for line in setting.lines],
        "groups": groups,
        "few": said_of_all(cell.row["n_seeds"] for cell in setting.cells if cell.interval("gap")),
        "cells": [
            _cell(cell, rows[cell], ratios, groups, curves.get(i, {})) for i, cell in enumerate(setting.cells)
        ],
        "matrix": [_matrix(setting, ratio, rows) for ratio in ratios],
        "reader": [shelves(setting, ratio, prompts) for ratio in ratios],
    }


def _group_names(setting: FigureSetting) -> list[str]:
    """Every group of a setting, as its records order them."""
    found = dict.fromkeys(
        group.name for cell in setting.cells for _, record in cell.runs.values() for group in record.groups
    )
    return [one_line(name) for name in found]


def _line(line: Line) -> dict[str, Any]:
    look = line.style
    return {
        "name": one_line(line.name),
        "needs": line.needs,
        "c": PALETTE.index(look.colour),
        "m": look.marker,
        "d": " ".join(f"{length:g}" for length in look.dash) or None,
    }


def _cell(
    cell: Cell, source: Row, ratios: Sequence[float], groups: Sequence[str], curves: Mapping[str, Curve]
) -> dict[str, Any]:
    row = cell.row
    return {
        "l": cell.line,
        "r": ratios.index(cell.ratio),
        "ok": cell.complete,
        "status": one_line(row["status"]),
        "rank": None if row["rank"] is None else [row[name] for name in RANKS],
        "role": row["role"],
        "seeds": row["n_seeds"],
        "prompts": row["n_prompts"],
        "mde": row["mde"],
        "worst": one_line(row["worst_group"] or ""),
        "kl": row["kl"],
        "near": near_reference(row["kl"]),
        "v": {name: cell.interval(name) for name in MEASURES},
        "groups": _groups([record for _, record in cell.runs.values()], source),
        "curves": {
            name: {
                "steps": curve.steps,
                "mean": rounded(curve.mean),
                "low": rounded(curve.low),
                "high": rounded(curve.high),
            }
            for name, curve in curves.items()
        },
        "runs": [run_of(folder, record, groups) for _, (folder, record) in sorted(cell.runs.items())],
    }


def _matrix(setting: FigureSetting, ratio: float, rows: RowsByCell) -> dict[str, Any] | None:
    lines = {id(rows[cell]): cell.line for cell in setting.cells if cell.ratio == ratio}
    chosen = [rows[cell] for cell in setting.cells if cell.ratio == ratio]
    return matrix_of(chosen, [lines[id(row)] for row in chosen])


def rounded(values: Iterable[float]) -> list[float]:
    """Four digits: more cannot be seen in a drawing, and they make most of the file."""
    return [float(f"{value:.4g}") for value in values]


def _groups(records: Sequence[Record], row: Row) -> list[dict[str, Any]]:
    """Each group over the seeds that ran."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for group in record.groups:
            found.setdefault(group.name, []).append(group)
    return [
        {
            "name": one_line(name),
            "unit": one_line(seeds[0].unit),
            "share": seeds[0].share,
            "minority": seeds[0].is_minority,
            "ci": _interval(row, name),
            "rate": _mean([one.win_rate for one in seeds]),
            "low": min(one.win_rate for one in seeds),
            "high": max(one.win_rate for one in seeds),
            "won": sum(one.wins for one in seeds),
            "tied": sum(one.ties for one in seeds),
            "lost": sum(one.losses for one in seeds),
            "utility": _mean([one.mean_utility for one in seeds]),
            "reference": _mean([one.reference_utility for one in seeds]),
            "accuracy": _mean([one.reward_accuracy for one in seeds]),
        }
        for name, seeds in found.items()
    ]


def _interval(row: Row, group: str) -> list[float] | None:
    """A group's win rate over seeds with its 95% interval; None where it cannot be averaged."""
    if not row.measurable or group not in [known.name for known in row.groups]:
        return None
    mean = mean_over_runs(row.metric_scores(f"group/{group}"))
    return rounded((mean.estimate, *interval_of(mean)))


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values; None if one is missing: nothing is averaged over."""
    known = [value for value in values if value is not None]
    return float(f"{math.fsum(known) / len(known):.6g}") if len(known) == len(values) else None
