"""`prefbench doctor`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from prefbench.cli.options import AsJson
from prefbench.cli.output import print_json, print_table
from prefbench.text import one_line


def doctor(
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Measure and report; leave what is stored as it is.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure this machine, say what is wrong with it, and store how many threads and workers suit it.

    `run` and `sweep` then take as many. It needs about 20 seconds, best while nothing else runs.
    """
    from dataclasses import asdict

    from prefbench.tools import doctor as library

    print("measuring this machine for half a minute", file=sys.stderr)
    system = library.look()
    machine = library.measure(system)
    found = library.problems(system, machine)
    if as_json:
        here = asdict(system) | {"fingerprint": system.fingerprint.model_dump()}
        print_json({"system": here, "machine": machine.model_dump(mode="json"), "problems": found})
    else:
        for header, rows in library.tables(system, machine):
            print_table("", header, rows)
            print()
        print("\n".join(library.advice(machine)))
        print("\n".join(f"problem: {one_line(sentence)}" for sentence in found) or "no problems found")
    if not no_store:
        path = library.save(machine)
        if not as_json:
            print(f"stored for run and sweep: {path}")
