"""The result of a search that is over: what was tried of each aligner, and the choice by every rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from prefbench import registry
from prefbench.evaluate.selection import RULES, Rule
from prefbench.identity import identity_of
from prefbench.numerics import NUMERICS
from prefbench.sweep.cell import stored_record
from prefbench.sweep.tune_file import TuneSpec
from prefbench.sweep.tuned import Spent, Tried, Tuned, TunedAligner
from prefbench.sweep.tuning import Candidate, Search
from prefbench.version import __version__


def result_of(tune: TuneSpec, searches: Sequence[Search], runs_dir: Path) -> Tuned:
    """The file of a search that is over."""
    first = searches[0].candidates[0].specs[0]
    return Tuned(
        prefbench=__version__,
        numerics=NUMERICS,
        task=first.task,
        task_version=registry.get("task", first.task).version,
        task_options=dict(first.task_options),
        model=first.model,
        model_options=dict(first.model_options),
        data=first.data,
        minority_ratio=first.minority_ratio,
        evaluate_options=dict(first.evaluate_options),
        configurations=tune.file.configurations,
        seeds=tune.file.seed,
        search_seed=tune.file.search_seed,
        aligners=tuple(_tuned(search, runs_dir) for search in searches),
    )


def _tuned(search: Search, runs_dir: Path) -> TunedAligner:
    chosen: dict[Rule, int] = {}
    for rule in RULES:
        best = search.ranked(rule)[:1]
        if best:
            chosen[rule] = best[0].index
    tried = tuple(_tried(candidate) for candidate in search.candidates)
    first = search.candidates[0].specs[0]
    return TunedAligner(
        name=search.entry.name,
        needs=tuple(sorted(search.entry.needs)),
        rule=search.rule,
        measure=_measure(search, runs_dir),
        code=identity_of(first).code,
        space={name: str(drawn) for name, drawn in search.space.items()},
        fixed=dict(search.fixed),
        tokens=_sum(each.tokens for each in tried),
        tried=tried,
        chosen=chosen,
    )


def _measure(search: Search, runs_dir: Path) -> Any:
    for candidate in search.candidates:
        for spec, trial in zip(candidate.specs, candidate.trials, strict=False):
            record = stored_record(spec, runs_dir) if trial.status == "ok" else None
            if record is not None and record.selection is not None:
                return record.selection.measure
    return None


def _tried(candidate: Candidate) -> Tried:
    good = candidate.ended_well and candidate.trials
    divergences = [trial.kl for trial in candidate.trials if trial.kl is not None]
    whole = good and len(divergences) == len(candidate.trials)
    spent = None
    if candidate.tokens is not None:
        times = len(candidate.trials)
        each = candidate.tokens
        spent = Spent(
            sampled=round(each.sampled * times),
            scored=round(each.scored * times),
            trained=round(each.trained * times),
        )
    return Tried(
        index=candidate.index,
        options=dict(candidate.options),
        trials=tuple(candidate.trials),
        scores={rule: candidate.score(rule) for rule in RULES} if good else None,
        kl=sum(divergences) / len(divergences) if whole else None,
        tokens=spent,
    )


def _sum(spent: Iterable[Spent | None]) -> Spent | None:
    each = list(spent)
    known = [one for one in each if one is not None]
    if len(known) < len(each):
        return None
    return Spent(
        sampled=sum(one.sampled for one in known),
        scored=sum(one.scored for one in known),
        trained=sum(one.trained for one in known),
    )
