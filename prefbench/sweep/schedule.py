"""The next cell for a free worker, and the fate of one whose worker died."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prefbench.errors import PrefbenchError
from prefbench.spec import RunSpec
from prefbench.sweep.cell import Outcome, in_order, labels_key, reference_key

PAUSE_SECONDS = 1.0
"""Seconds before a cell that another process was at is tried again."""


@dataclass(frozen=True)
class _Planned:
    """A cell with what it is known by: computed once, as all that wait are looked at for each that starts."""

    spec: RunSpec
    hash: str
    reference: tuple[object, ...]
    labels: tuple[object, ...]

    @classmethod
    def of(cls, spec: RunSpec) -> _Planned:
        return cls(spec, spec.hash, reference_key(spec), labels_key(spec))


class Schedule:
    """The cells of a sweep that still have to run.

    A worker should not sit and wait for a stage that another one is computing. So of the waiting cells it
    takes the first whose reference nobody is making, then one whose labels nobody is using (those have
    rewards in common), and only then any.
    """

    def __init__(
        self, specs: Sequence[RunSpec], retries: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.waiting: list[_Planned] = [_Planned.of(spec) for spec in in_order(specs)]
        self.running: dict[str, _Planned] = {}
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
        able = [cell for cell in self.waiting if self._paused.get(cell.hash, 0.0) <= now]
        if not able:
            return None
        making = {cell.reference for cell in self.running.values()} - self._made
        labelled = {cell.labels for cell in self.running.values()}
        cell = min(able, key=lambda c: (c.reference in making, c.labels in labelled))
        self.waiting.remove(cell)
        self.running[cell.hash] = cell
        return cell.spec, len(able) == 1 or cell.reference in making

    def stage_done(self, spec: RunSpec, stage: str) -> None:
        """A running cell has a stage behind it."""
        if stage == "pairs":  # they come after the reference
            self._made.add(reference_key(spec))

    def finish(self, spec: RunSpec, outcome: Outcome) -> bool:
        """A cell came back. False if it was busy and has to be tried again.

        Raises:
            PrefbenchError: the outcome is one that every other cell would meet too.
        """
        cell = self.running.pop(spec.hash)
        if outcome.status == "stop":
            raise PrefbenchError(outcome.message or "the sweep cannot go on.")
        if outcome.status == "busy":
            self._paused[cell.hash] = self._clock() + PAUSE_SECONDS
            self.waiting.append(cell)
            return False
        self._made.add(cell.reference)
        self.outcomes[cell.hash] = outcome
        return True

    def died(self, spec: RunSpec, why: str) -> Outcome | None:
        """A cell's worker died: the cell goes to the front of the line, or is given up (its outcome)."""
        cell = self.running[spec.hash]
        deaths = self._deaths[cell.hash] = self._deaths.get(cell.hash, 0) + 1
        if deaths <= self._retries:
            del self.running[cell.hash]
            self.waiting.insert(0, cell)
            return None
        times = "once" if deaths == 1 else f"{deaths} times"
        outcome = Outcome("failed", f"its worker died {times}: {why}")
        self.finish(spec, outcome)
        return outcome
