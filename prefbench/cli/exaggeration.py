"""`prefbench exaggeration`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.names import aligner_names, task_names
from prefbench.cli.options import AsJson, Plugin, QuietOption, Summary, Workers
from prefbench.cli.output import print_json, print_table
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError
from prefbench.text import one_line


def exaggeration(
    task: Annotated[
        str, typer.Option(help="A task that is a world, drawn anew for each seed.", autocompletion=task_names)
    ],
    aligner: Annotated[
        list[str] | None,
        typer.Option(
            help="May be repeated.  [default: every learner that fits]", autocompletion=aligner_names
        ),
    ] = None,
    minority_ratio: Annotated[str, typer.Option(help="Such as 0.2, 20% or 4:1.")] = "0.2",
    seeds: Annotated[int, typer.Option(metavar="N", help="Worlds to draw, from seed 0 up.")] = 5,
    factor: Annotated[
        list[float] | None,
        typer.Option(help="A factor that groups may report. May be repeated.  [default: -1 0 0.5 2 5]"),
    ] = None,
    reliability: Annotated[
        list[float] | None,
        typer.Option(help="A share of labels that are meant. May be repeated.  [default: 0.9 0.8 0.7]"),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.NAME=VALUE",
            help="An option of the task, of the model or of those aligners that have it. May be repeated.",
        ),
    ] = None,
    workers: Workers = None,
    runs_dir: Annotated[Path, typer.Option(help="Folder of the runs; the same command continues.")] = Path(
        "runs"
    ),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("exaggeration"),
    summary: Summary = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
    quiet: QuietOption = False,
) -> None:
    """Tell what a group, or one annotator in twenty, gains by reporting what it does not want.

    And what labels that nobody meant cost the worst-off group. Writes runs.csv, gains.csv and unreliable.csv.
    """
    import pandas as pd
    from rich.console import Console

    from prefbench.evaluate.exaggeration import gain_table, gains, loss_table, losses
    from prefbench.spec import parse_ratio, parse_sets
    from prefbench.sweep.exaggeration import FACTORS, RELIABILITIES, measured, study
    from prefbench.tools.markdown import table

    load_and_warn(plugin)
    shares = tuple(reliability or RELIABILITIES)
    if not all(0 <= share < 1 for share in shares):
        raise UserError(
            "--reliability is a share of labels that are meant, from 0 to below 1: give one such as 0.9."
        )
    of = study(
        task,
        aligner or (),
        minority_ratio=parse_ratio(minority_ratio),
        seeds=seeds,
        sets=parse_sets(sets or []),
        factors=tuple(factor or FACTORS),
        reliabilities=shares,
    )
    with contextlib.redirect_stdout(sys.stderr):
        frame, failed = measured(
            of, runs_dir, Console(stderr=True), workers=workers, plugins=plugin or (), quiet=quiet
        )
    found, lost = gains(frame), losses(frame)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in ("runs.csv", "gains.csv", "unreliable.csv")]
    for path, rows in zip(files, (frame, pd.DataFrame(found), pd.DataFrame(lost)), strict=True):
        rows.to_csv(path, index=False, float_format="%.6g")
    if summary is not None:
        summary.write_text(f"{table(*gain_table(found))}\n\n{table(*loss_table(lost))}\n")
        files.append(summary)
    print("".join(f"{one_line(line)}\n" for line in failed), end="", file=sys.stderr)
    names = [str(file) for file in files]
    if as_json:
        print_json({"gains": found, "unreliable": lost, "failed": failed, "files": names})
        return
    print_table(
        "Gain from exaggeration: true value V of whoever reports, less that of the truth (docs/strategy.md)",
        *gain_table(found),
    )
    print_table("Labels that nobody meant: the worst-off group's true value V", *loss_table(lost))
    print(f"written: {', '.join(names)}")
