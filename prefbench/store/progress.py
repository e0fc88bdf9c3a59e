"""Telling somebody how a run goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Reporter(Protocol):
    """A listener who is told how a run goes."""

    def begin(self, stage: str, stored: bool) -> None:
        """A stage starts; `stored` says that it only has to be read."""

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """A step inside a stage, with figures worth showing."""

    def end(self, stage: str, seconds: float) -> None:
        """A stage is complete."""

    def note(self, message: str) -> None:
        """A line that a person should see."""


class Silent:
    """Tells nobody."""

    def begin(self, stage: str, stored: bool) -> None:
        """Nothing."""

    def step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def end(self, stage: str, seconds: float) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""
