"""The split of a prompt: decided by the prompt itself, so that it is the same for every seed.

Seeds of one task share a source of prompts. Were each to deal it out at random, one would train on what
another tests on, and a choice made on some seeds would have seen the test prompts of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from prefbench.errors import UserError
from prefbench.problem.brought import place
from prefbench.problem.problem import Prompts

TEST, VALIDATION = 0.4, 0.1
"""Shares of all possible prompts that are for testing and for validation; the others are for training."""


def by_place(prompts: Iterable[str]) -> list[str]:
    """Different prompts in the order of their places, the first of which are for testing."""
    return sorted(dict.fromkeys(prompts), key=lambda prompt: (place(prompt), prompt))


def deal(prompts: Iterable[str], sizes: tuple[int, int, int], rng: np.random.Generator) -> Prompts:
    """Prompts of the three splits, so many of each, drawn among those whose place is in the split's part.

    Where a part has fewer than are wanted, the parts are cut in the order of places as the sizes say. Then
    another seed whose prompts are others may cut a little elsewhere.

    Args:
        prompts: at least as many different ones as the sizes make together.
        sizes: train, validation and test prompts.
        rng: draws within the parts.

    Raises:
        UserError: there are fewer.
    """
    order = by_place(prompts)
    training, checking, testing = sizes
    if len(order) < sum(sizes):
        raise UserError(
            f"{len(order)} different prompts are fewer than the {sum(sizes)} that are needed: lower "
            "task.annotators, task.pairs_per_annotator or task.test_prompts."
        )
    cuts = np.searchsorted([place(prompt) for prompt in order], [TEST, TEST + VALIDATION]).tolist()
    if min(cuts[0] - testing, cuts[1] - cuts[0] - checking, len(order) - cuts[1] - training) < 0:
        spare = len(order) - sum(sizes)
        cuts = [testing + spare * testing // sum(sizes)]
        cuts.append(cuts[0] + checking + spare * checking // sum(sizes))
    parts = order[cuts[1] :], order[cuts[0] : cuts[1]], order[: cuts[0]]
    return Prompts(*(_drawn(part, size, rng) for part, size in zip(parts, sizes, strict=True)))


def _drawn(part: Sequence[str], size: int, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(part[index] for index in rng.permutation(len(part))[:size].tolist())
