"""`prefbench sweep`."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import (
    Address,
    AllowHost,
    AllowPlugins,
    AsJson,
    Engine,
    Plugin,
    QuietOption,
    Retries,
    RunsDirOfFile,
    Track,
    Workers,
)
from prefbench.cli.output import print_json, print_table, speaker, warn
from prefbench.cli.plugins import load_and_warn, say_left_out, stance
from prefbench.errors import PrefbenchError, UserError
from prefbench.text import clock, one_line


def sweep(
    file: Annotated[str, typer.Argument(metavar="SWEEP.toml", help="The grid: docs/sweeps.md.")],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List the cells, what they share and how long it may take; no more."),
    ] = False,
    engine: Engine = "local",
    workers: Workers = None,
    address: Address = None,
    retries: Retries = 2,
    runs_dir: RunsDirOfFile = None,
    tuned: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.json", help="Take the options that `prefbench tune` chose; the file's own override."
        ),
    ] = None,
    track: Track = None,
    plugin: Plugin = None,
    allow_plugins: AllowPlugins = False,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
    quiet: QuietOption = False,
) -> None:
    """Run a grid of tasks, aligners, models, ratios, seeds and options.

    What cells share is computed once, and what is done is not repeated: the same command continues a sweep.
    """
    from rich.console import Console

    from prefbench import consent
    from prefbench.sweep import sweep as library
    from prefbench.sweep.file import read_sweep
    from prefbench.sweep.plan import describe, make_plan, plan_lines

    if track is not None and dry_run:
        raise UserError("--track has nothing to tell of a --dry-run: leave one of them out.")
    # A plug-in may print, and standard output belongs to the result.
    with contextlib.redirect_stdout(sys.stderr):
        load_and_warn(None)
        consent.from_command_line(allow_host or [], {})
        chosen = read_sweep(file, plugin or [], stance(dry_run, allow_plugins), tuned)
        specs = chosen.expand()
        for spec in specs:
            consent.check_options(spec.sections(), file)
        folder = Path(runs_dir or chosen.runs_dir or "runs").expanduser()
        job = library.make_job(
            chosen,
            specs,
            folder,
            engine=engine,
            workers=workers,
            retries=retries,
            address=address,
            track=track,
        )
        plan = make_plan(specs, folder)
    say = speaker(quiet, Console(stderr=as_json))
    if dry_run:
        say_left_out(chosen.left_out)
        if as_json:
            print_json(library.to_json(plan, folder))
            return
        print_table(*describe(plan))
        print("\n".join(plan_lines(plan, job)))
        return
    with contextlib.redirect_stdout(sys.stderr):
        for spec in plan.todo:
            consent.announce_options(spec.sections())  # what workers say is not seen
        library.check_data(plan.todo, folder)
        result = library.run_sweep(plan, job, engine, quiet, Console(stderr=True))
    if as_json:
        print_json(library.to_json(plan, folder, result))
    say(
        f"{result.cells} cells: {result.done} run, {result.before} done before, {len(result.failed)} failed, "
        f"in {clock(result.seconds)}"
    )
    if result.untracked:
        warn(
            f"{track} lacks {len(result.untracked)} of {result.cells} cells, or part ({result.untracked[0]})."
        )
    if result.failed:  # also when quiet: the exit code alone does not say which
        print("\n".join(one_line(sentence) for sentence in library.failure_lines(result)), file=sys.stderr)
        raise typer.Exit(PrefbenchError.exit_code)
    say(f"then: prefbench leaderboard build --runs-dir {shlex.quote(str(folder))}")
