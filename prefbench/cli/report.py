"""`prefbench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import Plugin, RunsDir
from prefbench.cli.plugins import load_and_warn


def report(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page to write.")] = Path("report.html"),
    prompts: Annotated[
        int,
        typer.Option(min=0, help="Prompts whose responses can be read, for each task, ratio and seed."),
    ] = 12,
    plugin: Plugin = None,
) -> None:
    """Make a page of a runs folder: one file that needs no server and no network."""
    from prefbench.report.page import write_page

    load_and_warn(plugin)  # to tell options from defaults
    size = write_page(runs_dir, out, prompts)
    print(f"{out} written, {size / 1e6:.1f} MB: open it in a browser")
