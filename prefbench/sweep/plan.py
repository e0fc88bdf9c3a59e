"""The work of a sweep: the cells that are left, what they share, and the time they may take."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from prefbench.estimate.timed import OTHER_MACHINE, timed
from prefbench.record.files import find_records
from prefbench.spec import RunSpec
from prefbench.sweep.cell import Job, in_order, is_done, labels_key, reference_key
from prefbench.sweep.labels import changing, said
from prefbench.text import clock

SHARED_STAGES = ("reference", "pairs", "labels")


@dataclass(frozen=True)
class Plan:
    """The cells of a sweep, which of them are done, and what the others will take."""

    specs: tuple[RunSpec, ...]
    """Specifications of the cells, in the order in which they are started."""
    done: frozenset[str]
    """Hashes of those that need not run."""
    shared: Mapping[str, int]
    """Number of different references, pairs and labels that the cells to run need, at the most."""
    seconds: float | None
    """Work that is left, by what past runs took; none if there are no such runs."""
    borrowed: float
    """Seconds among them that runs on another machine took, at default options."""
    elsewhere: tuple[str, ...]
    """Aligners of cells to run that only those tell about."""
    untimed: tuple[str, ...]
    """Aligners that no run tells about; they are not in `seconds`."""
    runs_timed: int
    """Past runs behind the estimate."""

    @property
    def todo(self) -> list[RunSpec]:
        """Cells that have to run."""
        return [spec for spec in self.specs if spec.hash not in self.done]

    @property
    def spread(self) -> tuple[float, float] | None:
        """Seconds of work that is left, at least and at most; the same where this machine's runs tell all."""
        if self.seconds is None:
            return None
        here = self.seconds - self.borrowed
        least, most = (here + factor * self.borrowed for factor in OTHER_MACHINE)
        return least, most


def make_plan(specs: Sequence[RunSpec], runs_dir: Path) -> Plan:
    """The work of a sweep, as far as names, options and a look into the runs folder tell."""
    done = frozenset(spec.hash for spec in specs if is_done(spec, runs_dir))
    todo = [spec for spec in specs if spec.hash not in done]
    references = {reference_key(spec) for spec in todo}
    labels = {labels_key(spec) for spec in todo}
    made = [spec for spec in specs if spec.hash in done]
    timings = _Timings(runs_dir)
    found = timings.estimate(todo, made)
    return Plan(
        specs=tuple(in_order(specs)),
        done=done,
        shared={"reference": len(references), "pairs": len(references), "labels": len(labels)},
        seconds=found.here + found.elsewhere if found.timed or not todo else None,
        borrowed=found.elsewhere,
        elsewhere=tuple(sorted(found.borrowing)),
        untimed=tuple(sorted({spec.aligner for spec in todo} - found.timed)),
        runs_timed=timings.runs,
    )


@dataclass
class _Foreseen:
    """Seconds of work by what tells of them, and the aligners that something tells of."""

    here: float = 0.0
    elsewhere: float = 0.0
    timed: set[str] = field(default_factory=set)
    borrowing: set[str] = field(default_factory=set)


class _Timings:
    """Seconds that each stage took in the runs of a folder."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs = 0
        self._shared: dict[tuple[str, ...], list[float]] = {}
        self._own: dict[tuple[str, ...], list[float]] = {}
        if not runs_dir.is_dir():
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # records that cannot be read
            records = find_records(runs_dir)
        for _, record in records:
            if record.status != "ok":
                continue
            self.runs += 1
            where = (record.task, record.model)
            own = 0.0
            for stage, seconds in record.timings.items():
                if stage in SHARED_STAGES:
                    self._shared.setdefault((*where, stage), []).append(seconds)
                else:
                    own += seconds
            exact = str(record.spec.get("aligner_options")), str(record.spec.get("task_options"))
            for key in ((*where, record.aligner), (*where, record.aligner, *exact)):
                self._own.setdefault(key, []).append(own)

    def estimate(self, todo: Sequence[RunSpec], made: Sequence[RunSpec]) -> _Foreseen:
        """Seconds of work: by runs of this folder, else by those on another machine that are shipped.

        A stage that several cells share counts once, and not at all where a finished cell had it.
        """
        work = _Foreseen()
        for spec in todo:
            where = (spec.task, spec.model, spec.aligner)
            exact = str(dict(spec.aligner_options)), str(dict(spec.task_options))
            times, other = self._own.get((*where, *exact)) or self._own.get(where), timed(spec)
            if times:
                work.here += _typical(times)
            elif other is not None:
                work.elsewhere += sum(other.own.values())
                work.borrowing.add(spec.aligner)
            if times or other is not None:
                work.timed.add(spec.aligner)
        for stage in SHARED_STAGES:
            key = labels_key if stage == "labels" else reference_key
            there = {key(spec) for spec in made}
            for spec in {key(spec): spec for spec in todo if key(spec) not in there}.values():
                times, other = self._shared.get((spec.task, spec.model, stage)), timed(spec)
                if times:
                    work.here += _typical(times)
                elif other is not None:
                    work.elsewhere += other.shared.get(stage, 0.0)
        return work


def _typical(times: Sequence[float]) -> float:
    """The median of those that computed the stage; the others only read it, in next to no time."""
    return median(seconds for seconds in times if seconds >= max(times) / 10)


def describe(plan: Plan) -> tuple[str, list[str], list[list[str]]]:
    """The cells as a table: a title that says what all share, a header, and a row for all seeds of a cell."""
    apart = changing(plan.specs)
    rows: dict[tuple[str, ...], list[RunSpec]] = {}
    for spec in plan.specs:
        options = said(spec, apart)
        key = (spec.task, spec.aligner, spec.model, spec.data, f"{spec.minority_ratio:g}", options)
        rows.setdefault(key, []).append(spec)
    result = []
    for row in sorted(rows, key=lambda row: (row[0], row[3], row[2], -float(row[4]), row[1], row[5])):
        seeds = sorted(spec.seed for spec in rows[row])
        finished = sum(spec.hash in plan.done for spec in rows[row])
        result.append([*row, _ranges(seeds), f"{finished}/{len(seeds)}"])
    header = ["task", "aligner", "model", "data", "ratio", "options", "seeds", "done"]
    varying = [i for i in range(len(header)) if i >= 6 or len({row[i] for row in result}) > 1]
    same = {header[i]: result[0][i] for i in range(len(header)) if i not in varying and result[0][i]}
    title = ", ".join(f"ratio {value}" if name == "ratio" else value for name, value in same.items())
    return title, [header[i] for i in varying], [[row[i] for i in varying] for row in result]


def plan_lines(plan: Plan, job: Job) -> list[str]:
    """A plan in sentences."""
    todo = len(plan.todo)
    lines = [f"{len(plan.specs)} cells: {len(plan.done)} done before, {todo} to run"]
    if not todo:
        return lines
    stages = ", ".join(f"{count} {stage}" for stage, count in plan.shared.items())
    lines.append(f"shared by the {todo}, at the most: {stages} (each is computed once)")
    at_once = max(1, min(job.workers or todo, todo))
    who = (
        f"{at_once} worker{'s' if at_once > 1 else ''}"
        if job.workers
        else "as many workers as the cluster has"
    )
    if plan.spread is None:
        lines.append("no estimate of the time: the runs folder has no run of these aligners")
    else:
        each = (seconds / at_once for seconds in plan.spread)
        spread = f", {_clocks(*each)} with {who}" if job.workers else f" for {who}"
        lines.append(f"about {_clocks(*plan.spread)} of work{spread}, {told_by(plan)}")
        if plan.untimed:
            lines.append(f"not in it, for want of a past run: {', '.join(plan.untimed)}")
    return lines


def time_line(plan: Plan) -> str | None:
    """The time that runs one after the other may take, in a sentence; None where nothing tells."""
    if plan.spread is None or not plan.todo or plan.untimed:
        return None
    return f"About {_clocks(*plan.spread)} of work here, beside loading, {told_by(plan)}."


def told_by(plan: Plan) -> str:
    """The runs behind an estimate, in words."""
    runs = "run" if plan.runs_timed == 1 else "runs"
    past = (
        [f"by {plan.runs_timed} past {runs}"]
        if plan.runs_timed and plan.borrowed < (plan.seconds or 0)
        else []
    )
    of = f", of {', '.join(plan.elsewhere)}," if past and plan.elsewhere else ""
    other = [f"by runs on another machine{of} at default options"] if plan.borrowed else []
    return " and ".join([*past, *other]) or "by past runs"


def _clocks(least: float, most: float) -> str:
    """One time, or two where they are told apart."""
    shown = list(dict.fromkeys(clock(seconds) for seconds in (least, most)))
    return " to ".join(shown)


def _ranges(numbers: Sequence[int]) -> str:
    """`0-4 7` for 0, 1, 2, 3, 4, 7."""
    parts: list[str] = []
    for _, run in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        parts.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return " ".join(parts)
