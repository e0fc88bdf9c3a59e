"""Running the cells of a sweep, whatever becomes of some of them, and what became of each."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from prefbench import consent, machine, registry
from prefbench.backbone.options import ModelOptions
from prefbench.boards.declared import declare_seeds
from prefbench.boards.names import setting_digest
from prefbench.errors import UserError
from prefbench.estimate.setting import threads_said
from prefbench.problem.problem import apportion
from prefbench.spec import RunSpec, get_model, run_name
from prefbench.store.stages import Store
from prefbench.sweep.cell import Job, Outcome, told_again
from prefbench.sweep.grid import SweepSpec
from prefbench.sweep.labels import labels_of
from prefbench.sweep.local import run_local
from prefbench.sweep.plan import Plan
from prefbench.sweep.progress import progress
from prefbench.sweep.ray_cluster import import_ray, run_ray
from prefbench.sweep.schedule import Schedule
from prefbench.tracking.trackers import tracker_of

if TYPE_CHECKING:
    from rich.console import Console

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Result:
    """The outcome of a sweep."""

    cells: int
    done: int
    """Cells that ended well in this sweep."""
    before: int
    """Cells that were done when it began, or that another sweep did in the meantime."""
    failed: tuple[tuple[RunSpec, Outcome], ...]
    seconds: float
    times: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each cell that ran, by the specification's hash."""
    untracked: tuple[str, ...] = ()
    """Reasons why the tracker was given up, one for each cell that it does not have, or not wholly."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Names of the cells for a reader, by the specification's hash."""


def make_job(
    sweep: SweepSpec,
    specs: Sequence[RunSpec],
    runs_dir: Path,
    *,
    engine: Engine,
    workers: int | None,
    retries: int,
    address: str | None,
    track: str | None = None,
) -> Job:
    """The way the cells are run: how many at a time, with how many threads.

    Raises:
        UserError: the engine or the tracker is not installed, or the engine does not have such an option.
    """
    if track is not None:
        tracker_of(track)  # what is missing is told before anything starts
    if engine == "local" and address is not None:
        raise UserError("--address is of a Ray cluster: say --engine ray as well.")
    if engine == "ray":
        import_ray(address)
    here, stored = machine.cores(), machine.stored()
    asked = {threads_said(spec) for spec in specs}

    def found() -> int:
        return machine.threads_that_pay(here) if stored is None else stored.recommended.sweep_threads_large

    threads = max(found() if number is None else number for number in asked)
    fitting = usual = max(1, here // threads)
    if stored is not None and any(_is_language_model(spec) for spec in specs):
        usual = min(fitting, stored.recommended.workers_small)  # as many as the memory holds
    if engine == "local":
        workers = min(workers or usual, fitting)
    return Job(
        runs_dir=runs_dir.expanduser().absolute(),
        plugins=tuple(str(Path(file).absolute()) for file in sweep.plugins),
        hosts=consent.allowed(),
        workers=workers or 0,
        threads=min(threads, here),
        retries=retries,
        address=address,
        cpus=sweep.cpus,
        gpus=sweep.gpus,
        track=track,
    )


def _is_language_model(spec: RunSpec) -> bool:
    return issubclass(get_model(spec.model).options, ModelOptions)


def check_data(specs: Sequence[RunSpec], runs_dir: Path) -> None:
    """Make one problem of each kind, and look at the runs folder, before anything is started or written.

    Raises:
        UserError: the data cannot be read, the ratio cannot be met, or the folder cannot be written.
    """
    Store(runs_dir)
    kinds: dict[str, RunSpec] = {}
    for spec in sorted(specs, key=lambda spec: spec.minority_ratio):  # the smallest is the hardest to meet
        kinds.setdefault(repr((spec.task, spec.data, dict(spec.task_options))), spec)
    for spec in kinds.values():
        function = registry.get("task", spec.task).function
        problem = function(spec.data, spec.minority_ratio, spec.seed, **spec.task_options)
        apportion([group.share for group in problem.groups], problem.annotators)


def run_sweep(plan: Plan, job: Job, engine: Engine, quiet: bool, console: Console) -> Result:
    """Run the cells of a plan that are not done, until each of them ended or failed.

    Raises:
        PrefbenchError: something that every cell would meet, such as a full disk.
        KeyboardInterrupt: it was interrupted or asked to end. What is stored stays.
    """
    started = time.monotonic()
    declare_seeds(job.runs_dir, _seeds_of_boards(plan.specs))
    schedule = Schedule(plan.todo, job.retries)
    names = labels_of(plan.specs)
    with (
        progress(names, len(plan.done), quiet, console) as shown,
        _ended_like_interrupted(),
    ):
        if engine == "ray":
            run_ray(schedule, job, shown)
        else:
            run_local(schedule, job, shown)
    ended = [(spec, schedule.outcomes[spec.hash]) for spec in plan.todo]
    before = _told_of_done(plan, job)
    statuses = Counter(outcome.status for _, outcome in ended)
    return Result(
        cells=len(plan.specs),
        done=statuses["ok"],
        before=len(plan.done) + statuses["before"],
        failed=tuple((spec, out) for spec, out in ended if out.status not in ("ok", "before")),
        seconds=round(time.monotonic() - started, 3),
        times={spec.hash: out.seconds for spec, out in ended if out.status == "ok"},
        untracked=(*before, *(out.untracked for _, out in ended if out.untracked is not None)),
        names=names,
    )


def _told_of_done(plan: Plan, job: Job) -> list[str]:
    """Reasons why the tracker lacks cells that were done before; after a first one it is asked no more."""
    done = [spec for spec in plan.specs if spec.hash in plan.done]
    for number, spec in enumerate(done):
        if lost := told_again(spec, job.runs_dir, job.track):
            return lost * (len(done) - number)
    return []


def _seeds_of_boards(specs: Sequence[RunSpec]) -> dict[str, set[int]]:
    """The seeds of each board that the cells are on, as the leaderboard keeps them."""
    seeds: dict[str, set[int]] = {}
    for spec in specs:
        if spec.split != "test":  # runs that tune are on no board
            continue
        version = registry.get("task", spec.task).version
        seeds.setdefault(setting_digest(spec.task, version, spec.to_dict()), set()).add(spec.seed)
    return seeds


@contextlib.contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """SIGTERM, which a cluster sends before it kills, stops a sweep as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def to_json(plan: Plan, runs_dir: Path, result: Result | None = None) -> dict[str, Any]:
    """A plan, and what became of it, as JSON values."""
    failed = {} if result is None else {spec.hash: outcome for spec, outcome in result.failed}

    def status(spec: RunSpec) -> str:
        if spec.hash in failed:
            return failed[spec.hash].status
        return "ok" if result is not None or spec.hash in plan.done else "to run"

    cells = [
        {
            **spec.to_dict(),
            "spec_hash": spec.hash,
            "folder": str(runs_dir / run_name(spec)),
            "status": status(spec),
            "message": failed[spec.hash].message if spec.hash in failed else None,
            "seconds": None if result is None else result.times.get(spec.hash),
        }
        for spec in plan.specs
    ]
    summary: dict[str, Any] = {"runs_dir": str(runs_dir), "n_cells": len(cells)}
    if result is None:
        summary |= {"done": len(plan.done), "to_run": len(plan.todo), "stages": dict(plan.shared)}
        summary |= {"estimated_seconds": plan.seconds, "untimed": list(plan.untimed)}
        summary |= {"seconds_elsewhere": plan.borrowed, "timed_elsewhere": list(plan.elsewhere)}
    else:
        summary |= {"done": result.done, "done_before": result.before, "failed": len(result.failed)}
        summary |= {"seconds": result.seconds}
    return {**summary, "cells": cells}


def failure_lines(result: Result) -> list[str]:
    """One line for each cell that did not end well."""
    return [
        f"{outcome.status}: {result.names[spec.hash]}: {outcome.message}" for spec, outcome in result.failed
    ]
