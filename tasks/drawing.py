"""Draws of the grammars: every choice takes the next of one stream of uniform numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


def chances(rng: np.random.Generator) -> Iterator[float]:
    """Uniform numbers in [0, 1) without end; drawn in blocks, as single draws are slow."""
    while True:
        yield from rng.random(4096).tolist()


def pick(options: Sequence[str], chance: Iterator[float]) -> str:
    """One of the options, all equally likely."""
    return options[int(next(chance) * len(options))]


@dataclass(frozen=True)
class Leaning:
    """Dependence of what is said on a tone in [-1, 1].

    It agrees with the tone with a chance that grows with the tone's strength, speaks against it with a small
    constant chance, and is neutral otherwise.
    """

    floor: float
    slope: float
    against: float

    def sign(self, tone: float, chance: Iterator[float]) -> int:
        """1, 0 or -1: what is said when the tone is `tone`."""
        agrees = self.floor + self.slope * abs(tone)
        draw = next(chance)
        side = 1 if tone > 0 else -1
        if draw < agrees:
            return side
        return -side if draw < agrees + self.against else 0
