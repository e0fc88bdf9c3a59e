"""One run, told to a tracker too; whatever becomes of the tracker, the run goes on as without it."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prefbench.record.files import HISTORY_FILE
from prefbench.record.schema import Record
from prefbench.report.history import read_history
from prefbench.spec import RunSpec, run_name
from prefbench.store.progress import Reporter
from prefbench.text import one_line
from prefbench.tracking.figures import config_of, figures_of, finite, group_of
from prefbench.tracking.interface import Tracker
from prefbench.tracking.trackers import tracker_of

MOST_POINTS = 1000
"""Steps of a loop that are told at most: its every second, third, ... and its last."""
TRAINING = "policy"
"""The stage whose course a run keeps in its folder."""

Lost = Callable[[str], None]
"""Told why a tracker was given up, in a line."""


class Tracked:
    """A listener to a run who tells another one, and a tracker.

    The tracker's run begins with its first figure, so that one which only waits for another process leaves
    nothing behind. The first thing that goes wrong with it is told to `lost`, and it hears no more.
    """

    def __init__(self, track: str | Tracker, spec: RunSpec, told: Reporter, lost: Lost) -> None:
        self._track = track
        self._spec = spec
        self._told = told
        self._lost = lost
        self._tracker: Tracker | None = None
        self._given_up = False
        self._steps = 0
        self._stages: set[str] = set()

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts."""
        self._told.begin(stage, stored)

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """A step inside a stage; its figures are the tracker's too."""
        self._told.step(stage, done, total, values)
        every = max(1, math.ceil(total / MOST_POINTS))
        if values and (done % every == 0 or done == total):
            self._log(stage, done, values)

    def end(self, stage: str, seconds: float) -> None:
        """A stage is complete."""
        self._told.end(stage, seconds)

    def note(self, message: str) -> None:
        """A line that a person should see."""
        self._told.note(message)

    def ended(self, folder: Path, record: Record) -> None:
        """The run has a record. Where its policy was stored, the course of its training is told now."""
        if TRAINING not in self._stages:
            rows = read_history(folder / HISTORY_FILE) or []
            every = math.ceil(len(rows) / MOST_POINTS)
            for done, row in enumerate(rows, start=1):
                if done % every == 0 or done == len(rows):
                    self._log(TRAINING, done, row)
        self._finish(record.status, figures_of(record))

    def stopped(self) -> None:
        """The run ends without a record."""
        if self._tracker is not None:
            self._finish("stopped", {})

    def _log(self, stage: str, done: int, values: Mapping[str, float]) -> None:
        self._stages.add(stage)
        self._steps += 1
        figures = {f"{stage}/{name}": value for name, value in finite(values).items()}
        self._tell(lambda tracker: tracker.logged(self._steps, {**figures, f"{stage}/step": float(done)}))

    def _finish(self, status: str, figures: Mapping[str, float]) -> None:
        self._tell(lambda tracker: tracker.finished(status, figures))
        self._given_up = True  # once over, a run has nothing more to tell

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        """Have the tracker told, unless it was given up."""
        if self._given_up:
            return
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to the record
                if self._tracker is None:
                    self._tracker = self._begun()
                what(self._tracker)
        except (Exception, SystemExit) as error:  # a stranger's library may do anything
            self._given_up = True
            self._lost(one_line(f"{type(error).__name__}: {error}")[:200])

    def _begun(self) -> Tracker:
        tracker = tracker_of(self._track)
        where = tracker.started(run_name(self._spec), group_of(self._spec), config_of(self._spec))
        self._told.note(str(where))
        return tracker


@contextlib.contextmanager
def tracked(track: str | Tracker, spec: RunSpec, told: Reporter, lost: Lost) -> Iterator[Tracked]:
    """A listener to a run within the block; after it `ended` says what came of the run.

    Args:
        track: the tracker, by name or itself.
        spec: the run's.
        told: who else is told how it goes.
        lost: told why the tracker was given up, if it was.
    """
    listener = Tracked(track, spec, told, lost)
    try:
        yield listener
    except BaseException:
        listener.stopped()
        raise
