"""What groups care about: numbers that a response earns, larger is better.

A utility is a frozen object with a `name` that holds everything which can move its numbers, so that a
hash of the name is a hash of the utility. All but `Relevance` look at the response alone: the prompt is the
same for every response that it is compared with, and words that a policy did not write should earn it
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


class Utility(Protocol):
    """What a group prefers: a number per response."""

    @property
    def name(self) -> str:
        """Everything that can move a number, in one line; part of the hashes of what depends on it."""
        ...

    @property
    def unit(self) -> str:
        """What one unit of the utility is, for tables and plots."""
        ...

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Score each response (`float64 [n]`, larger is better) as the answer to the prompt beside it."""
        ...


def check_lengths(prompts: Sequence[str], responses: Sequence[str]) -> None:
    """Refuse prompts and responses of which one has no counterpart.

    Raises:
        ValueError: there are more of one than of the other.
    """
    if len(prompts) != len(responses):
        raise ValueError(
            f"{len(prompts)} prompts but {len(responses)} responses: one of each belong together."
        )
