"""Labels by people: who preferred what, cleaned, each person's word there once and other people's kept.

Two people who contradict each other are what is to be measured, so both stay. Of one person who contradicts
herself on a pair nothing of that pair stays.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prefbench.data.comparisons import encodable, tuples, unordered
from prefbench.data.conversation import response_of
from prefbench.errors import UserError
from prefbench.text import text_digest

if TYPE_CHECKING:
    import pandas as pd

TIE = 0.5
"""Strength of a label that prefers neither response."""
Facts = Mapping[str, Mapping[str, object]]
"""Facts of people: from the name of a fact to a value for each id; None or empty where it is not known."""


class Label(NamedTuple):
    """One person's word on one pair."""

    prompt: str
    chosen: str
    rejected: str
    annotator: str | None
    """Her id; None where the table names nobody."""
    strength: float = 1.0
    """Probability, or share of votes, that the chosen response is the better one, in [0, 1]."""
    group: str | None = None
    """Her group, where the table has a column of it."""


@dataclass(frozen=True)
class Terms:
    """Terms of a published data set, and what follows for whoever publishes rows of it."""

    name: str
    licence: str
    publish: str
    """One sentence."""

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.name}: {self.licence}. {self.publish}"


@dataclass(frozen=True)
class Annotated:
    """Cleaned labels, and what is known of those who gave them."""

    source: str
    """Source that the user named: a source's word, or the file's or folder's own name."""
    rows: pd.DataFrame
    """Columns `prompt, chosen, rejected, annotator, strength, group`; no strength is below one half."""
    facts: Facts
    report: Mapping[str, Any]
    """Counts of labels read, and of those left out with the reason (JSON values)."""
    terms: Terms | None = None

    @property
    def names_people(self) -> bool:
        """True if it is known who gave which label."""
        return bool(self.rows["annotator"].notna().any())

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all labels."""
        return text_digest(str(cell) for row in self.rows.itertuples(index=False) for cell in row)


@dataclass(frozen=True)
class Read:
    """Labels and facts as a reader of one layout finds them."""

    labels: Sequence[Label]
    facts: Facts = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Numbers of rows that the reader left out, by reason."""
    terms: Terms | None = None


def annotated(source: str, read: Read) -> Annotated:
    """Labels without those that compare nothing, that are repeated, or that their own giver contradicts.

    Raises:
        UserError: nothing is left, or only some rows name an annotator.
    """
    import pandas as pd

    rows = pd.DataFrame([_usual(label) for label in read.labels], columns=Label._fields)
    counts = {"labels": len(rows), **read.left_out}

    def drop(reason: str, gone: Sequence[bool]) -> None:
        nonlocal rows
        counts[reason] = sum(gone)
        rows = rows[[not each for each in gone]]

    texts = ("prompt", "chosen", "rejected")
    drop("without_text", [not all(map(str.strip, row)) for row in tuples(rows, *texts)])
    drop("same_response", [a.strip() == b.strip() for a, b in tuples(rows, "chosen", "rejected")])
    named = rows["annotator"].notna()
    if named.any() and not named.all():
        raise UserError(
            f"{source!r} names an annotator in {int(named.sum())} of {len(rows)} rows: fill in the others, "
            "or "
            "leave them out."
        )
    if named.any():  # two rows that nobody signed may be two people's
        drop("repeated", rows.duplicated(["annotator", *texts]).tolist())
        pairs = [(who, *unordered(*row)) for who, *row in tuples(rows, "annotator", *texts)]
        times = Counter(pairs)
        drop("contradicts_herself", [times[pair] > 1 for pair in pairs])
    if rows.empty:
        raise UserError(f"{source!r} holds no usable label on two different responses: name another table.")
    return Annotated(
        source, rows.reset_index(drop=True), read.facts, {"source": source, "read": counts}, read.terms
    )


def _usual(label: Label) -> Label:
    """A label whose better response comes first, in texts that can be stored."""
    prompt, chosen, rejected = encodable(label.prompt), encodable(label.chosen), encodable(label.rejected)
    chosen, rejected = response_of(chosen), response_of(rejected)
    if label.strength >= TIE:
        return label._replace(prompt=prompt, chosen=chosen, rejected=rejected)
    return label._replace(prompt=prompt, chosen=rejected, rejected=chosen, strength=1 - label.strength)


def facts_of(
    people: Iterable[tuple[str, Mapping[str, object]]], missing: frozenset[str]
) -> dict[str, dict[str, object]]:
    """Facts by name, of rows that each tell some of one person's; her first stated value counts.

    Args:
        people: her id, and facts by name.
        missing: texts that stand for no value.
    """
    found: dict[str, dict[str, object]] = {}
    for who, told in people:
        for name, value in told.items():
            known = found.setdefault(name, {})
            if (
                value is None
                or value != value
                or (isinstance(value, str) and (not value.strip() or value in missing))
            ):
                continue
            known.setdefault(who, value)
    return found


def coverage(table: Annotated) -> list[str]:
    """Sentences on what these labels cannot tell: too few labels of one pair, or of one person."""
    texts = [unordered(*row) for row in tuples(table.rows, "prompt", "chosen", "rejected")]
    shared = sum(count > 1 for count in Counter(texts).values())
    said = []
    if not shared:
        said.append("no pair was labelled twice, so that how far people contradict each other cannot be told")
    if table.names_people:
        each = Counter(table.rows["annotator"].tolist())
        once = sum(count == 1 for count in each.values())
        if once == len(each):
            said.append("everybody gave one label, so that nobody's own wishes can be learned or measured")
        elif 2 * once > len(each):
            said.append(
                f"{once} of {len(each)} people gave one label, of whom nothing of their own can be learned"
            )
    else:
        said.append("nobody is named, so that people cannot be told apart: annotators are made up")
    return said
