"""The leaderboard: every configuration over its seeds, with intervals, and ranks that admit ties.

A board is what may be compared: one task@version with its options, model, data, minority ratio and
way of measuring. A row is one aligner with its options on a board, over seeds. Its worst group is the
one whose win rate, averaged over seeds, is lowest (the smallest of the means; averaging each seed's
own minimum would mix groups). Its intervals come from a bootstrap over seeds and then prompts.

A board's seeds are those that its sweep declared or, where none did, those that most of its rows have; a
seed or a group beyond them is left out and named. A row that lacks one of them, or the evidence for it, is
incomplete and takes no rank: an average over what happens to be there is no result. Nor does a row whose
seeds were made by different code, which is mixed. Rows of different numerics are not compared.
"""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from prefbench.errors import UserError
from prefbench.evaluate.win_rate import Group, fairness, fairness_statistics
from prefbench.files import CSV_BYTES, read_json, read_text
from prefbench.record.record import (
    PROMPTED_FILE,
    RECORD_FILE,
    Record,
    find_records,
    item_outcomes,
    near_reference,
    prompted_outcomes,
    read_items,
    read_record,
    sorted_items,
)
from prefbench.registry import Role, floors, placed, suggest
from prefbench.seeds import rng
from prefbench.spec import digest
from prefbench.stats import comparisons, intervals, power
from prefbench.stats.intervals import Floats, Interval
from prefbench.store.stages import write_atomically
from prefbench.text import one_line, visible

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import BaseModel

METRICS = (
    "worst_group_win_rate",
    "minority_win_rate",
    "majority_win_rate",
    "mean_win_rate",
    "gap",
)
_TEXT = ("task", "model", "data", "aligner", "variant", "needs", "status", "seeds", "worst_group")
_TEXT_LAST = ("config_hash", "version", "date")
_WHOLE = ("tie_rank", "n_seeds", "n_prompts", "numerics")
_NUMBERS = ("kl", "mean_length", "reference_length", "empty_rate", "mde")
REGRETS = ("max_regret", "egalitarian_regret", "pareto_distance")
"""Columns that only worlds with listed responses fill."""
PROMPTED = "prompted_worst_group_win_rate"
PROMPTED_COLUMNS = tuple(f"{PROMPTED}{end}" for end in ("", "_low", "_high"))
"""With each group's instruction in its test prompts; only tasks that have instructions fill them."""
LATER = (*REGRETS, *PROMPTED_COLUMNS, "numerics")
"""Columns added after the first boards were published; older files lack them."""
COLUMNS = (
    *("task", "model", "data", "minority_ratio", "aligner", "variant", "needs", "status", "tie_rank"),
    *("n_seeds", "seeds", "n_prompts", "worst_group"),
    *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")),
    *_NUMBERS,
    *_TEXT_LAST,
    *LATER,
)
"""Of the CSV, in order. `task` is task@version; `n_prompts` counts prompts over all seeds; `mde` is the
smallest difference that as many prompts per row would show, seeds apart; `config_hash` names the
specification without its seed; `date` is of the last run; `numerics` is empty for runs from before it was
counted and for rows that mix several. The regrets are means over seeds, in standard
deviations of utility, and empty where responses cannot be listed."""

DECIMALS = 6
"""Rates are rounded so that the CSV reads and diffs well; a run has nowhere near a million prompts."""
RANK_LEVEL = 0.05


@dataclass(frozen=True)
class SeedScores:
    """One seed's evidence, prompts ordered by id."""

    seed: int
    prompts: tuple[tuple[int, str], ...]
    """Id and text of each prompt: what makes two rows comparable prompt by prompt."""
    scores: Floats
    """`[prompts, groups]`, each prompt's mean outcome over samples, in 0..1."""
    prompted: Floats | None = None
    """The same with the groups' instructions in the prompt, for the groups that have one."""


@dataclass
class Row:
    """One configuration: its records by seed and, where they are whole, its scores."""

    records: dict[int, Record]
    groups: tuple[Group, ...] = ()
    seeds: list[SeedScores] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """Why it is not complete, if it is not."""
    left_out: tuple[int, ...] = ()
    """Seeds that it has beyond the board's."""

    @property
    def first(self) -> Record:
        """The record of the smallest seed."""
        return self.records[min(self.records)]

    @property
    def status(self) -> str:
        """`ok`, `diverged`, `mixed: how` or `incomplete: why`."""
        if any(record.status == "diverged" for record in self.records.values()):
            return "diverged"
        if self.mixture:
            return f"mixed: {self.mixture}"
        return f"incomplete: {'; '.join(self.trouble)}" if self.trouble else "ok"

    @property
    def mixture(self) -> str:
        """The codes that its seeds were made by, where they are not one; else empty."""
        made: dict[tuple[int | None, str | None], list[int]] = {}
        for seed, record in self.records.items():
            made.setdefault((record.numerics, record.code), []).append(seed)
        if len(made) < 2:
            return ""
        return "; ".join(f"seeds {_join(seeds)} by {made_by(*key)}" for key, seeds in made.items())

    @property
    def numerics(self) -> int | None:
        """Of all its records; None where they are of several, or from before it was counted."""
        found = {record.numerics for record in self.records.values()}
        return found.pop() if len(found) == 1 else None

    @property
    def measurable(self) -> bool:
        """Whether every seed that ran can be averaged, though another may be missing."""
        return bool(self.seeds) and len(self.seeds) == len(self.records) and not self.mixture

    @property
    def means(self) -> Floats:
        """Win rate of each group, averaged over seeds, `[groups]`."""
        return np.asarray(np.mean([seed.scores.mean(axis=0) for seed in self.seeds], axis=0))

    def metric_scores(self, metric: str) -> list[Floats]:
        """Per seed, the prompts' scores whose mean is the metric, `[prompts]`.

        For the worst group it is the column of the group that is worst in this row: the choice is
        taken as given, which is right unless two groups are about equally badly off.
        """
        if metric.startswith("group/"):
            column = [group.name for group in self.groups].index(metric.removeprefix("group/"))
            return [seed.scores[:, column] for seed in self.seeds]
        measures = fairness(self.means, self.groups)
        if metric == "worst_group_win_rate":
            return [seed.scores[:, measures.worst] for seed in self.seeds]
        statistic = fairness_statistics(self.groups)[metric]
        return [statistic(seed.scores) for seed in self.seeds]


def config_hash(spec: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that name a specification whatever its seed."""
    return digest({key: value for key, value in spec.items() if key != "seed"})[:12]


def made_by(numerics: int | None, code: str | None = None) -> str:
    """Numerics and code in words, None being from before they were kept."""
    counted = "a version before numerics" if numerics is None else f"numerics {numerics}"
    return counted if code is None else f"{counted}, code {code[:8]}"


def setting_digest(task: str, version: int, spec: Mapping[str, Any]) -> str:
    """Names what is asked for: a specification but for the aligner, its options and the seed."""
    asked = {k: v for k, v in spec.items() if k not in ("aligner", "aligner_options", "seed")}
    return digest([task, version, asked])[:16]


def setting_key(record: Record) -> str:
    """`setting_digest` of a record."""
    return setting_digest(record.task, record.task_version, record.spec)


def board_key(record: Record) -> str:
    """What a row may be compared within: what is asked for, and the numerics that answered."""
    return json.dumps([setting_key(record), record.numerics])


def variant(spec: Mapping[str, Any]) -> str:
    """The options that are not the defaults, as `aligner.beta=0.5, task.noise=2`; empty if none.

    Defaults come from the registry. The options of something that is not registered here (a plug-in
    that was not given) cannot be told from defaults, so its rows show the specification's hash.
    """
    changed = []
    for kind in ("task", "aligner", "model", "evaluate"):
        options = spec.get(f"{kind}_options") or {}
        if not options:
            continue
        known = _option_types(kind, str(spec.get(kind, "")))
        if known is None:
            return f"config {config_hash(spec)}"
        for name in sorted(options):
            field = known.model_fields.get(name)
            if field is None or options[name] != _plain(field.get_default(call_default_factory=True)):
                changed.append(f"{kind}.{name}={json.dumps(options[name])}")
    return ", ".join(changed)


def _option_types(kind: str, name: str) -> type[BaseModel] | None:
    from prefbench import registry, spec

    if kind == "evaluate":
        return spec.EvaluateOptions
    entries = {entry.name: entry for entry in registry.entries(cast(registry.Kind, kind))}
    if kind == "model" and name not in entries:
        name = "pretrained"  # a folder or a hub id
    return entries[name].options if name in entries else None


def _plain(value: Any) -> Any:
    """A default as it looks in a specification, after its trip through JSON."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, fallback=str)


# ------------------------------------------------------------------------------------ declared seeds

DECLARED = "boards"
"""In a runs folder: a JSON list of seeds for each board that a sweep declared, named by `setting_digest`."""


def declare_seeds(runs_dir: Path, seeds: Mapping[str, Collection[int]]) -> None:
    """Say which seeds boards of a runs folder have; what was said of other boards stays.

    Args:
        runs_dir: the folder.
        seeds: by `setting_digest`.
    """
    folder = runs_dir / DECLARED
    folder.mkdir(parents=True, exist_ok=True)
    for setting, given in seeds.items():
        write_atomically(folder / f"{setting}.json", json.dumps(sorted(given)) + "\n")


def read_declared(runs_dir: Path) -> dict[str, list[int]]:
    """Seeds of the boards of a runs folder by `setting_digest`; none where no sweep declared any.

    Raises:
        UserError: a file that says so is damaged.
    """
    return {path.stem: _seeds_in(path) for path in sorted((runs_dir / DECLARED).glob("*.json"))}


def _seeds_in(path: Path) -> list[int]:
    try:
        said = read_json(path, within=path.parent)
    except (OSError, ValueError):
        said = None
    if not isinstance(said, list) or not said or not all(type(seed) is int and seed >= 0 for seed in said):
        raise UserError(f"'{path}' is damaged: remove it and start the sweep again.")
    return said


# ------------------------------------------------------------------------------------------- rows


def load_rows(runs_dir: Path) -> list[Row]:
    """The rows of a runs folder, complete or not, ordered by board, aligner and configuration.

    Of two runs of one specification the later one counts, with a warning. Seeds that a sweep declared for the
    folder are its boards' seeds.

    Raises:
        UserError: if there is no folder or no record in it.
    """
    rows = rows_of(find_records(runs_dir), read_declared(Path(runs_dir)))
    if not rows:
        raise UserError(f"no record in '{runs_dir}': make one with `prefbench run --runs-dir {runs_dir}`.")
    return rows


def rows_of(
    runs: Iterable[tuple[Path, Record]], declared: Mapping[str, Collection[int]] | None = None
) -> list[Row]:
    """The rows that these runs make, as `load_rows` orders them.

    Args:
        runs: folders and their records.
        declared: seeds of boards by `setting_digest`, where they are known; else see `common_seeds`.
    """
    found: dict[tuple[str, str, str], dict[int, tuple[Path, Record]]] = {}
    for folder, record in runs:
        key = (setting_key(record), record.aligner, config_hash(record.spec))
        seeds = found.setdefault(key, {})
        known = seeds.get(record.seed)
        if known is not None:
            later = record.provenance.started >= known[1].provenance.started
            kept, dropped = (folder, known[0]) if later else (known[0], folder)
            warnings.warn(f"'{kept}' and '{dropped}' are the same run: only the first counts", stacklevel=3)
            if not later:
                continue
        seeds[record.seed] = (folder, record)

    seeds_of: dict[str, list[frozenset[int]]] = {}
    groups_of: dict[str, Counter[tuple[str, ...]]] = {}
    for (setting, _, _), seeds in found.items():
        seeds_of.setdefault(setting, []).append(frozenset(seeds))
        names = [tuple(sorted(g.name for g in record.groups)) for _, record in seeds.values()]
        groups_of.setdefault(setting, Counter()).update(filter(None, names))
    rows = []
    for key in sorted(found):
        asked = (declared or {}).get(key[0]) or common_seeds(seeds_of[key[0]])
        named = groups_of[key[0]]
        usual = max(named, key=lambda names: (named[names], len(names)), default=())
        rows.append(_row(found[key], frozenset(asked), frozenset(usual)))
    return rows


def common_seeds(rows: Sequence[frozenset[int]]) -> frozenset[int]:
    """The seeds of a board, given those of each of its rows: those that more than half of the rows have.

    So a run with a seed of its own adds none. A row with less than half as many seeds as the fullest is a
    quick look and has no say, so it takes none away. Where no seed is had by so many, all are the board's.
    """
    most = max(map(len, rows), default=0)
    voters = [seeds for seeds in rows if 2 * len(seeds) >= most]
    counts = Counter(seed for seeds in voters for seed in seeds)
    return frozenset(seed for seed, n in counts.items() if 2 * n > len(voters)) or frozenset(counts)


def _row(runs: Mapping[int, tuple[Path, Record]], seeds: frozenset[int], groups: frozenset[str]) -> Row:
    extra = sorted(runs.keys() - seeds)
    kept = {seed: run for seed, run in sorted(runs.items()) if seed in seeds} or dict(sorted(runs.items()))
    row = Row({seed: record for seed, (_, record) in kept.items()}, left_out=tuple(extra))
    if extra:
        name = f"{row.first.aligner} on {_board_name(row.first)}"
        said = f"left out seed {_join(extra)}: the board has seeds {_join(sorted(seeds))}"
        warnings.warn(f"{name}: {said}", stacklevel=4)
    missing = sorted(seeds - runs.keys())
    if missing:
        row.trouble.append(f"no seed {', '.join(map(str, missing))}")
    for seed, (folder, record) in kept.items():
        if record.status != "ok":
            row.trouble.append(f"seed {seed} {record.status}")
            continue
        named = {group.name for group in record.groups}
        if not groups <= named:
            row.trouble.append(f"seed {seed} lacks group {', '.join(sorted(groups - named))}")
            continue
        if groups < named:
            more = _join(sorted(named - groups))
            warnings.warn(f"'{folder}': left out group {more}: the board has none", stacklevel=4)
        described = tuple(
            Group(group.name, group.share, group.is_minority)
            for group in record.groups
            if group.name in groups
        )
        try:
            scores = _seed_scores(folder, record, [group.name for group in described])
        except UserError as error:
            warnings.warn(f"'{folder}': {error}", stacklevel=4)
            row.trouble.append(f"seed {seed} has no usable items")
            continue
        if row.groups and [g.name for g in row.groups] != [g.name for g in described]:
            order = [[g.name for g in described].index(group.name) for group in row.groups]
            scores = replace(scores, scores=scores.scores[:, order])
        else:
            row.groups = row.groups or described
        row.seeds.append(scores)
    return row


def _seed_scores(folder: Path, record: Record, groups: Sequence[str]) -> SeedScores:
    told = [group.name for group in record.groups if group.prompted is not None and group.name in groups]
    try:
        ordered, samples = sorted_items(read_items(folder), groups)
        one_each = ordered.iloc[::samples]
        prompts = tuple(zip(one_each["prompt_id"].tolist(), one_each["prompt"].tolist(), strict=True))
        prompted = prompted_outcomes(read_items(folder, PROMPTED_FILE), told).mean(axis=1) if told else None
        return SeedScores(record.seed, prompts, item_outcomes(ordered, groups).mean(axis=1), prompted)
    except UserError:
        raise
    except Exception as error:  # the runs may be a stranger's, and their tables odd in any way
        raise UserError(f"its items cannot be evaluated ({type(error).__name__}).") from None


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
    runs: dict[int, tuple[Path, Record]] = {}
    for folder in folders:
        record = read_record(folder)
        if record.seed in runs:
            raise UserError(f"'{folder}' and '{runs[record.seed][0]}' have the same seed: give one of them.")
        runs[record.seed] = (Path(folder), record)
    if not runs:
        raise UserError("no runs to summarise: name at least one run's folder.")
    if len({(setting_key(r), r.aligner, config_hash(r.spec)) for _, r in runs.values()}) > 1:
        raise UserError("the runs differ in more than their seed: summarise runs of one specification.")
    names = {group.name for _, record in runs.values() for group in record.groups}
    row = _row(runs, frozenset(runs), frozenset(names))
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


# ------------------------------------------------------------------------------------------ table


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
    return _frame([_cells(row, ranks.get(id(row))) for row in ordered])


def missing_controls(frame: pd.DataFrame) -> list[str]:
    """A sentence for each board that lacks a null or a gold row, the floor and the ceiling of every other.

    A null is an aligner that is declared a floor, gold is whatever needs the oracle; only complete rows
    count. Which of them to run is the one that is shown first.

    Args:
        frame: from `build` or `read_csv`.
    """
    said = []
    for board, rows in frame.groupby(["task", "model", "data", "minority_ratio"], sort=False):
        whole = rows[rows["status"] == "ok"]
        lacking = []
        if not whole["aligner"].isin(floors()).any():
            lacking.append(f"null row{_how('floor')}")
        if not any("oracle" in needs.split() for needs in whole["needs"]):
            lacking.append(f"gold row{_how('ceiling')}")
        if lacking:
            task, model, data, ratio = cast(tuple[str, str, str, float], board)
            said.append(f"{task} {model} {data} {ratio:g} has no complete {' and no '.join(lacking)}")
    return said


def _how(role: Role) -> str:
    """How to get a row of this role."""
    known = placed(role)
    return f" (run --aligner {known[0].name})" if known else ""


def _cell_key(row: Row) -> tuple[str, str, str, float]:
    first = row.first
    return (f"{first.task}@{first.task_version}", first.model, first.data, -first.minority_ratio)


def tie_ranks(rows: Sequence[Row]) -> list[tuple[Row, int]]:
    """Rank the complete rows of one board by worst-group win rate, with ties where noise allows one.

    The best row is compared with each of the others, prompt by prompt within seeds; the p values
    (two-sided, from `comparisons.mean_difference`) are corrected by Holm. It and all rows that it does
    not beat at 5% share its rank; the rest are ranked again the same way, after as many places. So a
    noisy row may share a rank that a slightly better but more certain one just misses.

    Returns:
        Rows with ranks, best first within a rank.
    """
    left = sorted(rows, key=lambda row: (-_worst(row), row.first.aligner, config_hash(row.first.spec)))
    result: list[tuple[Row, int]] = []
    while left:
        best, others = left[0], left[1:]
        adjusted = comparisons.holm([_p_value(best, other) for other in others])
        tied = [best, *(row for row, p in zip(others, adjusted, strict=True) if p >= RANK_LEVEL)]
        rank = len(result) + 1
        result += [(row, rank) for row in tied]
        left = [row for row, p in zip(others, adjusted, strict=True) if p < RANK_LEVEL]
    return result


def _worst(row: Row) -> float:
    return round(float(row.means.min()), 12)


def compare(
    first: Row, second: Row, metric: str, unbiased: bool = False
) -> tuple[comparisons.Difference, bool]:
    """First minus second on a metric, and whether it could be taken prompt by prompt.

    It can where both have the same seeds and, in each, the same prompts. Otherwise the two rows'
    variances are added.

    Args:
        first: whole, with scores for every seed.
        second: likewise.
        metric: one of `METRICS`, or `group/NAME` for a group's own win rate.
        unbiased: as in `comparisons.mean_difference`.
    """
    ours, theirs = first.metric_scores(metric), second.metric_scores(metric)
    same = [s.seed for s in first.seeds] == [s.seed for s in second.seeds] and all(
        a.prompts == b.prompts for a, b in zip(first.seeds, second.seeds, strict=True)
    )
    if same:
        differences = [a - b for a, b in zip(ours, theirs, strict=True)]
        return comparisons.mean_difference(differences, unbiased), True
    a, b = comparisons.mean_difference(ours, unbiased), comparisons.mean_difference(theirs, unbiased)
    se = float(np.hypot(a.se, b.se))
    df = se**4 / (a.se**4 / a.df + b.se**4 / b.df)
    return comparisons.Difference(a.estimate - b.estimate, se, df), False


def _p_value(best: Row, other: Row) -> float:
    difference, _ = compare(best, other, "worst_group_win_rate")
    tail = comparisons.t_upper_tail(abs(difference.estimate) / difference.se, difference.df)
    return min(1.0, 2 * tail)


def _measured(row: Row) -> dict[str, Any]:
    """The measured cells of a row; None where a seed that ran cannot be averaged."""
    names = [name for m in METRICS for name in (m, f"{m}_low", f"{m}_high")]
    cells: dict[str, Any] = dict.fromkeys(["n_prompts", "worst_group", *names, *_NUMBERS, *LATER])
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
        "seeds": _join(row.records),
        **_measured(row),
        "numerics": row.numerics,
        "config_hash": config_hash(first.spec),
        "version": _join(sorted({r.provenance.prefbench for r in row.records.values()})),
        "date": max(record.provenance.started for record in row.records.values())[:10],
    }


def _join(values: Iterable[object]) -> str:
    return " ".join(str(value) for value in values)


def _frame(cells: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A frame with the columns' types: text, whole numbers that may be missing, and numbers."""
    import pandas as pd

    frame = pd.DataFrame([dict(row) for row in cells], columns=list(COLUMNS))
    for name in COLUMNS:
        if name in (*_TEXT, *_TEXT_LAST):
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str).astype("str")
        elif name in _WHOLE:
            frame[name] = pd.to_numeric(frame[name]).astype("Int64")
        else:
            frame[name] = pd.to_numeric(frame[name]).astype("float64")
    return frame


# ---------------------------------------------------------------------------------------- compare


@dataclass(frozen=True)
class MeasureDifference:
    """One measure of two rows on the same prompts and seeds."""

    measure: str
    """`group/NAME` for a group's own win rate, else one of `METRICS`."""
    first: float
    second: float
    difference: float
    """First minus second, so a positive number favours the first."""
    low: float
    """Lower end of the difference's 95% interval."""
    high: float
    p_value: float
    """Two-sided, corrected by Holm over the measures that differ; measures that are the same count once."""
    wins: int
    """Prompts, over seeds, on which the first scored higher."""
    ties: int
    losses: int


@dataclass(frozen=True)
class Comparison:
    """Two rows of one board, prompt by prompt."""

    task: str
    """task@version."""
    model: str
    data: str
    minority_ratio: float
    first: str
    """The aligner, with its options where they are not the defaults."""
    second: str
    seeds: tuple[int, ...]
    """That both have; only these are compared."""
    n_prompts: int
    """Over seeds."""
    left_out: tuple[int, ...]
    """Seeds that only one of the two has."""
    measures: tuple[MeasureDifference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form."""
        return json.loads(json.dumps(asdict(self), allow_nan=False))  # type: ignore[no-any-return]


COMPARED = ("worst_group_win_rate", "minority_win_rate", "mean_win_rate")


def compare_aligners(
    first: str,
    second: str,
    runs_dir: Path = Path("runs"),
    task: str | None = None,
    minority_ratio: float | None = None,
) -> Comparison:
    """Compare two aligners, prompt by prompt and seed by seed, in every group and in what sums them up.

    The differences are judged as the gate's are, by a t test over seeds and prompts
    (`comparisons.mean_difference`, unbiased). The worst group is each side's own.

    Args:
        first: an aligner of the runs folder, a configuration's hash from the CSV, a run's folder, or a
            folder with several runs of one configuration.
        second: likewise.
        runs_dir: where names are looked up.
        task: take names from this task only; `name` or `name@version`.
        minority_ratio: take names at this share only.

    Raises:
        UserError: if a name fits nothing or too much, or the two are not of one board: another task
            version, ratio, model, option of the task or prompts.
    """
    ours = _side(first, Path(runs_dir), task, minority_ratio)
    theirs = _side(second, Path(runs_dir), task, minority_ratio)
    boards = {board_key(row.first) for row in ours} & {board_key(row.first) for row in theirs}
    if not boards:
        raise UserError(f"'{first}' and '{second}' {_why_apart(ours[0].first, theirs[0].first)}.")
    if len(boards) > 1:
        named = sorted(_board_name(row.first) for row in ours if board_key(row.first) in boards)
        raise UserError(
            f"'{first}' and '{second}' meet on {len(boards)} boards ({', '.join(named[:4])}"
            f"{', ...' if len(named) > 4 else ''}): choose one with --task or --minority-ratio."
        )
    a, b = (_only(side, boards, name) for side, name in ((ours, first), (theirs, second)))
    a, b, left_out = _aligned(a, b, first, second)
    return Comparison(
        task=f"{a.first.task}@{a.first.task_version}",
        model=a.first.model,
        data=a.first.data,
        minority_ratio=a.first.minority_ratio,
        first=_title(a),
        second=_title(b),
        seeds=tuple(seed.seed for seed in a.seeds),
        n_prompts=sum(len(seed.scores) for seed in a.seeds),
        left_out=left_out,
        measures=_differences(a, b),
    )


def _side(name: str, runs_dir: Path, task: str | None, ratio: float | None) -> list[Row]:
    """The rows that a name of `compare_aligners` may mean, each judged by its own seeds only."""
    for folder in (Path(name), runs_dir / name):
        if (folder / RECORD_FILE).is_file():
            return rows_of([(folder, read_record(folder))])
        if any(folder.glob(f"*/{RECORD_FILE}")):
            return load_rows(folder)
    runs = find_records(runs_dir)
    named = [(f, r) for f, r in runs if name in (r.aligner, config_hash(r.spec))]
    if not named:
        known = sorted({record.aligner for _, record in runs})
        raise UserError(f"no run of '{name}' in '{runs_dir}', nor a run's folder.{suggest(name, known)}")
    fitting = [
        (folder, record)
        for folder, record in named
        if (task is None or task in (record.task, f"{record.task}@{record.task_version}"))
        and (ratio is None or abs(record.minority_ratio - ratio) < 1e-9)
    ]
    if not fitting:
        boards = sorted({_board_name(record) for _, record in named})
        raise UserError(f"'{name}' was not run so in '{runs_dir}': its runs are on {', '.join(boards)}.")
    # Only this aligner's own seeds and groups say what is whole here, so each row is made by itself.
    kinds: dict[tuple[str, str], list[tuple[Path, Record]]] = {}
    for folder, record in fitting:
        kinds.setdefault((setting_key(record), config_hash(record.spec)), []).append((folder, record))
    return [row for runs in kinds.values() for row in rows_of(runs)]


def _board_name(record: Record) -> str:
    return f"{record.task}@{record.task_version} {record.model} {record.data} {record.minority_ratio:g}"


def _why_apart(ours: Record, theirs: Record) -> str:
    """The first thing in which two records' boards differ."""
    if ours.task == theirs.task and ours.task_version != theirs.task_version:
        return f"are of versions {ours.task_version} and {theirs.task_version} of {ours.task}: run one again"
    if setting_key(ours) == setting_key(theirs):
        made = " and ".join(made_by(record.numerics) for record in (ours, theirs))
        return f"are not comparable, they were made by {made}: run one again"
    for name in sorted({*ours.spec, *theirs.spec} - {"aligner", "aligner_options", "seed"}):
        a, b = ours.spec.get(name), theirs.spec.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            differing = sorted(key for key in {*a, *b} if a.get(key) != b.get(key))
            name = f"{name.removesuffix('_options')}.{differing[0]}" if differing else name
            a, b = (options.get(differing[0]) if differing else options for options in (a, b))
        if a != b:
            return f"are not comparable, {name} is {a!r} and {b!r}: name runs of one board"
    return "are not comparable: name runs of one board"


def _only(rows: list[Row], boards: set[str], name: str) -> Row:
    fitting = [row for row in rows if board_key(row.first) in boards]
    if len(fitting) > 1:
        listed = ", ".join(
            f"{config_hash(r.first.spec)} ({variant(r.first.spec) or 'defaults'})" for r in fitting
        )
        raise UserError(f"'{name}' was run with different options: say which by its hash, {listed}.")
    if not fitting[0].measurable:
        raise UserError(f"'{name}' cannot be compared, it is {fitting[0].status}: run it again.")
    return fitting[0]


def _aligned(a: Row, b: Row, first: str, second: str) -> tuple[Row, Row, tuple[int, ...]]:
    """Both rows with the seeds that both have, groups in one order, and the seeds left out."""
    names = [group.name for group in a.groups]
    others = [group.name for group in b.groups]
    if sorted(names) != sorted(others):
        raise UserError(
            f"'{first}' and '{second}' are not comparable, one has groups {', '.join(names)} "
            f"and the other {', '.join(others)}."
        )
    common = sorted(a.records.keys() & b.records.keys())
    if not common:
        raise UserError(f"'{first}' and '{second}' have no seed in common: run both with the same seeds.")
    order = [others.index(name) for name in names]
    ours = {seed.seed: seed for seed in a.seeds}
    theirs = {seed.seed: SeedScores(seed.seed, seed.prompts, seed.scores[:, order]) for seed in b.seeds}
    for seed in common:
        if ours[seed].prompts != theirs[seed].prompts:
            raise UserError(
                f"'{first}' and '{second}' are not comparable, their prompts differ at seed {seed}: "
                "one of them saw other data, run it again."
            )
    rows = [
        Row({seed: row.records[seed] for seed in common}, a.groups, [scores[seed] for seed in common])
        for row, scores in ((a, ours), (b, theirs))
    ]
    left_out = sorted(a.records.keys() ^ b.records.keys())
    return rows[0], rows[1], tuple(left_out)


def _differences(a: Row, b: Row) -> tuple[MeasureDifference, ...]:
    raw = []
    tests: dict[bytes, float] = {}
    for measure in (*(f"group/{group.name}" for group in a.groups), *COMPARED):
        ours, theirs = a.metric_scores(measure), b.metric_scores(measure)
        by_seed = [x - y for x, y in zip(ours, theirs, strict=True)]
        found = comparisons.mean_difference(by_seed, unbiased=True)
        every = np.concatenate(by_seed)
        tail = comparisons.t_upper_tail(abs(found.estimate) / found.se, found.df)
        # The minority is one of the groups and so may the worst one be: the same test is not paid for twice.
        same = every.tobytes()
        tests[same] = min(1.0, 2 * tail)
        means = [float(np.mean([values.mean() for values in side])) for side in (ours, theirs)]
        half = comparisons.t_quantile(0.975, found.df) * found.se
        counts = [int(count) for count in ((every > 0).sum(), (every == 0).sum(), (every < 0).sum())]
        raw.append((measure, means, found.estimate, half, same, counts))
    adjusted = dict(zip(tests, comparisons.holm(list(tests.values())).tolist(), strict=True))
    return tuple(
        MeasureDifference(
            measure=measure,
            first=means[0],
            second=means[1],
            difference=estimate,
            low=max(-1.0, estimate - half),
            high=min(1.0, estimate + half),
            p_value=adjusted[same],
            wins=counts[0],
            ties=counts[1],
            losses=counts[2],
        )
        for measure, means, estimate, half, same, counts in raw
    )


def _title(row: Row) -> str:
    options = variant(row.first.spec)
    return f"{row.first.aligner} ({options})" if options else row.first.aligner


def comparison_rows(comparison: Comparison) -> tuple[str, list[str], list[list[str]]]:
    """A comparison as title, header and cells of a table."""
    c = comparison
    title = (
        f"A {c.first}, B {c.second}: {c.task} {c.model} {c.data} {c.minority_ratio:g}, "
        f"seeds {_join(c.seeds)}, {c.n_prompts:,} prompts, p corrected by Holm"
    )
    header = ["win rate", "A", "B", "A - B", "95% interval", "p", "higher", "equal", "lower"]
    rows = [
        [
            m.measure.removeprefix("group/").removesuffix("_win_rate").replace("worst_group", "worst group"),
            f"{m.first:.3f}",
            f"{m.second:.3f}",
            f"{m.difference:+.3f}",
            f"[{m.low:+.3f}, {m.high:+.3f}]",
            f"{m.p_value:.2g}",
            f"{m.wins:,}",
            f"{m.ties:,}",
            f"{m.losses:,}",
        ]
        for m in c.measures
    ]
    return title, header, rows


# -------------------------------------------------------------------------------------------- CSV

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _guard(text: str) -> str:
    """Text that a spreadsheet shows rather than runs: an apostrophe before what starts a formula.

    An apostrophe before such a start is doubled, so that reading gives back what was written.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def _unguard(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text


def to_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV text, one line per row; numbers as they are, text guarded against formulas."""
    lines = [",".join(frame.columns)]
    missing = frame.isna().to_numpy()
    for i, row in enumerate(frame.itertuples(index=False, name=None)):
        cells = (
            ""
            if missing[i, j]
            else _quoted(_guard(value))
            if isinstance(value, str)
            else repr(_number(value))
            for j, value in enumerate(row)
        )
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """As a cell. The csv module would leave a lone carriage return bare, which starts a row when read."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text


def _number(value: Any) -> int | float:
    return int(value) if isinstance(value, int | np.integer) else float(value)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write the leaderboard so that a reader sees the old file or the whole new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_csv(frame))


def read_csv(path: Path) -> pd.DataFrame:
    """A leaderboard that `write_csv` wrote, with the same types.

    Raises:
        UserError: if it is missing, lacks a column, or has text where a number belongs.
    """
    path = Path(path)
    try:
        text = read_text(path, CSV_BYTES)
        rows = list(csv.reader(io.StringIO(text, newline="")))  # a carriage return in a cell stays one
    except FileNotFoundError:
        raise UserError(f"no leaderboard at '{path}': make one with `prefbench leaderboard build`.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"leaderboard '{path}' cannot be read ({error}): build it again.") from None
    header, body = (rows[0], rows[1:]) if rows else ([], [])
    lacking = [name for name in COLUMNS if name not in header and name not in LATER]
    if lacking:
        raise UserError(f"leaderboard '{path}' has no column '{lacking[0]}': build it again.")
    cells = []
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise UserError(f"leaderboard '{path}', row {number}: {len(row)} cells, not {len(header)}.")
        by_name = dict(zip(header, row, strict=True))
        cells.append({name: _parse(name, by_name.get(name, ""), path, number) for name in COLUMNS})
    return _frame(cells)


def _parse(name: str, text: str, path: Path, row: int) -> str | int | float | None:
    if name in (*_TEXT, *_TEXT_LAST):
        return _unguard(text)
    if not text and name != "minority_ratio":
        return None
    try:
        number = int(text) if name in _WHOLE else float(text)
    except ValueError:
        number = float("nan")
    if not (0 < number < 2**53 if name in _WHOLE else np.isfinite(number)):
        raise UserError(f"leaderboard '{path}', row {row}: {name} is {text[:20]!r}, not a number.")
    if name == "minority_ratio" and not 0 < number <= 0.5:
        raise UserError(f"leaderboard '{path}', row {row}: {name} is {text}, not in (0, 0.5].")
    if name in REGRETS and number < 0:
        raise UserError(f"leaderboard '{path}', row {row}: {name} is {text}, less than 0.")
    if name.removesuffix("_low").removesuffix("_high") in (*METRICS, PROMPTED) and not 0 <= number <= 1:
        raise UserError(f"leaderboard '{path}', row {row}: {name} is {text}, not a rate between 0 and 1.")
    return number


# ---------------------------------------------------------------------------------------- display

SHOWN = (
    *("rank", "task", "model", "data", "ratio", "aligner", "needs", "seeds"),
    *("worst group", "minority", "majority", "mean", "gap", "worst, told", "KL", "words", "status"),
)


_EXPENDABLE = ("words", "mean", "KL", "gap", "data", "model", "majority", "seeds", "worst, told", "minority")
"""Columns that a narrow terminal does without, first to go first. The worst group always stays."""
_WRAPPED = {"aligner": 32, "status": 32}
"""Columns whose cells may take several lines, and their widest word before it is broken."""


def show(frame: pd.DataFrame, fmt: Literal["rich", "markdown", "csv"] = "rich") -> str:
    """The leaderboard for a reader, as text that ends without a newline.

    Args:
        frame: from `build` or `read_csv`.
        fmt: `rich` for a terminal (coloured if standard output is one), `markdown` for a page, `csv` for
            all columns. Intervals look like `0.78 [0.74, 0.82]`.

    Raises:
        UserError: if the format is unknown.
    """
    if fmt == "csv":
        return visible(to_csv(frame).rstrip("\n"), keep="\n")
    if fmt not in ("rich", "markdown"):
        raise UserError(f"unknown format '{fmt}': choose rich, markdown or csv.")
    rows = [[visible(cell, keep="\n") for cell in _shown(row)] for row in frame.to_dict("records")]
    if fmt == "markdown":
        from tabulate import tabulate

        clean = [[one_line(cell).replace("|", "\\|") for cell in row] for row in rows]
        return tabulate(clean, headers=SHOWN, tablefmt="github", disable_numparse=True)

    return _rich_table(rows)


def _rich_table(rows: Sequence[Sequence[str]]) -> str:
    """The rows as a table that fits the terminal, columns left out rather than cells broken."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # What all rows agree on is said once, above, and leaves room for what differs.
    sayable = (*range(1, 5), SHOWN.index("status"))
    same = [i for i in sayable if len({row[i] for row in rows}) == 1]
    widths = {}
    for i, name in enumerate(SHOWN):
        cells = [name, *(row[i] for row in rows)]
        whole = [word for cell in cells for word in cell.split()] if name in _WRAPPED else cells
        if i not in same:
            widths[i] = max(map(cell_len, whole))
            if name in _WRAPPED:  # a long list of options must not push the results out
                widths[i] = min(widths[i], _WRAPPED[name])
    left_out = []
    for name in _EXPENDABLE:
        if sum(width + 2 for width in widths.values()) + 2 <= console.width:
            break
        if widths.pop(SHOWN.index(name), None) is not None:
            left_out.append(name)

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    if same:
        table.title = Text(", ".join(f"{SHOWN[i]} {rows[0][i]}" for i in same))
    if left_out:
        table.caption = Text(f"too narrow for {', '.join(left_out)}: see the markdown or csv format")
        table.caption_justify = "left"
    for i, width in widths.items():
        wrapped = SHOWN[i] in _WRAPPED
        table.add_column(SHOWN[i], min_width=width, no_wrap=not wrapped, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in widths))
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _shown(row: Mapping[Any, Any]) -> list[str]:
    import pandas as pd

    def number(name: str, digits: int) -> str:
        return "" if pd.isna(row[name]) else f"{row[name]:.{digits}f}"

    def interval(metric: str) -> str:
        if pd.isna(row[metric]):
            return ""
        return f"{number(metric, 2)} [{number(f'{metric}_low', 2)}, {number(f'{metric}_high', 2)}]"

    aligner = f"{row['aligner']} ({row['variant']})" if row["variant"] else str(row["aligner"])
    near = near_reference(row["kl"])
    if near is not None:
        aligner += f" [{near}]"
    worst = interval("worst_group_win_rate")
    return [
        "" if pd.isna(row["tie_rank"]) else str(row["tie_rank"]),
        str(row["task"]),
        str(row["model"]),
        str(row["data"]),
        f"{row['minority_ratio']:g}",
        aligner,
        str(row["needs"]),
        str(row["n_seeds"]),
        f"{worst} {row['worst_group']}" if worst else "",
        *(interval(metric) for metric in (*METRICS[1:], PROMPTED)),
        number("kl", 2),
        number("mean_length", 1),
        str(row["status"]),
    ]
