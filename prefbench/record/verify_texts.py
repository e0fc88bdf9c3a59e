"""Facts that follow from a run's texts alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prefbench.evaluate.texts import count_nonwords
from prefbench.problem.problem import Problem
from prefbench.record.schema import LATER_VERSION, Record
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


def lexicon_differs(items: pd.DataFrame, record: Record, problem: Problem) -> list[str]:
    """Disagreements with the task's lexicon; a record of an older version has nothing to disagree with."""
    if record.schema_version < LATER_VERSION:
        return []
    if (problem.world is None) != (record.text is not None):
        return ["text is there for a world, or missing where responses are texts"]
    if record.text is None:
        return []
    wrong = []
    for prefix in ("", "reference_"):
        counted = items[f"{prefix}nonwords"].to_numpy(dtype=np.float64)
        if problem.lexicon is None:
            differing = int((~np.isnan(counted)).sum())
        else:
            found = count_nonwords(items[f"{prefix}response"].tolist(), problem.lexicon)
            differing = int((counted != found).sum())
        if differing:
            wrong.append(f"{prefix}nonwords is not what the task's lexicon says in {differing} rows")
    return wrong


def empty_differs(table: pd.DataFrame, text: str, flag: str) -> list[str]:
    """A flag of emptiness against the text that it is said of, in words of a complaint."""
    empty = [is_empty(value) for value in table[text].tolist()]
    differing = int((table[flag].to_numpy(dtype=bool) != empty).sum())
    return [f"{flag} does not fit the {text} in {differing} rows"] if differing else []
