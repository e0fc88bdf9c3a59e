"""Equality of two values: exactly, or but for rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

TOLERANCE = 1e-6
"""Largest distance of a stored number from the computed one, relative where that is above 1. Fitted
classifiers differ so much between machines; who won must be the same to the last digit."""


def same(one: Any, other: Any) -> bool:
    """True if two JSON values are equal; true is not 1 and 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def alike(one: Any, other: Any) -> bool:
    """True if two JSON values are the same up to the last digits of their numbers."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == {str(key) for key in other} and all(
            alike(one[str(key)], value) for key, value in other.items()
        )
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return same(one, other)
