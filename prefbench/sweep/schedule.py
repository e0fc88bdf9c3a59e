"""The next cell for a free worker, and the fate of one whose worker died."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prefbench.errors import PrefbenchError
from prefbench.spec import RunSpec
from prefbench.sweep.cell import Outcome, in_order, labels_key, reference_key

PAUSE_SECONDS = 1.0
"""Seconds before a cell that another process was at is tried again."""


class Schedule:
    """The cells of a sweep that still have to run.

    A worker should not sit and wait for a stage that another one is computing. So of the waiting cells it
    takes the first whose reference nobody is making, then one whose labels nobody is using (those have
    rewards in common), and only then any.
    """

    def __init__(
        self, specs: Sequence[RunSpec], retries: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.waiting: list[RunSpec] = in_order(specs)
        self.running: dict[str, RunSpec] = {}
        self.outcomes: dict[str, Outcome] = {}
        self._retries = retries
        self._clock = clock
        self._deaths: dict[str, int] = {}
        self._paused: dict[str, float] = {}
        self._made: set[tuple[object, ...]] = set()

    @property
    def over(self) -> bool:
        """True if nothing waits and nothing runs."""
        return not (self.waiting or self.running)

    def take(self) -> tuple[RunSpec, bool] | None:
        """The next cell, and whether it should wait for stages that others compute; None if it is too soon.

        It waits when there is nothing else that its worker could do.
        """
        now = self._clock()
        able = [spec for spec in self.waiting if self._paused.get(spec.hash, 0.0) <= now]
        if not able:
            return None
        making = {reference_key(spec) for spec in self.running.values()} - self._made
        labelled = {labels_key(spec) for spec in self.running.values()}
        spec = min(able, key=lambda s: (reference_key(s) in making, labels_key(s) in labelled))
        self.waiting.remove(spec)
        self.running[spec.hash] = spec
        return spec, len(able) == 1 or reference_key(spec) in making

    def stage_done(self, spec: RunSpec, stage: str) -> None:
        """A running cell has a stage behind it."""
        if stage == "pairs":  # they come after the reference
            self._made.add(reference_key(spec))

    def finish(self, spec: RunSpec, outcome: Outcome) -> bool:
        """A cell came back. False if it was busy and has to be tried again.

        Raises:
            PrefbenchError: the outcome is one that every other cell would meet too.
        """
        del self.running[spec.hash]
        if outcome.status == "stop":
            raise PrefbenchError(outcome.message or "the sweep cannot go on.")
        if outcome.status == "busy":
            self._paused[spec.hash] = self._clock() + PAUSE_SECONDS
            self.waiting.append(spec)
            return False
        self._made.add(reference_key(spec))
        self.outcomes[spec.hash] = outcome
        return True

    def died(self, spec: RunSpec, why: str) -> Outcome | None:
        """A cell's worker died: the cell goes to the front of the line, or is given up (its outcome)."""
        deaths = self._deaths[spec.hash] = self._deaths.get(spec.hash, 0) + 1
        if deaths <= self._retries:
            del self.running[spec.hash]
            self.waiting.insert(0, spec)
            return None
        times = "once" if deaths == 1 else f"{deaths} times"
        outcome = Outcome("failed", f"its worker died {times}: {why}")
        self.finish(spec, outcome)
        return outcome
