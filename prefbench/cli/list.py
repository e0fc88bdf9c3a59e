"""`prefbench list`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from prefbench.cli.entries import listed, summary_of
from prefbench.cli.options import AsJson, Plugin
from prefbench.cli.output import print_json, print_table
from prefbench.cli.plugins import load_and_warn

if TYPE_CHECKING:
    from prefbench.registry import EntryKind


def list_(
    what: Annotated[
        Literal["tasks", "aligners", "models", "policies"], typer.Argument(help="Things to list.")
    ],
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """List what is installed."""
    from prefbench.registry import entries

    load_and_warn(plugin)
    kinds: dict[str, EntryKind] = {
        "tasks": "task",
        "aligners": "aligner",
        "models": "model",
        "policies": "policy",
    }
    found = entries(kinds[what])
    if as_json:
        print_json([summary_of(entry) for entry in found])
        return
    middle = {"task": "provides", "aligner": "needs"}.get(kinds[what], "options")
    # What a policy is told of people matters where one is told anything.
    sees = any(entry.sees for entry in found)
    rows = []
    for entry in found:
        options = str(len(entry.options.model_fields))
        shown = {"task": listed(entry.provides), "aligner": listed(entry.needs)}.get(entry.kind, options)
        name = f"{entry.name}@{entry.version}" if entry.kind == "task" else entry.name
        rows.append([name, shown, *([listed(entry.sees)] if sees else []), entry.summary])
    print_table("", [kinds[what], middle, *(["sees"] if sees else []), "summary"], rows)
