"""`prefbench check`."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated, Any

import typer

from prefbench.cli.entries import options_of
from prefbench.cli.names import checked_names, task_names
from prefbench.cli.options import AllowHost, AsJson, Plugin
from prefbench.cli.output import print_json, warn
from prefbench.text import one_line

_STATUSES = ("passed", "warned", "failed", "left out")


def check_(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE.py",
            help="Name of a task or an aligner, or a file.",
            autocompletion=checked_names,
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            help="Try an aligner on this task.  [default: tiny ones made for the purpose]",
            autocompletion=task_names,
        ),
    ] = None,
    data: Annotated[str, typer.Option(help="Data that the task reads.")] = "synthetic",
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.NAME=VALUE", help="An option, as of `prefbench run`. May be repeated."
        ),
    ] = None,
    plugin: Plugin = None,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
) -> None:
    """Check that a task or an aligner keeps its contract.

    A file's tasks and aligners are all checked. Exit 1 if anything failed.
    """
    from prefbench import consent
    from prefbench.report.hush import hush
    from prefbench.spec import parse_sets
    from prefbench.tools.check.check import check, find
    from prefbench.tools.check.findings import Finding

    given, plugins = parse_sets(sets or []), plugin or []
    keys = consent.from_command_line(allow_host or [], given)
    with contextlib.redirect_stdout(sys.stderr):  # what a plug-in prints is not part of the report
        entries, broken = find(what, plugins)
    if keys:
        usual: dict[str, dict[str, Any]] = {}
        for entry in entries:
            defaults = {option["name"]: option["default"] for option in options_of(entry)}
            usual[entry.kind] = usual.get(entry.kind, {}) | defaults
        consent.give_keys(keys, {kind: names | given.get(kind, {}) for kind, names in usual.items()})
    for left_out, reason in broken.items():
        warn(f"plug-in {left_out} is left out, it failed to import: {reason}")
    hush()
    files = [*plugins, *([what] if what.endswith(".py") else [])]
    report: list[dict[str, Any]] = []
    screen = sys.stdout

    def tell(finding: Finding) -> None:
        if not as_json:
            detail = f": {one_line(finding.detail)}" if finding.detail else ""
            print(f"  {finding.status:<9} {one_line(finding.words)}{detail}", file=screen, flush=True)

    for entry in entries:
        if not as_json:
            print(f"{entry.kind} {entry.name}", flush=True)
        with contextlib.redirect_stdout(sys.stderr):
            found = check(entry, task=task, data=data, sets=given, plugins=files, tell=tell)
        report += [{"kind": entry.kind, "name": entry.name, **vars(finding)} for finding in found]
    counts = {status: sum(row["status"] == status for row in report) for status in _STATUSES}
    if as_json:
        print_json({"findings": report, **{status.replace(" ", "_"): n for status, n in counts.items()}})
    else:
        print(", ".join(f"{n} {status}" for status, n in counts.items() if n))
    if counts["failed"]:
        raise typer.Exit(1)
