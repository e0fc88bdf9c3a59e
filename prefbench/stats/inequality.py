"""Inequality among people: how unevenly something is shared, and how those fare who have least of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from prefbench.arrays import Floats


def gini(values: ArrayLike) -> float:
    """The Gini coefficient, mean |x_i - x_j| over all pairs by twice the mean: 0 is equality, below 1.

    Source: Gini 1912, "Variabilita e mutabilita". Where nobody has anything it is 0.

    Args:
        values: of people, at least one, none negative, `[people]`.

    Raises:
        ValueError: there are none, or one is negative.
    """
    held = _checked(values)
    total = held.sum()
    if total == 0:
        return 0.0
    rank = np.arange(1, len(held) + 1)
    return max(0.0, float((2 * rank - len(held) - 1) @ np.sort(held) / (len(held) * total)))


def atkinson(values: ArrayLike) -> float:
    """Atkinson's index with aversion 1, one minus the geometric by the arithmetic mean: 0 is equality.

    Source: Atkinson 1970, "On the measurement of inequality". It is 1 as soon as one of several people has
    nothing; where nobody has anything it is 0.

    Args:
        values: of people, at least one, none negative, `[people]`.

    Raises:
        ValueError: there are none, or one is negative.
    """
    held = _checked(values)
    mean = held.mean()
    if mean == 0:
        return 0.0
    if held.min() == 0:
        return 1.0
    return max(0.0, float(1 - np.exp(np.log(held).mean()) / mean))


def worst_tenth(values: ArrayLike) -> float:
    """The mean of the tenth of people who have least, rounded up to whole people.

    The minimum falls with the number of people who are asked; this does not.

    Args:
        values: of people, at least one, `[people]`.
    """
    held = np.sort(_checked(values))
    return float(held[: math.ceil(len(held) / 10)].mean())


def most_tenth(values: ArrayLike) -> float:
    """The mean of the tenth of people who have most, rounded up: of losses, those who fare worst.

    Args:
        values: of people, at least one, none negative, `[people]`.
    """
    held = np.sort(_checked(values))
    return float(held[-math.ceil(len(held) / 10) :].mean())


def _checked(values: ArrayLike) -> Floats:
    held = np.asarray(values, dtype=np.float64)
    if held.ndim != 1 or not len(held) or not (held >= 0).all():
        raise ValueError(f"values must be those of people, none negative, not of shape {held.shape}")
    return held
