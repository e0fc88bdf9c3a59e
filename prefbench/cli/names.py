"""Names of tasks, aligners and models, for a shell to complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefbench.registry import EntryKind

Completer = Callable[[str], list[tuple[str, str]]]
"""From the beginning of a word to words that it may become, each with what a shell says of it."""


def _names(*kinds: EntryKind) -> Completer:
    def completed(incomplete: str) -> list[tuple[str, str]]:
        from prefbench.registry import entries, load_plugins

        load_plugins()
        found = [entry for kind in kinds for entry in entries(kind)]
        return [(entry.name, entry.summary) for entry in found if entry.name.startswith(incomplete)]

    return completed


task_names = _names("task")
aligner_names = _names("aligner")
model_names = _names("model")
checked_names = _names("task", "aligner")
shown_names = _names("task", "aligner", "model", "policy")
