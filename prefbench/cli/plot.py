"""`prefbench plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from prefbench.cli.names import aligner_names
from prefbench.cli.options import Plugin, RunsDir
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError


def plot(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("figures"),
    fmt: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="png|svg|pdf",
            help="Format of the files. May be repeated.  [default: png]",
        ),
    ] = None,
    aligner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Draw this one. May be repeated.  [default: a readable choice]",
            autocompletion=aligner_names,
        ),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Draw this figure: headline, shares, scatter, gap, kl, training, people, duels, slices or "
            "frontier. May be repeated.  [default: all there is something for]",
        ),
    ] = None,
    width: Annotated[
        Literal["column", "page"],
        typer.Option(help="For one column of text, 3.3 inches, or for a page, 6.9."),
    ] = "column",
    tuned: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Draw what `prefbench tune` tried instead of runs: scores against each option.",
        ),
    ] = None,
    plugin: Plugin = None,
) -> None:
    """Draw the figures of a runs folder for a paper."""
    from prefbench.report.plots import save_figures, save_slices

    load_and_warn(plugin)
    formats = fmt or ["png"]
    if tuned is None:
        files = save_figures(runs_dir, out, formats, aligner, figure, width)
    elif figure is not None:
        raise UserError("--figure is of runs: leave it out with --tuned.")
    else:
        from prefbench.sweep.tuned_slices import tuned_slices

        files = save_slices(tuned_slices(tuned, aligner), out, formats, width)
    print(f"written: {', '.join(map(str, files))}")
