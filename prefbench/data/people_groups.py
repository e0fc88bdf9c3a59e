"""Groups of people who gave labels: by a column, by a table about the people, or clusters.

Clusters are inferred from the labels alone, off the test prompts, and are the same for every seed: linear
rewards on counts of words, one for each cluster (`prefbench/learn/grouping.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.data.annotated import Annotated, Facts
from prefbench.data.comparisons import existing
from prefbench.data.files import read_columns
from prefbench.data.label_source import lacking
from prefbench.errors import UserError
from prefbench.learn import grouping
from prefbench.text import one_line

if TYPE_CHECKING:
    import pandas as pd

CLUSTERS = "clusters"
"""Word for no column of groups: clusters are inferred."""
MOST_NUMBERS = 8
"""Different numbers of a fact up to which each is a group; above it those up to the median are one."""
OTHERS = "others"
"""Name of the people of small groups together."""
RESTARTS = 5
LEAST_LABELS = 2
"""Fewest labels off the test prompts of somebody who is placed in a cluster."""
_KEYS = ("annotator", "annotator_id", "user_id", "worker", "worker_id", "rater_id", "person", "id")


@dataclass(frozen=True)
class Grouped:
    """Labels of people whose group is known."""

    rows: pd.DataFrame
    """Rows of `Annotated`, each with its `group`."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """Origin of the groups and people left out (JSON values)."""
    remarks: Sequence[str] = ()
    """Sentences on people who were left out or put together."""


def facts_in(path: str, key: str | None) -> dict[str, dict[str, object]]:
    """Facts of people from a table with a row for each: fact, id, value.

    Args:
        path: of a parquet, csv or jsonl file.
        key: its column of ids; None for the first that is there of the usual names.

    Raises:
        UserError: it cannot be read, has no such column, or tells two things of one person.
    """
    file = existing(path, "a table of people (parquet, csv or jsonl)")
    columns = read_columns(file, "people")
    column = key or next((name for name in _KEYS if name in columns), "annotator")
    if column not in columns:
        raise lacking(file.name, column, columns, "task.key names the column of ids.")
    found: dict[str, dict[str, object]] = {}
    for name, values in columns.items():
        if name == column:
            continue
        known = found[name] = {}
        for number, (who, value) in enumerate(zip(columns[column], values, strict=True), start=1):
            if who is None or not str(who).strip():
                raise UserError(
                    f"{file.name!r}: row {number} has no {column}: fill it in, or leave the row out."
                )
            person = _text(who)
            if known.setdefault(person, value) != value and value == value:
                raise UserError(
                    f"{file.name!r} has {person!r:.60} twice, as {name} {known[person]!r:.40} and "
                    f"{value!r:.40}: "
                    "keep one row for each person."
                )
    return found


def named_groups(table: Annotated, group: str, facts: Facts, least: int) -> Grouped:
    """Labels of people whose group a column of the labels or a fact tells.

    Args:
        table: the labels.
        group: name of the fact; of a column of the labels the rows have it already.
        facts: what is known of people.
        least: people that a group has to have; those of smaller ones are together.

    Raises:
        UserError: nobody's group is known, or all are of one.
    """
    rows = table.rows
    if rows["group"].isna().all():
        known = _grouping(facts[group])
        rows = rows.assign(group=rows["annotator"].map(known))
    unknown = rows["group"].isna()
    left = int(rows.loc[unknown, "annotator"].nunique()) if table.names_people else int(unknown.sum())
    rows = rows[~unknown]
    remarks = []
    if left:
        what = "people" if table.names_people else "labels"
        remarks.append(f"{left} {what} have no {one_line(group)} and are left out")
    if rows.empty:
        raise UserError(
            f"{table.source!r}: nobody's {one_line(group)!r:.60} is known: name another in task.group."
        )
    by = "annotator" if table.names_people else None
    sizes = rows.groupby("group")[by].nunique() if by else rows.groupby("group").size()
    small = sorted(sizes.index[sizes < least]) if by else []
    if small:
        together = int(sizes[small].sum())
        rows = rows.assign(group=rows["group"].where(~rows["group"].isin(small), OTHERS))
        remarks.append(
            f"{together} people of {len(small)} groups with fewer than {least} are together as '{OTHERS}'"
        )
    names = sorted(set(rows["group"]))
    if len(names) < 2:
        raise UserError(
            f"{table.source!r}: all people are of one group, {names[0]!r:.60}, and two are needed: name "
            "another "
            f"column in task.group, or let clusters be inferred by task.group={CLUSTERS}."
        )
    report = {"groups_by": one_line(group), "without_group": left, "put_together": small}
    return Grouped(rows.reset_index(drop=True), report, remarks)


def inferred_groups(table: Annotated, test: frozenset[str], clusters: int) -> Grouped:
    """Labels of people placed in clusters of those who want the same, by what they say off the test prompts.

    Args:
        table: the labels.
        test: prompts that take no part.
        clusters: their number.

    Raises:
        UserError: nobody is named, or too few people have labels enough.
    """
    if not table.names_people:
        raise UserError(
            f"{table.source!r} has neither annotators nor groups, so that nobody can disagree: name a "
            "column of "
            "one of them, as in task.columns=annotator=MY_COLUMN or task.group=MY_COLUMN."
        )
    seen = table.rows[~table.rows["prompt"].isin(test)]
    count = Counter(seen["annotator"].tolist())
    placed = sorted(who for who, labels in count.items() if labels >= LEAST_LABELS)
    if len(placed) < 2 * clusters:
        raise UserError(
            f"{table.source!r}: {len(placed)} people have {LEAST_LABELS} labels off the test prompts, and "
            f"{clusters} clusters need {2 * clusters}: lower task.clusters, or name a column in task.group."
        )
    seen = seen[seen["annotator"].isin(set(placed))]
    unit = np.searchsorted(np.array(placed), seen["annotator"].to_numpy(dtype=str))
    words = grouping.word_differences(seen["chosen"].tolist(), seen["rejected"].tolist())
    if words is None:
        raise UserError(
            f"{table.source!r}: no two responses share a word, so that no cluster can be inferred: name a "
            "column "
            "in task.group."
        )
    found = grouping.group(
        words, None, unit, clusters, RESTARTS, 0, seen["strength"].to_numpy(dtype=np.float64)
    )
    sizes = np.bincount(found.assignment, minlength=clusters)
    if (sizes == 0).any():
        raise UserError(
            f"{table.source!r}: {clusters} clusters are asked for, and people fall into "
            f"{int((sizes > 0).sum())}: "
            "lower task.clusters, or name a column in task.group."
        )
    rank = np.argsort(np.argsort(-sizes, kind="stable"))
    name_of = {who: f"cluster {rank[k] + 1}" for who, k in zip(placed, found.assignment, strict=True)}
    rows = table.rows.assign(group=table.rows["annotator"].map(name_of))
    rows = rows[rows["group"].notna()].reset_index(drop=True)
    left = table.rows["annotator"].nunique() - len(placed)
    remarks = (
        [f"{left} people gave too few labels to be placed in a cluster and are left out"] if left else []
    )
    report = {"groups_by": CLUSTERS, "clusters": clusters, "without_group": int(left)}
    return Grouped(rows, report, remarks)


def _grouping(values: Mapping[str, object]) -> dict[str, str]:
    """Each one's group from her value of a fact; numbers that are many in halves."""
    stated = {who: value for who, value in values.items() if _text(value)}
    numbers = [_number(value) for value in stated.values()]
    if any(number is None for number in numbers) or len(set(numbers)) <= MOST_NUMBERS:
        return {who: one_line(_text(value))[:60] for who, value in stated.items()}
    known = {who: number for who, number in zip(stated, numbers, strict=True) if number is not None}
    middle = median(known.values())
    return {
        who: f"up to {middle:g}" if number <= middle else f"above {middle:g}" for who, number in known.items()
    }


def _number(value: object) -> float | None:
    try:
        number = (
            float(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
        )
    except ValueError:
        return None
    return number if number is not None and np.isfinite(number) else None


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
