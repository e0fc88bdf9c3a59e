"""The record's figures on what a win rate does not see in responses, made out of the items alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from prefbench.arrays import Floats
from prefbench.errors import UserError
from prefbench.evaluate.texts import distinct
from prefbench.evaluate.win_rate import TIE
from prefbench.record.evidence import LATER_COLUMNS, TEXT_COLUMNS
from prefbench.record.files import ITEMS_FILE

if TYPE_CHECKING:
    import pandas as pd


def summarise_texts(items: pd.DataFrame) -> dict[str, float | None] | None:
    """The record's `text` block.

    Args:
        items: rows as `ITEM_COLUMNS` and, where responses are texts, `TEXT_COLUMNS` say, in any order.

    Returns:
        The fields of `TextRecord`; None for a world and for items of older versions, which lack the columns.

    Raises:
        UserError: some of the columns are missing, or one is null or not finite in some rows only.
    """
    lacking = [name for name in LATER_COLUMNS if name not in items.columns]
    if len(lacking) == len(LATER_COLUMNS):
        return None
    if lacking:
        raise UserError(f"{ITEMS_FILE} has no column '{lacking[0]}': run it again.")
    found: dict[str, float | None] = {}
    for prefix in ("", "reference_"):
        nonwords, tokens, logprob, elsewhere = (_known(items[f"{prefix}{name}"]) for name in TEXT_COLUMNS)
        said = items[f"{prefix}response"].tolist()
        relevance = None
        if logprob is not None and elsewhere is not None:
            nearer = np.where(np.abs(logprob - elsewhere) <= TIE, 0.5, logprob > elsewhere)
            words = items["words" if not prefix else "reference_words"].to_numpy()
            relevance = float(np.where(words == 0, 0.5, nearer).mean())
        found |= {
            f"{prefix}nonword_rate": None if nonwords is None else float((nonwords > 0).mean()),
            f"{prefix}logprob_per_token": _per_token(logprob, tokens),
            f"{prefix}distinct_1": distinct(said, 1),
            f"{prefix}distinct_2": distinct(said, 2),
            f"{prefix}relevance": relevance,
        }
    return found


def _known(column: pd.Series[float]) -> Floats | None:
    """A column's values; None where all of them are null."""
    if column.isna().all():
        return None
    values: Floats = np.asarray(column, dtype=np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"{ITEMS_FILE}: column '{column.name}' has a value that is not finite: run it again.")
    return values


def _per_token(logprob: Floats | None, tokens: Floats | None) -> float | None:
    if logprob is None or tokens is None or not tokens.sum() > 0:
        return None
    return math.fsum(logprob) / float(tokens.sum())
