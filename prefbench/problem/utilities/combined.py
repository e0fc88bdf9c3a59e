"""Utilities made of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefbench.problem.utilities.protocol import Scores, Utility
from prefbench.text import is_empty


@dataclass(frozen=True)
class Negated(Utility):
    """The opposite of another utility, but for a response without a word.

    Attributes:
        utility: what is negated.
        empty: what a response without a word earns, in the utility's unit; negating what the other gives
            silence would make it a prize.
    """

    utility: Utility
    empty: float

    @property
    def name(self) -> str:
        """The utility's version, the other's name and `empty`."""
        return f"negated/1:({self.utility.name}):empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """The other's unit, counted downwards."""
        return f"{self.utility.unit} (negative)"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """The other utility with its sign turned."""
        silent = np.fromiter(map(is_empty, responses), bool, len(responses))
        scores: Scores = np.where(silent, self.empty, -self.utility(prompts, responses))
        return scores


@dataclass(frozen=True)
class Weighted(Utility):
    """A weighted sum of utilities: what a group wants most, and what else it values.

    A response without a word earns the same sum of what it earns by each part.

    Attributes:
        parts: each part's weight and utility; a weight is in units of the sum per unit of the part.
    """

    parts: tuple[tuple[float, Utility], ...]

    @property
    def name(self) -> str:
        """The utility's version, and every part's weight and name."""
        parts = " + ".join(f"{float(weight)!r} * ({utility.name})" for weight, utility in self.parts)
        return f"weighted/1:{parts}"

    @property
    def unit(self) -> str:
        """Every part's weight and unit."""
        return " + ".join(
            utility.unit if weight == 1 else f"{weight:g} x {utility.unit}" for weight, utility in self.parts
        )

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Sum the parts of each response."""
        total = np.zeros(len(responses), dtype=np.float64)
        for weight, utility in self.parts:
            total += weight * utility(prompts, responses)
        return total
