"""The hook: what a tracker is told of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

PROJECT = "prefbench"
"""Name under which a tracker keeps runs."""


class Tracker(Protocol):
    """A keeper of figures of runs. Whatever it raises is told once, and the run goes on without it."""

    def started(self, name: str, group: str, config: Mapping[str, Any]) -> str:
        """A run begins.

        Args:
            name: of the run's folder.
            group: what its seeds have in common.
            config: options of its specification, as JSON values; of paths only the last part.

        Returns:
            A sentence on where its figures are looked at.
        """

    def logged(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of training; steps are counted from 1 over all stages of the run."""

    def finished(self, status: str, figures: Mapping[str, float]) -> None:
        """The run is over: its record's status, or `stopped`, and its record's figures, finite numbers."""
