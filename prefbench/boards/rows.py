"""Rows of a leaderboard: configurations over their seeds.

A board is what may be compared: one task@version with its options, model, data, minority ratio and
way of measuring. A row is one aligner with its options on a board, over seeds. Its figure is the mean over
seeds of what each run's own worst group won: what is deployed is one run, and a group that is sacrificed on
one seed gets nothing back from another.

A board's seeds are those that its sweep declared or, where none did, those that most of its rows have; a
seed or a group beyond them is left out and named. A row that lacks one of them, or the evidence for it, is
incomplete and takes no rank: an average over what happens to be there is no result. Nor does a row whose
seeds were made by different code, which is mixed. Rows of different numerics are not compared.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from prefbench.arrays import Floats
from prefbench.boards.columns import CROSS_FITTED
from prefbench.boards.declared import read_declared
from prefbench.boards.names import board_name, config_hash, joined, made_by, setting_key
from prefbench.errors import UserError
from prefbench.evaluate.win_rate import ScoredGroup, fairness_statistics
from prefbench.record.evidence import item_outcomes, prompted_outcomes, read_items, sorted_items
from prefbench.record.files import PROMPTED_FILE, find_records
from prefbench.record.schema import Record
from prefbench.seeds import rng
from prefbench.stats.worst import cross_fitted_worst, own_worst


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
    groups: tuple[ScoredGroup, ...] = ()
    seeds: list[SeedScores] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """Reasons why it is not complete, if it is not."""
    left_out: tuple[int, ...] = ()
    """Seeds that it has beyond the board's."""
    folders: dict[int, Path] = field(default_factory=dict)
    """Folders of the records, by seed."""

    @property
    def first(self) -> Record:
        """The record of the smallest seed."""
        return self.records[min(self.records)]

    @property
    def is_outside(self) -> bool:
        """True of a policy that no run trained."""
        return self.first.spec.get("outside") is not None

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
        return "; ".join(f"seeds {joined(seeds)} by {made_by(*key)}" for key, seeds in made.items())

    @property
    def numerics(self) -> int | None:
        """Numerics of all its records; None where they are of several, or from before it was counted."""
        found = {record.numerics for record in self.records.values()}
        return found.pop() if len(found) == 1 else None

    @property
    def measurable(self) -> bool:
        """True if every seed that ran can be averaged, though another may be missing."""
        return bool(self.seeds) and len(self.seeds) == len(self.records) and not self.mixture

    @property
    def means(self) -> Floats:
        """Win rate of each group, averaged over seeds, `[groups]`."""
        return np.asarray(np.mean([seed.scores.mean(axis=0) for seed in self.seeds], axis=0))

    def metric_scores(self, metric: str) -> list[Floats]:
        """Per seed, the prompts' scores whose mean is that run's figure, `[prompts]`.

        For the worst group it is the column of the group that is worst in that run.

        Args:
            metric: one of `METRICS`, `CROSS_FITTED`, or `group/NAME` for a group's own win rate.
        """
        if metric.startswith("group/"):
            column = [group.name for group in self.groups].index(metric.removeprefix("group/"))
            return [seed.scores[:, column] for seed in self.seeds]
        if metric == "worst_group_win_rate":
            return [own_worst(seed.scores) for seed in self.seeds]
        if metric == CROSS_FITTED:
            # By the run's seed alone, so that rows of one board are split alike.
            return [cross_fitted_worst(seed.scores, rng(seed.seed, "worst group")) for seed in self.seeds]
        if metric == "gap":
            return [own_worst(-seed.scores) * -1 - own_worst(seed.scores) for seed in self.seeds]
        statistic = fairness_statistics(self.groups)[metric]
        return [statistic(seed.scores) for seed in self.seeds]


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
        if record.split != "test":  # a run that tuned: it says nothing of test prompts
            continue
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
        if not _is_outside(seeds):
            seeds_of.setdefault(setting, []).append(frozenset(seeds))
        names = [tuple(sorted(g.name for g in record.groups)) for _, record in seeds.values()]
        groups_of.setdefault(setting, Counter()).update(filter(None, names))
    rows = []
    for key in sorted(found):
        # A policy from outside is one, however many seeds draw prompts for it: it has the seeds that it has.
        of_board = found[key] if _is_outside(found[key]) else (declared or {}).get(key[0])
        asked = of_board or common_seeds(seeds_of[key[0]])
        named = groups_of[key[0]]
        usual = max(named, key=lambda names: (named[names], len(names)), default=())
        rows.append(row_of(found[key], frozenset(asked), frozenset(usual)))
    return rows


def _is_outside(runs: Mapping[int, tuple[Path, Record]]) -> bool:
    return all(record.spec.get("outside") is not None for _, record in runs.values())


def common_seeds(rows: Sequence[frozenset[int]]) -> frozenset[int]:
    """The seeds of a board, given those of each of its rows: those that more than half of the rows have.

    So a run with a seed of its own adds none. A row with less than half as many seeds as the fullest is a
    quick look and has no say, so it takes none away. Where no seed is had by so many, all are the board's.
    """
    most = max(map(len, rows), default=0)
    voters = [seeds for seeds in rows if 2 * len(seeds) >= most]
    counts = Counter(seed for seeds in voters for seed in seeds)
    return frozenset(seed for seed, n in counts.items() if 2 * n > len(voters)) or frozenset(counts)


def row_of(runs: Mapping[int, tuple[Path, Record]], seeds: frozenset[int], groups: frozenset[str]) -> Row:
    """The row of one configuration's runs by seed, on a board that has these seeds and groups."""
    extra = sorted(runs.keys() - seeds)
    kept = {seed: run for seed, run in sorted(runs.items()) if seed in seeds} or dict(sorted(runs.items()))
    row = Row(
        {seed: record for seed, (_, record) in kept.items()},
        left_out=tuple(extra),
        folders={seed: folder for seed, (folder, _) in kept.items()},
    )
    if extra:
        name = f"{row.first.aligner} on {board_name(row.first)}"
        said = f"left out seed {joined(extra)}: the board has seeds {joined(sorted(seeds))}"
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
            more = joined(sorted(named - groups))
            warnings.warn(f"'{folder}': left out group {more}: the board has none", stacklevel=4)
        described = tuple(
            ScoredGroup(group.name, group.share, group.is_minority)
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
        raise UserError(f"its items cannot be evaluated ({type(error).__name__}): run it again.") from None
