"""Stages under way, and words for how far they are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

NAME_CHARACTERS = 12


@dataclass
class StageLine:
    """A stage that has begun and not ended."""

    name: str
    stored: bool
    started: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    _first: int = 0
    _loop_started: float = 0.0

    def step(self, done: int, total: int, values: Mapping[str, float]) -> None:
        """Take in where a loop is. A stage may have several loops, one after the other."""
        if total != self.total or done <= self.done:
            # Counted from the first step seen: a continued loop does not start at nothing.
            self._first, self._loop_started = done, time.monotonic()
        self.done, self.total, self.values = done, total, values

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float | None:
        """Seconds that the current loop still needs at its pace so far; None before there is a pace."""
        if self.done <= self._first:
            return None
        pace = (time.monotonic() - self._loop_started) / (self.done - self._first)
        return pace * (self.total - self.done)


class Nested:
    """The stages under way, the innermost last: `rewards` may run inside `policy`."""

    def __init__(self) -> None:
        self.active: list[StageLine] = []

    def find(self, name: str) -> StageLine | None:
        """The innermost stage of that name."""
        return next((stage for stage in reversed(self.active) if stage.name == name), None)

    def close(self, name: str) -> tuple[StageLine, int] | None:
        """Drop a stage and whatever did not end within it; give it back with its depth."""
        stage = self.find(name)
        if stage is None:
            return None
        depth = self.active.index(stage)
        del self.active[depth:]
        return stage, depth


def indented(name: str, depth: int) -> str:
    """A stage's name as wide as the others', two blanks farther in for each stage that it goes on within."""
    return f"{'  ' * depth}{name}".ljust(NAME_CHARACTERS)


def figures(values: Mapping[str, float]) -> str:
    """`reward/fans 0.31, KL 0.07`."""
    named = (("KL" if name == "kl" else name, value) for name, value in values.items())
    return ", ".join(f"{name} {value:.3g}" for name, value in named)
