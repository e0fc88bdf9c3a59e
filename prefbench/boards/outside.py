"""Rows of policies from outside, in words."""

from __future__ import annotations

from prefbench.record.schema import Record

NOT_VERIFIED = "not verified"
"""The needs of a policy that was trained where nobody here saw what it was shown."""
OUTSIDE_NOTE = (
    "outside: trained elsewhere, so that what it needed is not verified; it is one policy and not ranked, "
    "and its intervals are over prompts only: training it again is in none of them"
)
"""Note on how to read such rows."""


def outside_cell(record: Record) -> str:
    """The origin of a record's policy, as its row says it; nothing of one that a run trained."""
    said = record.spec.get("outside")
    if not isinstance(said, dict):
        return ""
    trainer, link = (str(said[name]) if said.get(name) else "" for name in ("trainer", "link"))
    words = f"trained outside{' by ' if trainer else ''}{trainer}: needs {NOT_VERIFIED}"
    return f"{words} ({link})" if link else words
