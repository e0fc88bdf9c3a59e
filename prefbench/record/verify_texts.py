"""Facts that follow from a run's texts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefbench.record.schema import Record
from prefbench.text import count_words, is_empty

if TYPE_CHECKING:
    import pandas as pd


def texts_differ(items: pd.DataFrame, record: Record) -> list[str]:
    """Disagreements with the texts alone: words, empty; and no column of a group that is not there."""
    for name in ("prompt", "response", "reference_response"):
        if not all(isinstance(text, str) for text in items[name].tolist()):
            return [f"column {name} of the items is not text"]
    wrong = []
    known = {f"utility/{group.name}" for group in record.groups}
    extra = sorted(name for name in items.columns if str(name).startswith("utility/") and name not in known)
    if extra:
        wrong.append(f"the items have {', '.join(extra)}, the record lacks that group")
    for text, words in (("response", "words"), ("reference_response", "reference_words")):
        counted = [count_words(value) for value in items[text].tolist()]
        differing = int((items[words].to_numpy() != counted).sum())
        if differing:
            wrong.append(f"{words} is not the number of words of {text} in {differing} rows")
    return wrong + empty_differs(items, "response", "empty")


def empty_differs(table: pd.DataFrame, text: str, flag: str) -> list[str]:
    """A flag of emptiness against the text that it is said of, in words of a complaint."""
    empty = [is_empty(value) for value in table[text].tolist()]
    differing = int((table[flag].to_numpy(dtype=bool) != empty).sum())
    return [f"{flag} does not fit the {text} in {differing} rows"] if differing else []
