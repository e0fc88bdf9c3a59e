"""One run, stage by stage, from a specification to a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from threadpoolctl import threadpool_limits

from prefbench import registry
from prefbench.backbone.options import ModelRequest
from prefbench.backbone.outside.interface import Outside
from prefbench.consent import without_keys
from prefbench.errors import Diverged, Given, JudgeFailed, Made, UserError, without_exit
from prefbench.estimate.advice import check_memory
from prefbench.identity import Identity, identity_of
from prefbench.learn.interface import Backbone
from prefbench.numerics import NUMERICS
from prefbench.problem.people import refuse_lacking_people
from prefbench.problem.problem import Problem, without_test
from prefbench.problem.view import check_oracle, check_votes
from prefbench.record.evidence import write_items
from prefbench.record.files import (
    DISTRIBUTION_FILE,
    HELD_OUT_FILE,
    HISTORY_FILE,
    ITEMS_FILE,
    JUDGEMENTS_FILE,
    PEOPLE_FILE,
    POLICIES_FILE,
    PROMPTED_FILE,
    write_record,
)
from prefbench.record.schema import LATER_MEASURED, MEASURED, Record
from prefbench.running.labels import labels_of
from prefbench.running.measure import Found, measure
from prefbench.running.outside import brought
from prefbench.running.policy import AlignerFailed
from prefbench.running.provenance import provenance_of
from prefbench.spec import RunSpec, get_model, run_name
from prefbench.store.files import write_atomically
from prefbench.store.progress import Reporter
from prefbench.store.stages import Store
from prefbench.team import team


def _rounding_alike(function: Callable[Given, Made]) -> Callable[Given, Made]:
    """The function on one thread of linear algebra: how many share a sum decides how it is rounded."""
    limited: Callable[Given, Made] = threadpool_limits.wrap(limits=1, user_api="blas")(function)
    return limited


@without_exit
@_rounding_alike
def run(spec: RunSpec, runs_dir: Path, reporter: Reporter | None = None) -> tuple[Path, Record]:
    """Run a specification, continuing whatever of it is already stored.

    Args:
        spec: what to run; `prefbench.spec.make_spec` has checked it.
        runs_dir: where stages and records are kept.
        reporter: who is told how it goes.

    Returns:
        The run's folder and its record. A run that diverged or whose aligner failed has a record that
        says so. Of several processes (`prefbench.team`) all return it and the first writes it.

    Raises:
        UserError: the data or the model cannot be used. Nothing was written.
    """
    started = datetime.now(UTC)
    entry = registry.get("task", spec.task)
    identity = identity_of(spec)
    store = Store(runs_dir, reporter, identity)
    problem, backbone, outside = problem_and_model(spec, store)
    folder = runs_dir / run_name(spec)
    base = _base_fields(spec, problem, entry, identity, started)
    found: Found | None = None
    trace: str | None = None
    try:
        problem = _prepared(problem, backbone, store, spec.seed)
        found = measure(spec, problem, backbone, store, outside)
        base["stages"] = store.opened
        record = Record(status="ok", message=None, **base, **found.measured, timings=_timings(store))
    except (Diverged, AlignerFailed, JudgeFailed) as error:
        status: Literal["diverged", "failed"] = "diverged" if isinstance(error, Diverged) else "failed"
        record = Record(status=status, message=str(error), **base, **_unmeasured(), timings=_timings(store))
        trace = error.trace if isinstance(error, AlignerFailed) else None
    if team().rank == 0:
        _write(folder, record, found, trace)
    return folder, record


@without_exit
@_rounding_alike
def labelled_pairs(
    spec: RunSpec, runs_dir: Path, reporter: Reporter | None = None
) -> tuple[Problem, pd.DataFrame]:
    """The problem of a specification and its labelled pairs, from the stages that its run would share.

    Returns:
        The problem, and the rows of all splits as `prefbench.problem.labels.label_pairs` gives them.

    Raises:
        UserError: the data or the model cannot be used. Nothing was written.
    """
    store = Store(runs_dir, reporter, identity_of(spec))
    problem, backbone, _ = problem_and_model(spec, store)
    problem = _prepared(problem, backbone, store, spec.seed)
    return problem, labels_of(spec, problem, backbone, store).rows


def _write(folder: Path, record: Record, found: Found | None, trace: str | None) -> None:
    """A run's record with its evidence, or with the trace of what failed."""
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        tables = (ITEMS_FILE, PROMPTED_FILE, PEOPLE_FILE, POLICIES_FILE, HELD_OUT_FILE, DISTRIBUTION_FILE)
        for evidence in (*tables, JUDGEMENTS_FILE, HISTORY_FILE):
            (folder / evidence).unlink(missing_ok=True)
        if trace is not None:
            (folder / "error.txt").write_text(trace)
    else:
        write_items(found.items, folder)
        beside = {
            PROMPTED_FILE: found.prompted,
            PEOPLE_FILE: found.people,
            POLICIES_FILE: found.policies,
            HELD_OUT_FILE: found.held_out,
            DISTRIBUTION_FILE: found.distribution,
            JUDGEMENTS_FILE: found.judgements,
        }
        for evidence, table in beside.items():
            if table is not None:
                write_items(table, folder, evidence)
        if found.history is not None:
            write_atomically(folder / HISTORY_FILE, found.history)
        (folder / "error.txt").unlink(missing_ok=True)
    write_record(record, folder)


def problem_and_model(spec: RunSpec, store: Store) -> tuple[Problem, Backbone, Outside | None]:
    """The problem of a specification, the model with its reference policy, and what comes from outside.

    Raises:
        UserError: the data, the model or the policy from outside cannot be used.
    """
    task = registry.get("task", spec.task)
    options = without_keys(spec.task_options)
    problem: Problem = task.function(spec.data, spec.minority_ratio, spec.seed, **options)
    if spec.split == "validation":
        problem = without_test(problem)
    refuse_lacking_people(problem)
    missed = problem.ratio_missed(spec.minority_ratio)
    if missed is not None:
        store.reporter.note(missed)
    if problem.remarks:
        store.reporter.note("; ".join(problem.remarks))
    if "oracle" in registry.get("aligner", spec.aligner).needs:
        check_oracle(problem, spec.aligner)
    if "votes" in registry.get("aligner", spec.aligner).needs and problem.given is not None:
        check_votes(problem.given)
    model = get_model(spec.model)
    if team().size > 1 and model.backbone == "finite":
        raise UserError(f"model '{spec.model}' has nothing to share out: run it in one process.")
    outside = brought(spec, problem, store)  # bad input is told before a model is loaded
    # With FSDP the weights are in no one place, and the estimate knows only of one.
    note = None if team().sharded else check_memory(spec, problem)
    if note is not None:
        store.reporter.note(note)
    request = ModelRequest(spec.model, problem, store, spec.seed)
    return problem, model.function(request, model.options(**spec.model_options)), outside


def _prepared(problem: Problem, backbone: Backbone, store: Store, seed: int) -> Problem:
    """The problem with utilities that are ready: some are fitted on the model, some keep their verdicts."""
    ready = [
        replace(group, utility=group.utility.prepare(backbone, store.root, seed)) for group in problem.groups
    ]
    tastes = tuple(taste.prepare(backbone, store.root, seed) for taste in problem.tastes)
    return replace(problem, groups=tuple(ready), tastes=tastes)


def _base_fields(
    spec: RunSpec, problem: Problem, entry: registry.Entry, identity: Identity, started: datetime
) -> dict[str, Any]:
    return {
        "numerics": NUMERICS,
        "code": identity.code,
        "plugins": identity.plugins,
        "spec": spec.to_dict(),
        "spec_hash": spec.hash,
        "defaults": spec.defaults(),
        "task": spec.task,
        "task_version": entry.version,
        "aligner": spec.aligner,
        "needs": sorted(registry.get("aligner", spec.aligner).needs),
        "sees": sorted(registry.get("aligner", spec.aligner).sees),
        "model": spec.model,
        "data": spec.data,
        "minority_ratio": problem.ratio(spec.minority_ratio),
        "seed": spec.seed,
        "split": spec.split,
        "tuning": None if spec.tuning is None else dict(spec.tuning),
        "provenance": provenance_of(started),
    }


def _unmeasured() -> dict[str, Any]:
    nothing = dict.fromkeys((*MEASURED, *LATER_MEASURED, "em", "regret", "held_out"))
    return {**nothing, "groups": [], "task_report": {}}


def _timings(store: Store) -> dict[str, float]:
    return {name: round(seconds, 3) for name, seconds in store.timings.items()}
