"""The time of a run: its stages, and within each the operators that torch runs.

A stage runs hundreds of thousands of operators, and torch's profiler takes some kilobytes for each. So it
records a window of each stage that is computed: whole steps of its loop, or its beginning where it has none.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tabulate import tabulate

from prefbench.estimate.estimate import estimate, problem_of
from prefbench.estimate.setting import shape_of
from prefbench.estimate.time import flops
from prefbench.store.files import write_atomically
from prefbench.store.progress import Reporter
from prefbench.text import show_bytes, show_count

if TYPE_CHECKING:
    from torch.autograd.profiler_util import FunctionEventAvg
    from torch.profiler import profile

    from prefbench.estimate.estimate import Estimate
    from prefbench.record.schema import Record
    from prefbench.spec import RunSpec
    from prefbench.work import Passes

PROFILE_FILE = "profile.md"
WINDOW_SECONDS = 0.25
"""A window closes at the first end of a step after this long."""
MOST_CALLS = 10_000
"""Calls of modules in a window: a step that makes more is cut off. Each stands for some ten operators."""
OPERATORS = 8
"""Operators that a table names."""
NAME_CHARACTERS = 40
"""Characters of an operator's name that a table shows at most."""
ALL_STORED = (
    "All stages were stored: nothing was computed and no operator was recorded. Another --runs-dir computes "
    "them anew."
)
OF_STAGES = (
    "Seconds are a stage's own, without those of stages within it. Peak memory is the most that the process "
    "had held by the stage's end."
)
OF_FLOPS = "FLOPs are not measured: --dry-run counts them from sizes and options, as if nothing ended early."
OF_OPERATORS = (
    "Operators were recorded in a window of each stage: some steps of its loop, or its beginning where it "
    "has none. Self CPU of an operator is without the operators that it calls, shares are of all operators' "
    "time, and recording makes all of them slower. What is in no operator is Python and the way into them."
)


@dataclass
class Window:
    """Record of a stage."""

    seconds: float = 0.0
    steps: int = 0
    cut: bool = False
    """True if the window ends within a step."""
    operators: dict[tuple[str, str], FunctionEventAvg] = field(default_factory=dict)
    """Operators by kind of device, `CPU` or `CUDA`, and name; a GPU's are its kernels."""

    def add(self, other: Window) -> None:
        """Take in another window of the same stage."""
        self.seconds += other.seconds
        self.steps += other.steps
        self.cut |= other.cut
        for name, more in other.operators.items():
            if name in self.operators:
                self.operators[name].add(more)  # type: ignore[no-untyped-call]
            else:
                self.operators[name] = more

    @property
    def python(self) -> float:
        """Seconds outside every operator: Python, and what it takes to call them."""
        inside = sum(
            operator.self_cpu_time_total / 1e6
            for (device, _), operator in self.operators.items()
            if device == "CPU"
        )
        return max(0.0, self.seconds - inside)


@dataclass
class StageProfile:
    """All stages of one name."""

    seconds: float = 0.0
    """Seconds without those of stages within it, and without what profiling took."""
    opened: int = 0
    stored: int = 0
    whole: bool = True
    """True if none of them went on from a checkpoint or was stopped."""
    peak: int = 0
    """Bytes of resident memory that the process had held at most, when the last of them ended."""
    window: Window = field(default_factory=Window)


@dataclass
class _Open:
    """A stage that has begun and not ended."""

    name: str
    stored: bool
    began: float = field(default_factory=time.monotonic)
    inside: float = 0.0
    """Seconds of stages within it, and of profiling."""
    first_step: int | None = None
    looped: bool = False
    """Steps are recorded, not its beginning."""
    window: Window = field(default_factory=Window)


@dataclass
class _Recording:
    """A window that is open."""

    stage: _Open
    profile: Any
    hook: Any
    began: float = field(default_factory=time.monotonic)
    steps: int = 0
    calls: int = 0

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began


class Profiler:
    """A reporter that measures what it is told of, and passes it on to another one."""

    def __init__(self, inner: Reporter) -> None:
        self.stages: dict[str, StageProfile] = {}
        self.wall = 0.0
        """Seconds from its making to its end."""
        self.cost = 0.0
        """Seconds that starting and reading torch's profiler took."""
        self._inner = inner
        self._open: list[_Open] = []
        self._recording: _Recording | None = None
        self._began = time.monotonic()
        self._thread = threading.get_ident()

    @property
    def outside(self) -> float:
        """Seconds outside all stages: imports, loading, the record."""
        return self.wall - self.cost - sum(stage.seconds for stage in self.stages.values())

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts; what was recorded of the one around it ends here."""
        self._inner.begin(stage, stored)
        self._open.append(_Open(stage, stored))
        self._stop()
        self._record()

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """A step inside a stage: after the first one of a loop its steps are recorded."""
        self._inner.step(stage, done, total, values)
        current = self._open[-1]
        if current.first_step is None:
            current.first_step = done
        if not current.looped:
            if done < total:
                self._stop(keep=False)
                current.looped, current.window = True, Window()
                self._record(loop=True)
        elif self._recording is not None:
            self._recording.steps += 1
            if self._recording.elapsed >= WINDOW_SECONDS or done == total:
                self._stop()

    def end(self, stage: str, seconds: float) -> None:
        """A stage is complete; the one around it goes on."""
        self._inner.end(stage, seconds)
        self._close(seconds)
        self._record()

    def note(self, message: str) -> None:
        """A line that a person should see."""
        self._inner.note(message)

    def finish(self) -> None:
        """The run is over; stages that are still open were stopped by an error."""
        while self._open:
            stopped = self._open[-1]
            self._close(time.monotonic() - stopped.began)
            self.stages[stopped.name].whole = False
        self.wall = time.monotonic() - self._began

    def _close(self, seconds: float) -> None:
        closed, peak = self._open.pop(), _peak()
        self._stop()
        stage = self.stages.setdefault(closed.name, StageProfile())
        stage.seconds += seconds - closed.inside
        stage.opened += 1
        stage.stored += closed.stored
        stage.whole &= closed.first_step in (None, 1)
        stage.peak = peak
        stage.window.add(closed.window)
        if self._open:
            self._open[-1].inside += seconds

    def _record(self, loop: bool = False) -> None:
        """Open a window in the innermost stage, where it computes something and torch is there."""
        if "torch" not in sys.modules or not self._open or self._open[-1].stored:
            return
        if self._open[-1].looped and not loop:
            return  # its steps were recorded before the stage within it began
        import torch
        from torch.profiler import ProfilerActivity, profile

        with self._costing():
            activities = [ProfilerActivity.CPU]
            if torch.cuda.is_available():
                activities.append(ProfilerActivity.CUDA)
            recorder = profile(activities=activities)
            recorder.start()
            hook = torch.nn.modules.module.register_module_forward_pre_hook(self._called)
        self._recording = _Recording(self._open[-1], recorder, hook)

    def _called(self, *_: Any) -> None:
        """A module is about to compute: the place to end a window that no step ends."""
        recording = self._recording
        if recording is None or threading.get_ident() != self._thread:
            return
        import torch

        recording.calls += 1
        enough = recording.elapsed >= WINDOW_SECONDS and not recording.stage.looped
        # Checkpointed modules also compute in a backward pass, within which the profiler cannot be stopped.
        if (enough or recording.calls >= MOST_CALLS) and torch._C._current_graph_task_id() == -1:
            self._stop(cut=recording.stage.looped)

    def _stop(self, keep: bool = True, cut: bool = False) -> None:
        """Close the window, if one is open."""
        recording, self._recording = self._recording, None
        if recording is None:
            return
        seconds = recording.elapsed
        with self._costing():
            recording.hook.remove()
            recording.profile.stop()
            if keep:
                found = Window(seconds, recording.steps, cut, _operators(recording.profile))
                recording.stage.window.add(found)

    @contextlib.contextmanager
    def _costing(self) -> Iterator[None]:
        """A block whose time is no part of the innermost stage."""
        began = time.monotonic()
        yield
        cost = time.monotonic() - began
        self.cost += cost
        if self._open:
            self._open[-1].inside += cost


@contextlib.contextmanager
def profiled(reporter: Reporter) -> Iterator[Profiler]:
    """A profiler of one run, to be given to it as its reporter."""
    profiler = Profiler(reporter)
    try:
        yield profiler
    finally:
        profiler.finish()


def _operators(recorder: profile) -> dict[tuple[str, str], FunctionEventAvg]:
    averages = recorder.key_averages()
    for average in averages:
        average.cpu_parent = average.cpu_children = None  # they lead to everything that was recorded
    return {(average.device_type.name, str(average.key)): average for average in averages}


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# ------------------------------------------------------------------------------------------ arithmetic


def stage_flops(found: Estimate) -> dict[str, float]:
    """Floating-point operations of an estimate, by the stages that a run opens; `` for those outside them."""
    result: dict[str, float] = {}
    first_judged = len(found.works) - len(found.sizes.gold)  # the evaluation's gold rewards come last
    for index, work in enumerate(found.works):
        name = "scores" if index >= first_judged else _stage_of(work)
        result[name] = result.get(name, 0.0) + flops(work, found.setting, found.sizes)
    return result


def _stage_of(work: Passes) -> str:
    match work.stage:
        case "pairs":
            return "labels" if work.kind == "score" else "pairs"
        case "gold rewards" if work.kind == "sample":
            return ""
        case "gold rewards" | "reward of everybody" | "rewards of groups" | "rewards by EM":
            return "rewards"
        case "policies of groups":
            return "experts"
        case "evaluation":
            return "samples" if work.vocabulary else "policy"  # there its rewards are measured
        case "reference" | "candidates" | "proxies" as name:
            return name
    return "policy"


# -------------------------------------------------------------------------------------- for a reader


class TextTable(NamedTuple):
    """Rows of text."""

    title: str
    header: list[str]
    rows: list[list[str]]


class OperatorTable(NamedTuple):
    """A stage's operators, as torch's profiler prints them."""

    title: str
    text: str


@dataclass(frozen=True)
class Profile:
    """The time of a run, by stages."""

    stages: TextTable
    operators: list[OperatorTable]
    """Tables of each stage that was computed with torch."""
    notes: list[str]
    """Remarks on the figures."""


def profile_of(profiler: Profiler, spec: RunSpec) -> Profile:
    """The profile of a run that is over.

    Args:
        profiler: was the run's reporter.
        spec: what was run; FLOPs follow from it where its model's sizes are known.
    """
    stages = profiler.stages
    if all(stage.stored == stage.opened for stage in stages.values()):
        return Profile(_stage_table(profiler, {}), [], [ALL_STORED])
    counted = _counted(spec)
    operators = [_operator_table(name, stage) for name, stage in stages.items() if stage.window.operators]
    notes = [OF_STAGES, *([OF_FLOPS] if counted else []), *([OF_OPERATORS] if operators else [])]
    return Profile(_stage_table(profiler, counted), operators, notes)


def _counted(spec: RunSpec) -> dict[str, float]:
    shape = shape_of(spec)
    return {} if shape is None else stage_flops(estimate(spec, shape, problem_of(spec)))


def _stage_table(profiler: Profiler, counted: Mapping[str, float]) -> TextTable:
    timed = partial(_timed, whole=profiler.wall)
    rows = []
    for name, stage in profiler.stages.items():
        row = [name, *timed(stage.seconds), _state(stage), show_bytes(stage.peak)]
        if name in counted and not stage.stored and stage.whole:
            rate = counted[name] / max(stage.seconds, 1e-9)
            row += [show_count(counted[name]), show_count(rate)]
        rows.append(row)
    rows += [
        ["outside stages", *timed(profiler.outside)],
        ["profiling", *timed(profiler.cost)],
        ["all", *timed(profiler.wall)],
    ]
    header = ["stage", "seconds", "share", "", "peak memory"]
    header += ["FLOPs at most", "FLOP/s at most"] if counted else []
    return TextTable("stages", header, [row + [""] * (len(header) - len(row)) for row in rows])


def _state(stage: StageProfile) -> str:
    if not stage.stored:
        return "computed" if stage.whole else "computed in part"
    return "stored" if stage.stored == stage.opened else f"{stage.stored} of {stage.opened} stored"


def _operator_table(name: str, stage: StageProfile) -> OperatorTable:
    from torch.autograd.profiler_util import EventList

    window = stage.window
    events = EventList(window.operators.values())  # type: ignore[no-untyped-call]
    on_gpu = any(event.self_device_time_total for event in events)
    drawn: str = events.table(  # type: ignore[no-untyped-call]
        sort_by="self_device_time_total" if on_gpu else "self_cpu_time_total",
        row_limit=OPERATORS,
        max_name_column_width=NAME_CHARACTERS,
        time_unit="ms",
    )
    lines = [line.rstrip() for line in drawn.strip("\n").split("\n")]
    seconds, share = _timed(1000 * window.python, 1000 * window.seconds)
    lines.append(f"Python and dispatch: {seconds}ms, {share} of the window")
    return OperatorTable(f"{name}: {_extent(window)} of {stage.seconds:.2f} s", "\n".join(lines))


def _extent(window: Window) -> str:
    if not window.steps:
        return f"{'part of a step, ' if window.cut else ''}{window.seconds:.2f} s"
    steps = f"{window.steps} step{'s' if window.steps > 1 else ''}{' and a part' if window.cut else ''}"
    return f"{steps}, {window.seconds:.2f} s"


def _timed(time: float, whole: float) -> list[str]:
    return [f"{time:.2f}", f"{time / max(whole, 1e-9):.1%}"]


def write_profile(profile: Profile, record: Record, folder: Path) -> None:
    """Write `profile.md` into a run's folder, beside its record."""
    made = record.provenance
    parts = [
        f"# Profile of {folder.name}",
        f"{record.status}; {made.hardware}, threads: {made.threads}, processes: {made.processes}, "
        f"torch {made.torch}, prefbench {made.prefbench}, started {made.started}",
    ]
    stages = profile.stages
    parts.append(f"## {stages.title}")
    parts.append(tabulate(stages.rows, headers=stages.header, tablefmt="github", disable_numparse=True))
    parts += [f"## {table.title}\n\n```text\n{table.text}\n```" for table in profile.operators]
    write_atomically(folder / PROFILE_FILE, "\n\n".join([*parts, *profile.notes]) + "\n")
