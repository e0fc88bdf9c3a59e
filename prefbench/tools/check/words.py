"""Checks of what tasks and aligners say of themselves."""

from __future__ import annotations

from prefbench.registry import Entry
from prefbench.tools.check.findings import Checks


def check_words(checks: Checks, entry: Entry) -> None:
    """The docstring and the descriptions of options."""
    checks.that(
        "has a docstring, whose first line is its summary",
        lambda: None if entry.summary.strip() else "write one: `prefbench list` shows its first line.",
    )
    checks.that("every option says what it means", lambda: _undescribed(entry))


def _undescribed(entry: Entry) -> str | None:
    silent = [
        name for name, field in entry.options.model_fields.items() if not (field.description or "").strip()
    ]
    if not silent:
        return None
    how = "Field(description=...)" if entry.kind == "task" else "a docstring under it"
    return f"{', '.join(silent)} without a description: give it {how}."
