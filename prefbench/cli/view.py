"""`prefbench view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import Plugin, RunsDir
from prefbench.cli.output import warn
from prefbench.cli.plugins import load_and_warn


def view(
    runs_dir: RunsDir = Path("runs"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")
    ] = 0,
    plugin: Plugin = None,
) -> None:
    """Show the page of a runs folder in a browser of this machine, and keep it up to date while runs go on.

    It is served to this machine alone, and to nobody else on its network. Ctrl-C ends it.
    """
    from prefbench.report.view import serve

    load_and_warn(plugin)  # to tell options from defaults
    serve(runs_dir, port, lambda text: print(text, flush=True), warn)
