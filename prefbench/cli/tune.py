"""`prefbench tune`."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.names import aligner_names
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
    Workers,
)
from prefbench.cli.output import print_json, print_table, speaker
from prefbench.cli.plugins import load_and_warn, say_left_out, stance
from prefbench.errors import PrefbenchError

if TYPE_CHECKING:
    from prefbench.sweep.tuned import Tuned


def tune(
    file: Annotated[str, typer.Argument(metavar="TUNE.toml", help="The problem: docs/tuning.md.")],
    aligner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Tune this aligner alone and add it to the result that is there. May be repeated.",
            autocompletion=aligner_names,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="The result.  [default: the file's name with .tuned.json]"),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be tried, and what it costs at most; no more."),
    ] = False,
    engine: Engine = "local",
    workers: Workers = None,
    address: Address = None,
    retries: Retries = 2,
    runs_dir: RunsDirOfFile = None,
    plugin: Plugin = None,
    allow_plugins: AllowPlugins = False,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
    quiet: QuietOption = False,
) -> None:
    """Try the same number of configurations of each aligner and choose on validation prompts.

    Options are drawn from what aligners declare, and no test prompt is looked at. `run` and `sweep` take the
    result with --tuned. The same command continues.
    """
    from rich.console import Console

    from prefbench import consent
    from prefbench.sweep import tuning as library
    from prefbench.sweep import tuning_budget as budget
    from prefbench.sweep.extending import extended, result_path, result_to_extend
    from prefbench.sweep.plan import plan_lines
    from prefbench.sweep.sweep import check_data, make_job
    from prefbench.sweep.tune_file import read_tune
    from prefbench.sweep.tuned import write_tuned
    from prefbench.sweep.tuning_result import result_of

    # A plug-in may print, and standard output belongs to the result.
    with contextlib.redirect_stdout(sys.stderr):
        load_and_warn(None)
        consent.from_command_line(allow_host or [], {})
        chosen = read_tune(file, plugin or [], stance(dry_run, allow_plugins), aligner or [])
        searches = library.begin(chosen)
        specs = [candidate.specs[0] for search in searches for candidate in search.candidates]
        for spec in specs:
            consent.check_options(spec.sections(), file)
        folder = Path(runs_dir or chosen.file.runs_dir or "runs").expanduser()
        job = make_job(
            chosen.sweep, specs, folder, engine=engine, workers=workers, retries=retries, address=address
        )
        target = out or result_path(file)
        before = result_to_extend(target, chosen)
        budgets = [budget.budget_of(search) for search in searches]
    say = speaker(quiet, Console(stderr=as_json))
    if dry_run:
        say_left_out(chosen.left_out)
        plan = library.plan_of(specs, folder)
        if as_json:
            print_json({"runs_dir": str(folder), "aligners": [budget.budget_json(each) for each in budgets]})
            return
        print_table(*budget.budget_rows(budgets))
        print("\n".join(["the first rung:", *plan_lines(plan, job)]))
        return
    with contextlib.redirect_stdout(sys.stderr):
        for spec in specs:
            consent.announce_options(spec.sections())  # what workers say is not seen
        check_data(specs, folder)
        library.tune_all(searches, job, engine, quiet, Console(stderr=True), say)
        tuned = extended(before, result_of(chosen, searches, job.runs_dir))
        write_tuned(tuned, target)
    if as_json:
        print_json(tuned.model_dump(mode="json"))
    elif not quiet:
        _print_choice(tuned)
    say(f"then: prefbench sweep SWEEP.toml --tuned {shlex.quote(str(target))}")
    without = [each.name for each in tuned.aligners if not each.chosen]
    if without:
        print(f"no configuration ended well: {', '.join(without)}", file=sys.stderr)
        raise typer.Exit(PrefbenchError.exit_code)


def _print_choice(tuned: Tuned) -> None:
    from prefbench.sweep.extending import choice_rows

    print_table(*choice_rows(tuned))
