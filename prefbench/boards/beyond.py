"""Columns of a board on what a win rate does not see, and how they are shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from prefbench.record.schema import Record

_TEXTS = ("nonword_rate", "distinct_1", "distinct_2", "relevance")
BEYOND_RATES = (
    *("nonword_rate", "reference_nonword_rate", "distinct_1", "reference_distinct_1", "distinct_2"),
    *("reference_distinct_2", "relevance", "reference_relevance", "retention"),
)
"""Means over seeds of the record's fields of these names; empty where a seed does not have one."""
LOGPROB = "logprob_difference"
"""Nats per token under the reference policy, of the policy's responses less of the reference's."""
BEYOND = (*BEYOND_RATES, LOGPROB)
BEYOND_SHOWN: Mapping[str, tuple[str, str | None]] = {
    "non-words": ("nonword_rate", "reference_nonword_rate"),
    "log p/token": (LOGPROB, None),
    "distinct": ("distinct_2", "reference_distinct_2"),
    "relevant": ("relevance", "reference_relevance"),
    "kept": ("retention", None),
}
"""Heads of shown columns, the figure of the policy and that of the reference."""


def beyond_cells(records: Collection[Record]) -> dict[str, float | None]:
    """The cells of `BEYOND` of one row, over its seeds."""
    fields: dict[str, list[float | None]] = {"retention": [record.retention for record in records]}
    for name in (f"{prefix}{name}" for prefix in ("", "reference_") for name in _TEXTS):
        fields[name] = [None if each.text is None else getattr(each.text, name) for each in records]
    fields[LOGPROB] = [_difference(record) for record in records]
    return {name: _mean(values) for name, values in fields.items()}


def _difference(record: Record) -> float | None:
    text = record.text
    if text is None or text.logprob_per_token is None or text.reference_logprob_per_token is None:
        return None
    return text.logprob_per_token - text.reference_logprob_per_token


def _mean(values: Collection[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def shown_beyond(row: Mapping[Any, Any]) -> list[str]:
    """Cells of `BEYOND_SHOWN`, as `0.16 (0.02)` where the reference has a figure of its own."""
    import pandas as pd

    cells = []
    for name, reference in BEYOND_SHOWN.values():
        cell = "" if pd.isna(row[name]) else f"{row[name]:.2f}"
        if cell and reference is not None and not pd.isna(row[reference]):
            cell += f" ({row[reference]:.2f})"
        cells.append(cell)
    return cells
