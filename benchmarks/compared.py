"""Stages of ours beside a peer's, and how they are measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from setting import ratio

from prefbench.learn.interface import Pairs
from prefbench.learn.rewards import scores_of


@dataclass(frozen=True)
class Compared:
    """One stage of ours beside a peer."""

    stage: str
    size: str
    peer: str
    unit: str
    """What is counted."""
    items: float
    """How many of them a round has."""
    ours: list[float]
    """Seconds of each round."""
    theirs: list[float]
    target: float

    @property
    def ratio(self) -> float:
        """How many times faster ours was, the median over rounds."""
        return ratio(self.theirs, self.ours)

    def row(self) -> list[str]:
        a, b = (self.items / median(side) for side in (self.ours, self.theirs))
        name = f"{self.stage} ({self.size})"
        met = "yes" if self.ratio >= self.target else "no"
        return [
            name,
            self.peer,
            *(f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}" for rate in (a, b)),
            self.unit,
            f"{self.ratio:.2f}",
            f"{self.target:g}",
            met,
        ]


@dataclass(frozen=True)
class Bench:
    """How it is measured."""

    folder: Path
    rounds: int
    threads: int
    trl: str | None
    trl_ppo: str | None


def margins(model: Any, pairs: Pairs) -> np.ndarray:
    chosen, rejected = scores_of(model, pairs)
    return np.asarray(chosen - rejected)
