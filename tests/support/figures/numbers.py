"""Arrays, tables and nested values in few numbers: whatever moves, moves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from prefbench.text import text_digest
from support.figures.sections import Figures


def projected(values: Any, count: int = 3) -> list[float]:
    """A few sums of an array over fixed directions: whatever moves, moves them."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    directions = np.random.default_rng(len(flat)).uniform(-1, 1, (count, len(flat)))
    return [float(direction @ flat) for direction in directions]


def frame_digest(frame: pd.DataFrame) -> str:
    """Of the texts and whole numbers in a table."""
    kept = frame[[name for name in frame.columns if frame[name].dtype.kind != "f"]]
    return text_digest([*kept.columns, *(str(value) for row in kept.to_numpy().tolist() for value in row)])


def flat(values: Mapping[str, Any], before: str = "") -> Figures:
    """Nested dictionaries and lists as names to values."""
    result: Figures = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{before}{key}/")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for index, each in enumerate(value):
                result |= flat(each, f"{before}{key}/{index}/")
        else:
            result[f"{before}{key}"] = value
    return result
