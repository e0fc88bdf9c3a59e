"""`prefbench plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from prefbench.cli.options import Plugin, RunsDir
from prefbench.cli.plugins import load_and_warn


def plot(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("figures"),
    fmt: Annotated[
        Literal["png", "svg", "pdf"], typer.Option("--format", help="Format of the files.")
    ] = "png",
    aligner: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Draw this one. May be repeated.  [default: a readable choice]"),
    ] = None,
    plugin: Plugin = None,
) -> None:
    """Draw the figures of a runs folder for a paper."""
    from prefbench.report.plots import save_figures

    load_and_warn(plugin)
    files = save_figures(runs_dir, out, fmt, aligner)
    print(f"written: {', '.join(map(str, files))}")
