"""Tuning: the same budget for every aligner, by random search with successive halving on dev seeds.

Each rung is a sweep of runs that are measured on validation prompts, a seed for each rung; the better half of
an aligner's configurations goes on to the next (Jamieson and Talwalkar 2016, arXiv 1502.07943). Equal random
search for all is DomainBed's rule (Gulrajani and Lopez-Paz 2021, arXiv 2007.01434). Whatever is stored is not
run again, so that the same command continues.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench import registry
from prefbench.errors import PrefbenchError
from prefbench.estimate.estimate import Tokens, aligner_tokens, problem_of
from prefbench.evaluate.selection import RULES, Rule, rule_of
from prefbench.running.judges import asked_of_judges
from prefbench.search import Distribution
from prefbench.spec import RunSpec, run_name
from prefbench.sweep.cell import Job, Outcome, stored_record
from prefbench.sweep.configurations import configurations, space_of
from prefbench.sweep.plan import Plan, make_plan
from prefbench.sweep.sweep import Engine, run_sweep
from prefbench.sweep.tune_file import TuneSpec
from prefbench.sweep.tuned import Attempt

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class Candidate:
    """One configuration while it is tried."""

    index: int
    options: Mapping[str, Any]
    specs: tuple[RunSpec, ...]
    """Runs of it, one on each dev seed."""
    tokens: Tokens | None
    """Cost of one run, at most; None where that is not known."""
    trials: list[Attempt]

    @property
    def ended_well(self) -> bool:
        """True if no trial of it diverged or failed so far."""
        return all(trial.status == "ok" for trial in self.trials)

    def score(self, rule: Rule) -> float:
        """Mean over its trials; minus infinity for one that did not end well."""
        found = [trial.scores[rule] for trial in self.trials if trial.scores is not None]
        return sum(found) / len(found) if found and self.ended_well else -math.inf


@dataclass
class Search:
    """The search for one aligner's options."""

    entry: registry.Entry
    space: Mapping[str, Distribution]
    fixed: Mapping[str, Any]
    candidates: list[Candidate]
    left: list[Candidate]
    """Configurations that are on the present rung."""
    answers: int
    """Answers of a run's policy to the people who judge it, each by a policy of her own; 0 if it sees nothing
    of them."""

    @property
    def rule(self) -> Rule:
        """The rule by which it is selected."""
        return rule_of(self.entry.needs)

    def ranked(self, rule: Rule) -> list[Candidate]:
        """Configurations on the rung that ended well, the best first; of equals the one drawn first."""
        good = [each for each in self.left if each.ended_well]
        return sorted(good, key=lambda each: (-each.score(rule), each.index))

    def halve(self) -> None:
        """Take the better half to the next rung, rounded up."""
        self.left = self.ranked(self.rule)[: -(-len(self.left) // 2)]


def begin(tune: TuneSpec) -> list[Search]:
    """The search for each aligner, its configurations drawn and nothing run.

    Raises:
        UserError: an option is refused, or the problem cannot be stated.
    """
    file = tune.file
    first = tune.spec(tune.aligners[0], {}, file.seed[0])
    problem = problem_of(first)
    judgements = len(asked_of_judges(first, problem).user)
    found = []
    for name in tune.aligners:
        entry = registry.get("aligner", name)
        fixed = tune.fixed("aligner", name)
        space = space_of(entry, tune.backbone, fixed)
        drawn = configurations(
            entry, space, fixed, first.model_options, file.configurations, file.search_seed
        )
        candidates = []
        for index, options in enumerate(drawn):
            specs = tuple(tune.spec(name, options, seed) for seed in file.seed)
            candidates.append(Candidate(index, options, specs, aligner_tokens(specs[0], problem), []))
        answers = judgements if entry.sees else 0
        found.append(Search(entry, space, fixed, candidates, candidates, answers))
    return found


def plan_of(specs: Sequence[RunSpec], runs_dir: Path) -> Plan:
    """The runs of a rung; one that diverged with today's code is done, since it would diverge again."""
    plan = make_plan(specs, runs_dir)
    over = {spec.hash for spec in plan.todo if _status(spec, runs_dir) == "diverged"}
    return replace(plan, done=plan.done | over)


def tune_all(
    searches: Sequence[Search],
    job: Job,
    engine: Engine,
    quiet: bool,
    console: Console,
    say: Callable[[str], None],
) -> None:
    """Run every rung, whatever becomes of single runs.

    Raises:
        PrefbenchError: something that every run would meet, such as a full disk.
        KeyboardInterrupt: it was interrupted or asked to end. What is stored stays.
    """
    rungs = len(searches[0].candidates[0].specs)
    for rung in range(rungs):
        on = [candidate for search in searches for candidate in search.left]
        specs = [candidate.specs[rung] for candidate in on]
        plan = plan_of(specs, job.runs_dir)
        say(
            f"rung {rung + 1} of {rungs}: {len(on)} configurations of {len(searches)} "
            f"aligner{'' if len(searches) == 1 else 's'} on seed {specs[0].seed if specs else 'none'}, "
            f"{len(plan.done)} run before"
        )
        result = run_sweep(plan, job, engine, quiet, console) if plan.todo else None
        failed = {} if result is None else {spec.hash: outcome for spec, outcome in result.failed}
        for candidate, spec in zip(on, specs, strict=True):
            candidate.trials.append(_trial(spec, job.runs_dir, failed.get(spec.hash)))
        if rung + 1 < rungs:
            for search in searches:
                search.halve()


def _status(spec: RunSpec, runs_dir: Path) -> str | None:
    record = stored_record(spec, runs_dir)
    return None if record is None else record.status


def _trial(spec: RunSpec, runs_dir: Path, outcome: Outcome | None) -> Attempt:
    """The fate of a run: its record if there is one, else what the worker said.

    Raises:
        PrefbenchError: it ended well, and its record is not of today's code.
    """
    record = stored_record(spec, runs_dir)
    if record is None and outcome is None:
        raise PrefbenchError(
            f"'{runs_dir / run_name(spec)}' is no record of this code: sources, a plug-in or data changed "
            "while it tuned; say the same command again."
        )
    if record is None or (outcome is not None and record.status == "ok"):
        message = outcome.message if outcome is not None and outcome.message else "it left no record"
        return Attempt(
            seed=spec.seed, status="failed", message=message, spec_hash=spec.hash, scores=None, kl=None
        )
    found = record.selection
    scores: dict[Rule, float] | None = None
    if found is not None:
        scores = {rule: float(getattr(found, rule)) for rule in RULES}
    return Attempt(
        seed=spec.seed,
        status=record.status,
        message=record.message,
        spec_hash=spec.hash,
        scores=scores,
        kl=record.kl,
    )
