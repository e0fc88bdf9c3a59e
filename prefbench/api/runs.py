"""Running a specification, for the command and for Python users."""

from __future__ import annotations

import contextlib
import operator
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from prefbench import consent
from prefbench.api.results import Results
from prefbench.api.shown import know_plugins, path_of
from prefbench.errors import UserError
from prefbench.registry import EntryKind, name_of
from prefbench.report import live
from prefbench.report.hush import hush
from prefbench.report.tables import verdict
from prefbench.spec import RunSpec
from prefbench.store.progress import Reporter
from prefbench.sweep.tuned import make_tuned_spec, read_tuned
from prefbench.team import joined, team
from prefbench.tracking.interface import Tracker
from prefbench.tracking.tracked import Tracked, tracked
from prefbench.tracking.trackers import tracker_of

if TYPE_CHECKING:
    from prefbench.record.schema import Record

MOST_SEEDS = 10_000
"""More is a slip of the finger, and its specifications alone would fill the memory."""

Around = Callable[[RunSpec, Reporter], contextlib.AbstractContextManager[Reporter]]
"""From a run and whoever is told how it goes to whoever is told instead, for as long as it goes."""
Name = str | os.PathLike[str] | Callable[..., Any]
"""The name of a task, an aligner or a model, its function, or a model's folder."""


def run(
    task: Name,
    aligner: Name | None = None,
    *,
    policy: str | None = None,
    model: Name | None = None,
    data: str | os.PathLike[str] = "synthetic",
    minority_ratio: str | float = 0.2,
    seeds: int | Iterable[int] = 1,
    runs_dir: str | os.PathLike[str] = "runs",
    task_options: Mapping[str, Any] | None = None,
    aligner_options: Mapping[str, Any] | None = None,
    model_options: Mapping[str, Any] | None = None,
    evaluate_options: Mapping[str, Any] | None = None,
    tuned: str | os.PathLike[str] | None = None,
    allow_host: Iterable[str] = (),
    track: str | Tracker | None = None,
    quiet: bool = False,
) -> Results:
    """Run an aligner on a task and tell, group by group, who won, as `prefbench run` does.

    A run that was stopped continues where it was; what is stored is not computed again. A task, an aligner
    or a model that is defined in a cell or a script is known by its source: edit it, and it is run anew.

        >>> import prefbench as pb
        >>> pb.run("worst_case_two_group", "reference", quiet=True).record.status
        'ok'

    Args:
        task: its name, or the function that `@pb.task` registered.
        aligner: likewise.
        policy: a policy from outside in an aligner's place, such as `"responses:outputs.jsonl"`; the address
            of a server off this machine has to be allowed.
        model: likewise, or a folder or a hub id; nano or the task's own if left out.
        data: as the task says.
        minority_ratio: share of annotators in the minority: 0.2, "20%" or "4:1".
        seeds: how many, from 0 up; or which.
        runs_dir: where stages and records are kept.
        task_options: what is not the default, by name; `prefbench show NAME` lists them.
        aligner_options: likewise.
        model_options: likewise.
        evaluate_options: likewise, such as `{"samples": 4}`.
        tuned: a file of `prefbench tune`, whose options the aligner takes where `aligner_options` says no
            others.
        allow_host: servers off this machine that may be sent prompts and responses, as `HOST` or
            `HOST=VARIABLE` with the environment variable that holds the key.
        track: a tracker that is told options and figures as well: `"trackio"`, `"wandb"`, or an object with
            the methods `started`, `logged` and `finished`; none if left out.
        quiet: say nothing of how it goes.

    Returns:
        The runs, one for each seed. One that diverged or failed says so in its record and in a warning.

    Raises:
        UserError: one line on what is wrong with the input. Nothing was written.
    """
    with joined(), _allowing(allow_host):
        know_plugins()
        options = {"task": task_options, "aligner": aligner_options, "model": model_options}
        sets = _checked_options({**options, "evaluate": evaluate_options})
        chosen: dict[str, Any] = {
            "task": _named("task", task),
            "aligner": None if aligner is None else _named("aligner", aligner),
            "policy": policy,
            "model": None if model is None else _named("model", model),
            "data": str(path_of(data, "data")) if isinstance(data, os.PathLike) else data,
        }
        path = None if tuned is None else path_of(tuned, "tuned")
        found = None if path is None else (str(path), read_tuned(path))
        specs = [
            make_tuned_spec(found, **chosen, minority_ratio=minority_ratio, seed=seed, sets=sets)
            for seed in seeds_from(seeds)
        ]
        consent.check_options(specs[0].sections())
        several = len(specs) > 1
        folder = path_of(runs_dir, "runs_dir")
        results = Results(run_specs(specs, folder, quiet=quiet, name_seeds=several, track=track))
    for record in results.records:
        if record.status != "ok":
            warnings.warn(verdict(record), stacklevel=2)
    return results


def run_specs(
    specs: Sequence[RunSpec],
    runs_dir: Path,
    *,
    quiet: bool = False,
    name_seeds: bool = False,
    around: Around | None = None,
    track: str | Tracker | None = None,
) -> Iterator[tuple[Path, Record]]:
    """Run specifications one after the other, and show how they go: on standard error, or below the cell.

    Args:
        specs: what to run.
        runs_dir: where stages and records are kept.
        quiet: show nothing.
        name_seeds: say which seed begins.
        around: what each run goes on within, if anything.
        track: a tracker that is told as well, if any. One that fails is named in a warning, and no more.

    Returns:
        Folder and record of each run, as it ends.

    Raises:
        UserError: there is no such tracker. Nothing was written.
    """
    console = Console(stderr=True)
    if track is not None:
        tracker_of(track)  # what is missing is told before anything starts
    lost = _told_once(track)
    listener: Tracked | None = None
    with live.waiting("loading libraries", quiet or team().rank != 0, console):
        from prefbench.running.seeds import run_seeds

    @contextlib.contextmanager
    def watch(spec: RunSpec) -> Iterator[Reporter]:
        nonlocal listener
        # Of several processes the first tells how it goes.
        title = f"seed {spec.seed}" if name_seeds else None
        first = f"preparing {spec.task} and {spec.model}"
        with live.reporter(quiet or team().rank != 0, console, title, first) as reporter:
            hush()
            with around(spec, reporter) if around else contextlib.nullcontext(reporter) as told:
                if track is None or team().rank != 0:
                    yield told
                    return
                with tracked(track, spec, told, lost) as listener:
                    yield listener

    for folder, record in run_seeds(specs, runs_dir, watch):
        if listener is not None:
            listener.ended(folder, record)
        yield folder, record


def _told_once(track: str | Tracker | None) -> Callable[[str], None]:
    """A function that warns of a tracker that was given up, the first time that it is called."""
    said = False

    def lost(why: str) -> None:
        nonlocal said
        if not said:
            said = True
            name = track if isinstance(track, str) else type(track).__name__
            warnings.warn(
                f"the tracker {name} was given up ({why}); the run goes on without it.", stacklevel=2
            )

    return lost


def seeds_from(seeds: int | Iterable[int], first: int = 0) -> list[int]:
    """The seeds of a count, from `first` up, or those that are named.

    Raises:
        UserError: there is none, one is no number or named twice, or they are too many.
    """
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        named = [_whole(seed, "seed") for seed in seeds]
        if not named:
            raise UserError("seeds is empty: name one, or give their number.")
        seed, times = Counter(named).most_common(1)[0]
        if times > 1:
            raise UserError(f"seed {seed} is named twice: name each once.")
        return named
    count = _whole(seeds, "seeds")
    if count < 1:
        raise UserError(f"seeds '{count}' is not a whole number from 1 up: give one such as 5.")
    if count > MOST_SEEDS:
        raise UserError(f"seeds '{count}' is more than {MOST_SEEDS}: start with fewer and go on with --seed.")
    return list(range(first, first + count))


def _whole(value: object, what: str) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise UserError(f"{what} {value!r} is not a whole number: give one such as 3.")


def _named(kind: EntryKind, given: Name) -> str:
    return os.fspath(given) if isinstance(given, os.PathLike) else name_of(kind, given)


def _checked_options(options: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Mapping[str, Any]]:
    given = {section: values for section, values in options.items() if values is not None}
    for section, values in given.items():
        if not (isinstance(values, Mapping) and all(isinstance(name, str) for name in values)):
            raise UserError(
                f"{section}_options is no dictionary of options by name: write {{'NAME': VALUE}}."
            )
    return given


@contextlib.contextmanager
def _allowing(hosts: Iterable[str]) -> Iterator[None]:
    """Let these servers be asked within the block, beside those that were allowed before."""
    before = consent.typed()
    more = [hosts] if isinstance(hosts, str) else list(hosts)
    try:
        if more:
            consent.from_command_line(more, {})
            consent.allow(before | consent.typed())
        yield
    finally:
        consent.allow(before)
