"""One cell of a sweep: a run that no other process runs at the same time, and what became of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prefbench import registry
from prefbench.errors import PrefbenchError, UserError
from prefbench.identity import identity_of
from prefbench.numerics import NUMERICS
from prefbench.record.files import ITEMS_FILE, read_record
from prefbench.record.schema import Record
from prefbench.spec import RunSpec, run_name
from prefbench.store import stages as store
from prefbench.store.files import locked
from prefbench.store.progress import Reporter, Silent
from prefbench.tracking.tracked import tracked

CellStatus = Literal["ok", "before", "diverged", "failed", "busy", "stop"]


@dataclass(frozen=True)
class Outcome:
    """The fate of a cell.

    `before`: it was done when its turn came. `busy`: another process is at it, or at a stage that it
    needs. `stop`: something that every other cell would meet too, such as a full disk.
    """

    status: CellStatus
    message: str | None = None
    seconds: float = 0.0
    untracked: str | None = None
    """Reason why the tracker was given up, if it was."""


@dataclass(frozen=True)
class Job:
    """Settings that every cell of a sweep has in common."""

    runs_dir: Path
    plugins: tuple[str, ...] = ()
    hosts: Mapping[str, str | None] = field(default_factory=dict)
    """Servers that may be sent something, and the variables of their keys: `prefbench.consent.allowed`."""
    workers: int = 1
    """Cells at a time."""
    threads: int = 1
    """CPU threads of each."""
    retries: int = 2
    """Restarts of a cell whose worker died."""
    address: str | None = None
    """Address of a Ray cluster; none for this machine."""
    cpus: float = 1.0
    """CPUs that Ray sets aside for a cell."""
    gpus: float = 0.0
    """GPUs that Ray sets aside for a cell."""
    track: str | None = None
    """Name of the tracker that is told of every cell."""


def run_cell(
    spec: RunSpec, runs_dir: Path, reporter: Reporter, wait: bool, track: str | None = None
) -> Outcome:
    """Run a cell unless it is done or another process is at it.

    Args:
        spec: the cell.
        runs_dir: shared by every process of the sweep, and by other sweeps.
        reporter: who is told how it goes.
        wait: whether to wait for a stage that another process is computing, rather than come
            back as `busy`.
        track: name of a tracker that is told as well, if any.
    """
    started = time.monotonic()
    lost: list[str] = []

    def outcome(status: CellStatus, message: str | None = None) -> Outcome:
        return Outcome(status, message, round(time.monotonic() - started, 3), next(iter(lost), None))

    try:
        with _cell_lock(spec, runs_dir) as ours:
            if not ours:
                return outcome("busy")
            if is_done(spec, runs_dir):
                lost += told_again(spec, runs_dir, track)
                return outcome("before")
            # It loads numeric libraries, and a worker of a cluster first says how many threads they take.
            from prefbench.running.run import run  # noqa: PLC0415

            with store.waiting(wait):
                if track is None:
                    _, record = run(spec, runs_dir, reporter)
                else:
                    with tracked(track, spec, reporter, lost.append) as listener:
                        folder, record = run(spec, runs_dir, listener)
                    listener.ended(folder, record)
            return outcome(record.status, record.message)
    except store.Busy:
        return outcome("busy")
    except UserError as error:
        return outcome("failed", str(error))
    except (PrefbenchError, OSError) as error:
        return outcome("stop", str(error))
    except Exception as error:  # a stranger's task may raise anything
        return outcome("failed", f"{type(error).__name__}: {error}")


def told_again(spec: RunSpec, runs_dir: Path, track: str | None) -> list[str]:
    """Tell a tracker of a cell that was done before; the reason why it was given up, if it was."""
    lost: list[str] = []
    if track is not None:
        folder = runs_dir / run_name(spec)
        try:
            record = read_record(folder)
        except UserError as error:  # somebody has taken it away since
            return [str(error)]
        with tracked(track, spec, Silent(), lost.append) as listener:
            listener.ended(folder, record)
    return lost


def is_done(spec: RunSpec, runs_dir: Path) -> bool:
    """True if today's code ended a run of this specification well, and its record and evidence are there."""
    record = stored_record(spec, runs_dir)
    return record is not None and record.status == "ok"


def stored_record(spec: RunSpec, runs_dir: Path) -> Record | None:
    """The record that today's code made of a run of this specification; None if it or evidence is missing."""
    folder = runs_dir / run_name(spec)
    try:
        record = read_record(folder)
    except UserError:
        return None
    if record.status == "ok" and not (folder / ITEMS_FILE).is_file():
        return None
    made_by = (record.task_version, record.numerics, record.code)
    today = (registry.get("task", spec.task).version, NUMERICS, identity_of(spec).code)
    return record if record.spec_hash == spec.hash and made_by == today else None


@contextlib.contextmanager
def _cell_lock(spec: RunSpec, runs_dir: Path) -> Iterator[bool]:
    """Hold the lock on a cell; yields True if it was free."""
    folder = runs_dir / "stages" / "run"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / f"{spec.hash}.lock", wait=False) as ours:
        yield ours


def reference_key(spec: RunSpec) -> tuple[object, ...]:
    """Cells with the same key share the reference and the pairs, as far as names and options tell.

    The ratio is not in it: it decides who labels, not what is labelled.
    """
    options = (tuple(sorted(spec.task_options.items())), tuple(sorted(spec.model_options.items())))
    return (spec.task, spec.data, spec.model, spec.seed, repr(options))


def labels_key(spec: RunSpec) -> tuple[object, ...]:
    """Cells with the same key share the labels too."""
    return (*reference_key(spec), spec.minority_ratio)


def in_order(specs: Sequence[RunSpec]) -> list[RunSpec]:
    """The cells in an order in which few wait for each other: first one for each reference, then the rest."""
    first: dict[tuple[object, ...], RunSpec] = {}
    for spec in specs:
        first.setdefault(reference_key(spec), spec)
    ahead = {spec.hash for spec in first.values()}
    return [*first.values(), *(spec for spec in specs if spec.hash not in ahead)]
