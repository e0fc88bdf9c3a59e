"""Printing what memory and time a run would need."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from prefbench.cli.output import print_json, print_table, warn
from prefbench.text import show_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from prefbench.estimate.estimate import Estimate
    from prefbench.spec import RunSpec


def print_needs(specs: list[RunSpec], hardware: str | None, as_json: bool, runs_dir: Path) -> None:
    """Print the needs of one run of several that differ only in their seeds, and the time of all."""
    from prefbench.estimate.advice import require
    from prefbench.estimate.estimate import estimate, problem_of
    from prefbench.estimate.hardware import HARDWARE, hardware_called, known_hardware
    from prefbench.estimate.setting import shape_of, threads_of, why_unknown
    from prefbench.estimate.tell import hardware_here, here_line
    from prefbench.machine import free_memory
    from prefbench.sweep.plan import make_plan, time_line

    device = hardware_called(hardware) if hardware is not None else None
    spec = specs[0]
    with contextlib.redirect_stdout(sys.stderr):  # a plug-in may print
        problem = problem_of(spec)
    plan = make_plan(specs, runs_dir)
    least, most = plan.spread or (None, None)
    timed = {"least_seconds": least, "most_seconds": most, "timed_elsewhere": list(plan.elsewhere)}
    line = time_line(plan) if device is None else None
    shape = shape_of(spec)
    if shape is None:
        why = why_unknown(spec)
        if as_json:
            print_json({"spec": spec.to_dict(), "estimate": None, "why": why, "past": timed})
        else:
            print("\n".join(filter(None, [why, line])))
        return
    found = estimate(spec, shape, problem)
    present, free = (None, None) if device is not None else free_memory(spec.model_options["device"])
    threads = threads_of(spec)
    if as_json:
        here: dict[str, Any] = {
            "device": present,
            "free_bytes": free,
            "threads": threads,
            "hardware": known_hardware(present or ""),
        }
        known = None if present is None or free is None else hardware_here(present, free, threads)
        if known is not None:
            here |= dict(zip(("least_hours", "most_hours"), found.hours(known), strict=True))
        more = {} if device is not None else {"here": here}
        print_json(
            {"spec": spec.to_dict(), "runs": len(specs), "estimate": found.to_dict(), "past": timed, **more}
        )
    else:
        names = [hardware] if hardware is not None else list(HARDWARE)
        _print_estimate(f"{spec.task}, {spec.aligner}, {spec.model}", found, names)
        if present is not None:
            print(here_line(found, present, free, threads))
        if spec.outside is not None:
            print("The policy itself is not counted: it has a model of its own somewhere, or none.")
        if len(specs) > 1:
            print(f"{len(specs)} seeds: each of them needs this, one after the other.")
        if line is not None:
            print(line)
    if device is not None:
        place = f"{show_bytes(device.memory)} on {hardware}"
        note = require(spec, shape, problem, device.memory, place)
        if note is not None:
            warn(note)


def _print_estimate(title: str, found: Estimate, names: list[str]) -> None:
    from prefbench.estimate import tell

    print_table(title, ["memory", "size", "what"], tell.memory_rows(found))
    print()
    print_table("", ["tokens at most", "sampled", "scored", "trained", "FLOPs"], tell.stage_rows(found))
    print()
    print_table("", ["hardware", "memory", "", "time"], tell.hardware_rows(found, names))
    print("\n" + "\n".join(tell.remarks(found)))
