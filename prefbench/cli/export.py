"""`prefbench export`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import AllowHost, Plugin, QuietOption, RunsDir
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError


def export(
    task: Annotated[str, typer.Option(help="One of `prefbench list tasks`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the data.")],
    model: Annotated[
        str | None, typer.Option(help="Model that writes the responses.  [default: nano, or the task's own]")
    ] = None,
    data: Annotated[
        str, typer.Option(help="Data that the task understands: `prefbench show TASK`.")
    ] = "synthetic",
    minority_ratio: Annotated[
        str, typer.Option(help="Share of annotators in the minority: 0.2, 20% or 4:1.")
    ] = "0.2",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.NAME=VALUE", help="An option of the task or the model. May be repeated."
        ),
    ] = None,
    votes: Annotated[
        bool,
        typer.Option(
            "--votes",
            help="One row for each pair, with the share of its votes as strength, where several annotators "
            "label it.",
        ),
    ] = False,
    runs_dir: RunsDir = Path("runs"),
    push: Annotated[
        str | None,
        typer.Option(
            metavar="USER/NAME",
            help="Also send it to this data set on the Hugging Face hub, private unless --public.",
        ),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: for everybody to see.")] = False,
    plugin: Plugin = None,
    allow_host: AllowHost = None,
    quiet: QuietOption = False,
) -> None:
    """Write the preference data itself: TRL-ready parquet files with a card.

    What a run in the same runs folder has labelled is not labelled again.
    """
    from rich.console import Console

    from prefbench import consent
    from prefbench.report import live
    from prefbench.report.hush import hush
    from prefbench.spec import parse_sets
    from prefbench.tools.export import export, export_spec
    from prefbench.tools.export import push as send

    if public and push is None:
        raise UserError("--public says how to --push, which is missing.")
    load_and_warn(plugin)
    typed = parse_sets(sets or [])
    keys = consent.from_command_line(allow_host or [], typed)
    spec = export_spec(
        task=task,
        model=model,
        data=data,
        minority_ratio=minority_ratio,
        seed=seed,
        sets=typed,
    )
    consent.check_options(spec.sections())
    consent.give_keys(keys, spec.sections())
    hush()
    out = out.expanduser()
    with (
        contextlib.redirect_stdout(sys.stderr),
        live.reporter(quiet, Console(stderr=True)) as reporter,
    ):
        rows = export(spec, out, runs_dir.expanduser(), reporter, votes=votes)
    if not quiet:
        print(f"written: {out} ({', '.join(f'{n} {split}' for split, n in rows.items())})")
    if push is not None:
        address = send(out, push, public)
        print(f"pushed: {address} ({'public' if public else 'private'})")
