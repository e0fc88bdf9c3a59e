"""The leaderboard: every configuration over its seeds, with intervals and ranks.

Intervals come from a bootstrap over seeds and then prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from prefbench.boards.beyond import beyond_cells
from prefbench.boards.columns import DECIMALS, LATER, METRICS, NUMBERS, PROMPTED, REGRETS, typed_frame
from prefbench.boards.names import board_key, config_hash, joined, setting_key, variant
from prefbench.boards.ranks import tie_ranks
from prefbench.boards.rows import Row, load_rows, row_of
from prefbench.errors import UserError
from prefbench.evaluate.win_rate import fairness_statistics
from prefbench.record.files import read_record
from prefbench.record.schema import Record
from prefbench.registry import Role, placed, role_of
from prefbench.seeds import rng
from prefbench.stats import intervals, power
from prefbench.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd


def two_level_intervals(row: Row) -> dict[str, tuple[float, Interval]]:
    """Every metric of a row with its two-level interval; deterministic.

    All metrics share their resamples, which are drawn from the configuration's own hash.
    """
    draws = rng(int(config_hash(row.first.spec), 16), "leaderboard")
    replicates = intervals.resample_means([seed.scores for seed in row.seeds], draws)
    n_prompts = sum(len(seed.scores) for seed in row.seeds)
    result = {}
    for name, statistic in fairness_statistics(row.groups).items():
        estimate = float(statistic(row.means))
        interval = intervals.percentile_interval(statistic(replicates), estimate, n_prompts)
        result[name] = (estimate, interval)
    return result


def prompted_interval(row: Row) -> tuple[float, Interval] | None:
    """The worst group's win rate of policies that are told what is wanted; None unless every seed has it."""
    told = [seed.prompted for seed in row.seeds if seed.prompted is not None]
    if len(told) < len(row.seeds) or len({scores.shape[1] for scores in told}) > 1:
        return None
    draws = rng(int(config_hash(row.first.spec), 16), "leaderboard", "prompted")
    estimate = float(np.mean([scores.mean(axis=0) for scores in told], axis=0).min())
    replicates = intervals.resample_means(told, draws).min(axis=-1)
    return estimate, intervals.percentile_interval(replicates, estimate, sum(map(len, told)))


def summarise_seeds(folders: Sequence[Path]) -> dict[str, Any]:
    """One specification over seeds: each metric's mean and two-level 95% interval.

    Args:
        folders: of the runs, which differ in their seed only.

    Returns:
        `n_seeds`, `seeds`, `n_prompts` (over seeds), `status`, `worst_group`, `groups` (win rate by
        name, averaged over seeds), `kl` (averaged), and for each metric its value, `_low` and `_high`. The
        measured values are None unless every seed is whole.

    Raises:
        UserError: if the runs are not of one specification, or none is given.
    """
    return summarise_runs([(Path(folder), read_record(folder)) for folder in folders])


def summarise_runs(found: Iterable[tuple[Path, Record]]) -> dict[str, Any]:
    """`summarise_seeds` of runs whose records are at hand: folders and records."""
    runs: dict[int, tuple[Path, Record]] = {}
    for folder, record in found:
        if record.seed in runs:
            raise UserError(f"'{folder}' and '{runs[record.seed][0]}' have the same seed: give one of them.")
        runs[record.seed] = (folder, record)
    if not runs:
        raise UserError("no runs to summarise: name at least one run's folder.")
    if len({(setting_key(r), r.aligner, config_hash(r.spec)) for _, r in runs.values()}) > 1:
        raise UserError("the runs differ in more than their seed: summarise runs of one specification.")
    names = {group.name for _, record in runs.values() for group in record.groups}
    row = row_of(runs, frozenset(runs), frozenset(names))
    cells = _measured(row)
    by_group = dict(zip([g.name for g in row.groups], row.means.tolist(), strict=True)) if row.seeds else {}
    return {
        "n_seeds": len(runs),
        "seeds": sorted(runs),
        "n_prompts": cells["n_prompts"],
        "status": row.status,
        "worst_group": cells["worst_group"],
        "groups": by_group if row.measurable else {},
        "kl": cells["kl"],
        **{name: cells[name] for m in METRICS for name in (m, f"{m}_low", f"{m}_high")},
    }


def build(runs_dir: Path) -> pd.DataFrame:
    """The leaderboard of a runs folder: one row per configuration, over seeds, in `COLUMNS`.

    Rows are ordered by board, then rank, then worst-group win rate, unranked ones last. The same runs
    always give the same frame.

    Raises:
        UserError: if there is no folder or no record in it.
    """
    return frame_of(load_rows(runs_dir))


def frame_of(rows: Sequence[Row]) -> pd.DataFrame:
    """The leaderboard of rows that are loaded, ranked and ordered as `build` does."""
    ranks: dict[int, int] = {}
    boards: dict[str, list[Row]] = {}
    for row in rows:
        boards.setdefault(board_key(row.first), []).append(row)
    ordered: list[Row] = []
    for key in sorted(boards, key=lambda k: (_cell_key(boards[k][0]), k)):
        ranked = tie_ranks([row for row in boards[key] if row.status == "ok"])
        ranks |= {id(row): rank for row, rank in ranked}
        ordered += [row for row, _ in ranked]
        ordered += [row for row in boards[key] if row.status != "ok"]
    return typed_frame([_cells(row, ranks.get(id(row))) for row in ordered])


CONTROLS: tuple[Role, ...] = ("floor", "ceiling")
"""Roles of the aligners that every board should have beside its learners."""
_CALLED: dict[Role, str] = {"floor": "floor", "ceiling": "row that was told the true utilities"}
"""Roles for a reader: what is told the truth is no ceiling unless it is exact."""


def missing_controls(frame: pd.DataFrame) -> list[str]:
    """A sentence for each board that lacks a floor or a row that was told the true utilities.

    An aligner is what it is declared to be; only complete rows count. The one to run is the one that is shown
    first.

    Args:
        frame: from `build` or `read_csv`.
    """
    said = []
    for board, rows in frame.groupby(["task", "model", "data", "minority_ratio"], sort=False):
        whole = rows[rows["status"] == "ok"]
        there = {
            role_of(name, needs.split()) for name, needs in zip(whole["aligner"], whole["needs"], strict=True)
        }
        lacking = [f"{_CALLED[role]}{_how(role)}" for role in CONTROLS if role not in there]
        if lacking:
            task, model, data, ratio = cast(tuple[str, str, str, float], board)
            said.append(f"{task} {model} {data} {ratio:g} has no complete {' and no '.join(lacking)}")
    return said


def _how(role: Role) -> str:
    """The command that makes a row of this role."""
    known = placed("aligner", role)
    return f" (run --aligner {known[0].name})" if known else ""


def _cell_key(row: Row) -> tuple[str, str, str, float]:
    first = row.first
    return (f"{first.task}@{first.task_version}", first.model, first.data, -first.minority_ratio)


def _measured(row: Row) -> dict[str, Any]:
    """The measured cells of a row; None where a seed that ran cannot be averaged."""
    names = [name for m in METRICS for name in (m, f"{m}_low", f"{m}_high")]
    cells: dict[str, Any] = dict.fromkeys(["n_prompts", "worst_group", *names, *NUMBERS, *LATER])
    if not row.measurable:
        return cells
    intervals = two_level_intervals(row)
    told = prompted_interval(row)
    if told is not None:
        intervals[PROMPTED] = told
    for name, (estimate, interval) in intervals.items():
        cells[name], cells[f"{name}_low"], cells[f"{name}_high"] = (
            round(value, DECIMALS) for value in (estimate, *interval)
        )
    cells["n_prompts"] = sum(len(seed.scores) for seed in row.seeds)
    cells["worst_group"] = row.groups[int(row.means.argmin())].name
    for name in ("kl", "mean_length", "reference_length", "empty_rate"):
        values = [getattr(record, name) for record in row.records.values()]
        cells[name] = None if None in values else round(float(np.mean(values)), DECIMALS)
    for name in REGRETS:
        lost = [getattr(record.regret, name) for record in row.records.values() if record.regret]
        if len(lost) == len(row.records):
            cells[name] = round(float(np.mean(lost)), DECIMALS)
    for name, value in beyond_cells(row.records.values()).items():
        cells[name] = None if value is None else round(value, DECIMALS)
    cells["mde"] = round(power.minimum_detectable_effect(cells["n_prompts"]), DECIMALS)
    return cells


def _cells(row: Row, rank: int | None) -> dict[str, Any]:
    first = row.first
    return {
        "task": f"{first.task}@{first.task_version}",
        "model": first.model,
        "data": first.data,
        "minority_ratio": first.minority_ratio,
        "aligner": first.aligner,
        "variant": variant(first.spec),
        "needs": " ".join(first.needs) or "nothing",
        "status": row.status,
        "tie_rank": rank,
        "n_seeds": len(row.records),
        "seeds": joined(row.records),
        **_measured(row),
        "numerics": row.numerics,
        "config_hash": config_hash(first.spec),
        "version": joined(sorted({r.provenance.prefbench for r in row.records.values()})),
        "date": max(record.provenance.started for record in row.records.values())[:10],
    }
