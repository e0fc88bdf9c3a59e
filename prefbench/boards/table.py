"""The leaderboard: every configuration over its seeds, with intervals and ranks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from prefbench.boards.beyond import beyond_cells
from prefbench.boards.columns import (
    CROSS_FITTED,
    DECIMALS,
    LATER,
    METRICS,
    NUMBERS,
    RANKS,
    REGRET_BOUNDS,
    REGRETS,
    typed_frame,
)
from prefbench.boards.estimates import egalitarian_regret, estimates, usual_worst, worst_seed
from prefbench.boards.names import board_key, config_hash, contest_of, joined, setting_key, tuning_of, variant
from prefbench.boards.outside import NOT_VERIFIED, outside_cell
from prefbench.boards.ranks import ranked, roles
from prefbench.boards.rows import Row, load_rows, row_of
from prefbench.errors import UserError
from prefbench.record.files import read_record
from prefbench.record.schema import Record
from prefbench.registry import Role, placed, role_of
from prefbench.stats import power
from prefbench.stats.rank_sets import Rank
from prefbench.stats.runs import interval_of, mean_over_runs, spread

if TYPE_CHECKING:
    import pandas as pd


def summarise_seeds(folders: Sequence[Path]) -> dict[str, Any]:
    """One specification over seeds: each metric's mean over runs and its 95% interval.

    Args:
        folders: of the runs, which differ in their seed only.

    Returns:
        `n_seeds`, `seeds`, `n_prompts` (over seeds), `status`, `worst_group`, `groups` (win rate by
        name, averaged over seeds), `group_intervals` (their 95% intervals), `kl` (averaged), for each
        metric its value, `_low` and `_high`, and the columns of the board that say more of the worst group:
        `worst_group_of_means`, `worst_seed`, the cross-fitted one and `mde`. The measured values are None
        unless every seed is whole.

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
        "group_intervals": _group_intervals(row) if row.measurable else {},
        "kl": cells["kl"],
        **{name: cells[name] for m in (*METRICS, CROSS_FITTED) for name in (m, f"{m}_low", f"{m}_high")},
        **{name: cells[name] for name in ("worst_group_of_means", "worst_seed", "mde")},
    }


def _group_intervals(row: Row) -> dict[str, tuple[float, float]]:
    means = {group.name: mean_over_runs(row.metric_scores(f"group/{group.name}")) for group in row.groups}
    return {name: interval_of(mean) for name, mean in means.items()}


def build(runs_dir: Path) -> pd.DataFrame:
    """The leaderboard of a runs folder: one row per configuration, over seeds, in `COLUMNS`.

    Rows are ordered by board, then by the figure that ranks, incomplete ones last; tuned rows are ranked
    among themselves, after the others. The same runs always give the same frame.

    Raises:
        UserError: if there is no folder or no record in it.
    """
    return frame_of(load_rows(runs_dir))


def frame_of(rows: Sequence[Row], rank_by: str | None = None) -> pd.DataFrame:
    """The leaderboard of rows that are loaded, ranked and ordered as `build` does.

    Args:
        rows: from `load_rows`.
        rank_by: the measure to rank by (`ranks.MAY_RANK`) in the place of the board's own.
    """
    ranks: dict[int, Rank | None] = {}
    boards: dict[str, list[Row]] = {}
    role = roles(rows)
    for row in rows:
        boards.setdefault(board_key(row.first), []).append(row)
    ordered: list[Row] = []
    for key in sorted(boards, key=lambda k: (_cell_key(boards[k][0]), k)):
        whole = [row for row in boards[key] if row.status == "ok"]
        for contest in sorted({contest_of(row.first) for row in whole}):
            found = ranked([row for row in whole if contest_of(row.first) == contest], role, rank_by)
            ranks |= {id(row): rank for row, rank in found}
            ordered += [row for row, _ in found]
        ordered += [row for row in boards[key] if row.status != "ok"]
    return typed_frame([_cells(row, ranks.get(id(row)), role[row.first.aligner]) for row in ordered])


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
    for name, (estimate, interval) in estimates(row).items():
        cells[name], cells[f"{name}_low"], cells[f"{name}_high"] = (
            round(value, DECIMALS) for value in (estimate, *interval)
        )
    for name in METRICS:
        between = spread(row.metric_scores(name))
        cells[f"{name}_sd"] = None if between is None else round(between, DECIMALS)
    cells["n_prompts"] = sum(len(seed.scores) for seed in row.seeds)
    cells["worst_group"] = usual_worst(row)
    cells["worst_group_of_means"] = round(float(row.means.min()), DECIMALS)
    cells["worst_seed"] = round(worst_seed(row), DECIMALS)
    for name in ("kl", "mean_length", "reference_length", "empty_rate"):
        values = [getattr(record, name) for record in row.records.values()]
        cells[name] = None if None in values else round(float(np.mean(values)), DECIMALS)
    for name in REGRETS:
        lost = [getattr(record.regret, name) for record in row.records.values() if record.regret]
        if len(lost) == len(row.records):
            cells[name] = round(float(np.mean(lost)), DECIMALS)
    regret = egalitarian_regret(row)
    if regret is not None and len(row.records) > 1:
        bounds = interval_of(regret, high=np.inf)
        cells |= zip(REGRET_BOUNDS, (round(bound, DECIMALS) for bound in bounds), strict=True)
    for name, value in beyond_cells(row.records.values()).items():
        cells[name] = None if value is None else round(value, DECIMALS)
    cells["mde"] = round(_detectable(row), DECIMALS)
    return cells


def _detectable(row: Row) -> float:
    """The smallest difference to another row of as many seeds and this spread; of one seed, over prompts."""
    between = spread(row.metric_scores("worst_group_win_rate"))
    if between is None:
        return power.minimum_detectable_effect(sum(len(seed.scores) for seed in row.seeds))
    return power.detectable_over_runs(between, len(row.seeds))


def _cells(row: Row, rank: Rank | None, role: str) -> dict[str, Any]:
    first = row.first
    return {
        "task": f"{first.task}@{first.task_version}",
        "model": first.model,
        "data": first.data,
        "minority_ratio": first.minority_ratio,
        "aligner": first.aligner,
        "variant": variant(first),
        "needs": NOT_VERIFIED if row.is_outside else " ".join(first.needs) or "nothing",
        "status": row.status,
        "n_seeds": len(row.records),
        "seeds": joined(row.records),
        **_measured(row),
        "role": role,
        **dict(zip(RANKS, rank or (None,) * len(RANKS), strict=True)),
        "numerics": row.numerics,
        "tuning": tuning_of(first),
        "sees": " ".join(first.sees),
        "outside": outside_cell(first),
        "config_hash": config_hash(first.spec),
        "version": joined(sorted({r.provenance.prefbench for r in row.records.values()})),
        "date": max(record.provenance.started for record in row.records.values())[:10],
    }
