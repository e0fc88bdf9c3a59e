"""Runs of aligners on a world under reports and under labels that nobody meant: a sweep, and what came of it.

The report of a group is an option of the task, so that data do not depend on who learns from them; the best
response to an aligner is found afterwards, among the runs (`evaluate/exaggeration.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench import registry
from prefbench.errors import UserError
from prefbench.evaluate.exaggeration import TRUTH, VALUE, reference_values, reporters_of
from prefbench.problem.problem import Problem, apportion
from prefbench.record.schema import Record
from prefbench.registry import Entry
from prefbench.spec import RunSpec, make_spec, refuse_misfit
from prefbench.sweep.cell import stored_record
from prefbench.sweep.grid import SweepSpec
from prefbench.sweep.plan import make_plan
from prefbench.sweep.sweep import failure_lines, make_job, run_sweep

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

FACTORS = (-1.0, 0.0, 0.5, 2.0, 5.0)
"""Factors of its own utility that a group may report, beside the utilities of the other groups."""
RELIABILITIES = (0.9, 0.8, 0.7)
"""Shares of labels that are meant, beside all of them."""
SOME = 0.05
"""Share of annotators who report where not the whole group does: one in twenty."""


@dataclass(frozen=True)
class Study:
    """Aligners on a world, and the reports and reliabilities that they are run under."""

    task: str
    aligners: tuple[str, ...]
    minority_ratio: float
    seeds: int
    sets: Mapping[str, Mapping[str, Any]]
    """Options by section; of aligners only those that an aligner has."""
    factors: tuple[float, ...] = FACTORS
    reliabilities: tuple[float, ...] = RELIABILITIES
    some: float = SOME

    def problem(self, seed: int = 0) -> Problem:
        """The world of a seed, everybody telling the truth."""
        options = self._spec(self.aligners[0], seed, {}).task_options
        made: Problem = registry.get("task", self.task).function(
            "synthetic", self.minority_ratio, seed, **options
        )
        return made

    def cells(self) -> Iterator[tuple[dict[str, Any], RunSpec]]:
        """Every run: what it is, as columns of `measured`, and its specification."""
        problem = self.problem()
        names = [group.name for group in problem.groups]
        members = apportion([group.share for group in problem.groups], problem.annotators)
        few = reporters_of(problem, self.some)
        for aligner in self.aligners:
            for seed in range(self.seeds):
                head = {"aligner": aligner, "seed": seed, "reliability": 1.0}
                honest = {"group": "", "annotators": "", "report": TRUTH}
                yield {**head, **honest}, self._spec(aligner, seed, {})
                for share in self.reliabilities:
                    spec = self._spec(aligner, seed, {"reliability": share})
                    yield {**head, **honest, "reliability": share}, spec
                for place, group in enumerate(names):
                    for count in dict.fromkeys((members[place], few[place])):
                        whole = count == members[place]
                        who = {"group": group, "annotators": "all" if whole else str(count)}
                        for report in self.reports(group, names):
                            told: dict[str, Any] = {"reporting": {group: report}}
                            told |= {} if whole else {"reporters": {group: count}}
                            spec = self._spec(aligner, seed, told)
                            yield {**head, **who, "report": str(report)}, spec

    def reports(self, group: str, names: Sequence[str]) -> list[float | str]:
        """Reports that a group may make beside the truth."""
        return [*self.factors, *(name for name in names if name != group)]

    def _spec(self, aligner: str, seed: int, told: Mapping[str, Any]) -> RunSpec:
        known = registry.get("aligner", aligner).options.model_fields
        given = {name: value for name, value in self.sets.get("aligner", {}).items() if name in known}
        sets = {**self.sets, "task": {**self.sets.get("task", {}), **told}, "aligner": given}
        return make_spec(
            task=self.task, aligner=aligner, minority_ratio=self.minority_ratio, seed=seed, sets=sets
        )


def study(
    task: str,
    aligners: Sequence[str] = (),
    *,
    minority_ratio: float = 0.2,
    seeds: int = 5,
    sets: Mapping[str, Mapping[str, Any]] | None = None,
    factors: tuple[float, ...] = FACTORS,
    reliabilities: tuple[float, ...] = RELIABILITIES,
) -> Study:
    """A study of these aligners, or of every learner that fits the world; the rest is as of `Study`.

    Raises:
        UserError: the task has no world that is drawn, an aligner learns from no labels or does not fit, or
            an option is of none.
    """
    sets = sets or {}
    entry = registry.get("task", task)
    if entry.backbone != "finite" or not entry.own_data:
        worlds = [e.name for e in registry.entries("task") if e.backbone == "finite" and e.own_data]
        raise UserError(f"task '{task}' is no world that is drawn: take one of {', '.join(worlds)}.")
    if seeds < 1:
        raise UserError(f"seeds '{seeds}' is not a whole number from 1 up: give one such as 5.")
    if taken := sets.get("task", {}).keys() & {"reporting", "reporters", "reliability"}:
        raise UserError(f"option task.{min(taken)} is what a study goes through: leave it out.")
    chosen = [registry.get("aligner", name) for name in aligners] or list(_learners(entry, sets))
    for each in chosen:
        if each.role is not None:
            raise UserError(f"aligner '{each.name}' is a {each.role}: no label moves it; leave it out.")
        refuse_misfit(entry, each, registry.get("model", "finite"), "finite", sets.get("task", {}))
    for name in sets.get("aligner", {}):
        if not any(name in each.options.model_fields for each in chosen):
            raise UserError(f"option aligner.{name}: none of these aligners has it: leave it out.")
    names = tuple(dict.fromkeys(each.name for each in chosen))
    made = Study(task, names, minority_ratio, seeds, sets, factors, reliabilities)
    for name in names:
        made._spec(name, 0, {})
    return made


def _learners(task: Entry, sets: Mapping[str, Mapping[str, Any]]) -> Iterator[Entry]:
    """Every learner that runs on the world with these options."""
    for entry in registry.entries("aligner"):
        try:
            refuse_misfit(task, entry, registry.get("model", "finite"), "finite", sets.get("task", {}))
        except UserError:
            continue
        if entry.role is None:
            yield entry


def measured(
    of: Study,
    runs_dir: Path,
    console: Console,
    *,
    workers: int | None = None,
    plugins: Sequence[str] = (),
    quiet: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """Run what is not run yet, and read what every group has of each policy.

    Args:
        of: what to run.
        runs_dir: where stages and records are kept; the same study continues there.
        console: where progress is shown.
        workers: runs at a time, at most; as many as fit if left out.
        plugins: files that aligners and the world come from.
        quiet: show nothing.

    Returns:
        A row for each run that ended well, as `evaluate.exaggeration` takes them, with the reference rows;
        and a line for each other run.
    """
    import pandas as pd

    cells = list(of.cells())
    specs = list({spec.hash: spec for _, spec in cells}.values())
    plan = make_plan(specs, runs_dir)
    sweep = SweepSpec("exaggeration", (), plugins=tuple(plugins))
    job = make_job(sweep, specs, runs_dir, engine="local", workers=workers, retries=2, address=None)
    result = run_sweep(plan, job, "local", quiet, console)
    rows = []
    for case, spec in cells:
        record = stored_record(spec, runs_dir)
        values = None if record is None else values_of(record)
        if values is not None:
            rows.append({**case, **{VALUE + name: value for name, value in values.items()}})
    for seed in range(of.seeds):
        problem = of.problem(seed)
        names = [group.name for group in problem.groups]
        said = reference_values(problem, [*of.factors, *names], of.some)
        rows += [{"seed": seed, "reliability": 1.0, **row} for row in said]
    return pd.DataFrame(rows), failure_lines(result)


def values_of(record: Record) -> dict[str, float] | None:
    """Each group's exact value of a policy; of one that is told who asks the mean of its annotators'.

    None where it is not known.
    """
    if record.sees and record.people is not None:
        exact = record.people.strata[0].exact
        return None if exact is None else {group.name: group.value for group in exact.groups}
    if record.regret is None:
        return None
    return {group.name: group.value for group in record.regret.groups}
