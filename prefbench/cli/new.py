"""`prefbench new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from prefbench.cli.options import Plugin
from prefbench.cli.plugins import load_and_warn


def new(
    kind: Annotated[
        Literal["task", "three-group-task", "aligner", "reward-aligner", "personal-aligner"],
        typer.Argument(
            help="Kind of plug-in to begin: a task of two groups or of three; an aligner that learns from "
            "pairs as DPO does, one of rewards and PPO, or one with a policy for each person."
        ),
    ],
    called: Annotated[str, typer.Argument(metavar="NAME", help="Name of it, which is also the file's.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the new file.")] = Path(),
    plugin: Plugin = None,
) -> None:
    """Write a small task or aligner that already passes `prefbench check`."""
    from prefbench.registry import placed
    from prefbench.tools.scaffold import new

    load_and_warn(plugin)
    path = new(kind, called, out.expanduser())
    shown = shlex.quote(str(path))
    usual = next((entry.name for entry in placed("aligner", None) if not entry.needs), "ALIGNER")
    example = (
        f"--task {called} --aligner {usual}" if kind.endswith("task") else f"--task TASK --aligner {called}"
    )
    print(f"written: {path}")
    print(f"check it with: prefbench check {shown}")
    print(f"   run it with: prefbench run --plugin {shown} {example}")
