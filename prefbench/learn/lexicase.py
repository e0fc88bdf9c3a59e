"""A set of linear rewards none of which serves the pairs worse than another, by lexicase selection.

Pareto-optimal preference learning (Boldi, Ding, Spector and Niekum 2024, arXiv 2406.15599): what a hidden
group wants is Pareto-optimal on the labelled pairs, so a set is kept in the place of one reward. Selection of
one member shuffles the pairs and keeps, pair by pair, those members that order it as labelled, where any
does, until one is left or all pairs are through. Such a member is not dominated: nobody orders all pairs that
it does and one more. In each generation as many members as there are are selected, with replacement, and one
coordinate of each is moved by N(0, step^2). Rewards are directions, of length one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Bools, Floats, Ints

DIGITS = 50
"""Binary digits that a float holds exactly, with room to spare."""


@dataclass(frozen=True)
class RewardSet:
    """Directions, with the pairs that each serves."""

    heads: Floats
    """[K, d], no two of which order the pairs alike."""
    served: Bools
    """[K, pairs] the pairs that each orders as labelled."""


def survivors(serves: Bools, orders: Ints) -> Bools:
    """The members left after each selection, [selections, members]; those of a row serve the same pairs.

    Args:
        serves: [members, pairs] who orders which pair as labelled.
        orders: [selections, pairs] the pairs as each selection takes them.
    """
    # Whoever stays has the largest row, read as a binary fraction: pairs in order, 1 for one ordered right.
    left = np.ones((len(orders), len(serves)), dtype=bool)
    by_pair = np.ascontiguousarray(serves.T)
    for start in range(0, orders.shape[1], DIGITS):
        block = by_pair[orders[:, start : start + DIGITS]]  # [selections, digits, members]
        value = np.einsum("sdm,d->sm", block, 0.5 ** np.arange(block.shape[1]))
        left &= value == np.where(left, value, -1.0).max(axis=1, keepdims=True)
    return left


def selected(serves: Bools, number: int, rng: np.random.Generator) -> Ints:
    """So many members by lexicase selection, with replacement, [number]; one of those left is drawn."""
    # Members that serve the same pairs share their fate, and one of them stands for all until the end.
    _, first, kind = np.unique(np.packbits(serves, axis=1), axis=0, return_index=True, return_inverse=True)
    orders = rng.permuted(np.tile(np.arange(serves.shape[1]), (number, 1)), axis=1)
    chosen = survivors(serves[first], orders).argmax(axis=1)
    alike = kind.ravel() == chosen[:, None]  # [number, members]
    return np.asarray(np.where(alike, rng.random(alike.shape), -1.0).argmax(axis=1))


def evolve(
    difference: Floats, *, population: int, generations: int, step: float, rng: np.random.Generator
) -> RewardSet:
    """The set after some generations.

    Args:
        difference: [pairs, d] features, chosen minus rejected.
        population: members of a generation.
        generations: rounds of selection and mutation; a last selection makes the set.
        step: standard deviation of a mutation, of rewards of length one.
        rng: where all draws come from.
    """
    width = difference.shape[1]
    heads = _of_length_one(rng.uniform(-1, 1, size=(population, width)))
    for _ in range(generations):
        heads = heads[selected(heads @ difference.T > 0, population, rng)]
        heads[np.arange(population), rng.integers(width, size=population)] += step * rng.normal(
            size=population
        )
        heads = _of_length_one(heads)
    serves = heads @ difference.T > 0
    chosen = np.unique(selected(serves, population, rng))
    _, first = np.unique(np.packbits(serves[chosen], axis=1), axis=0, return_index=True)
    kept = chosen[np.sort(first)]
    return RewardSet(heads[kept], serves[kept])


def _of_length_one(heads: Floats) -> Floats:
    return np.asarray(heads / np.linalg.norm(heads, axis=1, keepdims=True))
