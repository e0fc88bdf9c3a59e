"""`prefbench show`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefbench.cli.entries import listed, options_of, searched, summary_of
from prefbench.cli.names import shown_names
from prefbench.cli.options import AsJson, Plugin
from prefbench.cli.output import print_json, print_table
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError
from prefbench.text import show_bytes

if TYPE_CHECKING:
    from prefbench.registry import EntryKind


def show(
    *,
    kind: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[task|aligner|model|policy]",
            help="Kind of the entry, where several have this name.",
            show_default=False,
            autocompletion=shown_names,
        ),
    ] = None,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Name of a task, an aligner, a model or a kind of policies.",
            autocompletion=shown_names,
        ),
    ],
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Show what NAME is and its options.

    NAME is a task, an aligner, a model or a kind of policies from outside; after the word model it may be a
    folder or a hub id. A model is shown with its size and what a default run would need.
    With --json a list, as a task and an aligner may have the same name.
    """
    from prefbench.registry import BACKBONES, entries, suggest_entry

    load_and_warn(plugin)
    kinds = _kinds(kind or [])
    everything = [entry for each in kinds for entry in entries(each)]
    found = [entry for entry in everything if entry.name == name]
    if not found and kinds == ("model",):
        from prefbench.spec import get_model

        found = [get_model(name)]
    if not found:
        what = kinds[0] if len(kinds) == 1 else "task, aligner, model or kind of policies"
        raise UserError(f"no {what} is called '{name}'.{suggest_entry(name, (e.name for e in everything))}")
    if as_json:
        print_json(
            [
                {**summary_of(entry), "doc": entry.doc, "options": options_of(entry)}
                | ({"search": searched(entry)} if entry.kind == "aligner" else {})
                | (_size_of(name) if entry.kind == "model" else {})
                for entry in found
            ]
        )
        return
    for entry in found:
        version = f"@{entry.version}" if entry.kind == "task" else ""
        print(f"{entry.kind} {entry.name}{version}  ({entry.function.__module__})\n\n{entry.doc}\n")
        if entry.kind == "task":
            print(f"provides: {listed(entry.provides)}")
            print(f"data: {'of its own unless --data names others' if entry.own_data else 'named by --data'}")
            print(f"model: {BACKBONES[entry.backbone]} unless --model says otherwise")
        if entry.kind == "policy":
            print(f"named: --policy {entry.name}:SOURCE")
        if entry.kind == "aligner":
            print(f"needs: {listed(entry.needs)}")
            print(f"sees: {listed(entry.sees)}")
            print(f"backbones: {listed(entry.backbones)}")
        rows = [
            [f"{entry.kind}.{option['name']}", _default(option), option["type"], option["doc"]]
            for option in options_of(entry)
        ]
        if rows:
            print_table("", ["option (--set)", "default", "type", "meaning"], rows)
        else:
            print("no options")
        space = [[f"aligner.{row['name']}", row["from"], listed(row["backbones"])] for row in searched(entry)]
        if space:
            print()
            print_table("", ["searched (prefbench tune)", "drawn from", "backbones"], space)
        if entry.kind == "model":
            _print_size(name)


def _kinds(given: list[str]) -> tuple[EntryKind, ...]:
    kinds: tuple[EntryKind, ...] = ("task", "aligner", "model", "policy")
    if not given:
        return kinds
    if len(given) > 1 or given[0] not in kinds:
        raise UserError(f"show {' '.join(given)}: before the name may stand one of {', '.join(kinds)}.")
    return tuple(kind for kind in kinds if kind == given[0])


def _size_of(model: str) -> dict[str, Any]:
    """Shape, parameters and the needs of a default run, as JSON values; all none where they are not known."""
    import dataclasses

    from prefbench.estimate.estimate import example

    spec, found = example(model)
    return {
        "shape": None if found is None else dataclasses.asdict(found.setting.shape),
        "parameters": None if found is None else found.parameters,
        "example": None if spec is None or found is None else {"spec": spec.to_dict(), **found.to_dict()},
    }


def _print_size(model: str) -> None:
    """The size of a model and the needs of a default run, printed."""
    from prefbench.estimate.estimate import example
    from prefbench.estimate.tell import hardware_rows, shape_line

    spec, found = example(model)
    if spec is None or found is None:
        return
    run = f"--task {spec.task} --aligner {spec.aligner} --model {shlex.quote(model)}"
    print(
        f"{shape_line(found.setting.shape)}\n\n"
        f"prefbench run {run} takes {show_bytes(found.peak)} of a GPU's memory and at most:"
    )
    print_table("", ["hardware", "memory", "", "time"], hardware_rows(found))
    print("With --dry-run it says what that is made of.")


def _default(option: Mapping[str, Any]) -> str:
    if option["required"]:
        return "(required)"
    value = option["default"]
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)
