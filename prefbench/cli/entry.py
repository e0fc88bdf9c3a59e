"""The command line: a table of commands, each of which parses what was typed and calls a library function.

Nothing heavy is imported before a command needs it, so that help and lists come at once and bad
input is refused before anything is loaded or written.
"""

from __future__ import annotations

import functools
import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from prefbench import __version__
from prefbench.cli.cache.gc import gc
from prefbench.cli.cache.ls import ls
from prefbench.cli.cache.verify import verify as verify_cache
from prefbench.cli.catch import Commands
from prefbench.cli.check import check_
from prefbench.cli.compare_models import compare_models
from prefbench.cli.completion import ASKED_BY, PROGRAM, completion, know_shells
from prefbench.cli.doctor import doctor
from prefbench.cli.evaluate import evaluate
from prefbench.cli.exaggeration import exaggeration
from prefbench.cli.examples import ExampleCommand, WholeGroup
from prefbench.cli.export import export
from prefbench.cli.gate import gate
from prefbench.cli.leaderboard.build import build
from prefbench.cli.leaderboard.compare import compare
from prefbench.cli.leaderboard.frontier import frontier
from prefbench.cli.leaderboard.merge import merge
from prefbench.cli.leaderboard.pack import pack
from prefbench.cli.leaderboard.show import show as show_board
from prefbench.cli.leaderboard.submit import submit
from prefbench.cli.leaderboard.verify import verify as verify_board
from prefbench.cli.list import list_
from prefbench.cli.new import new
from prefbench.cli.plot import plot
from prefbench.cli.report import report
from prefbench.cli.run import run
from prefbench.cli.schema import schema
from prefbench.cli.show import show
from prefbench.cli.sweep import sweep
from prefbench.cli.theory import theory
from prefbench.cli.tune import tune
from prefbench.cli.view import view
from prefbench.errors import UserError

app = typer.Typer(
    name=PROGRAM,
    cls=Commands,
    help="Alignment under disagreement: who wins, and who is left behind.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help comes faster, and a bracket in it is a bracket
    context_settings={"help_option_names": ["-h", "--help"]},
)
leaderboard = typer.Typer(
    cls=WholeGroup,
    help="Every configuration over its seeds, with intervals and ranks.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
cache = typer.Typer(
    cls=WholeGroup,
    help="Stages that runs share and continue from: look at them, check them, clear them away.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

COMMANDS: Mapping[typer.Typer, Mapping[str, Callable[..., None]]] = {
    app: {
        "run": run,
        "evaluate": evaluate,
        "sweep": sweep,
        "tune": tune,
        "list": list_,
        "show": show,
        "check": check_,
        "new": new,
        "export": export,
        "gate": gate,
        "compare": compare,
        "compare-models": compare_models,
        "report": report,
        "view": view,
        "plot": plot,
        "theory": theory,
        "exaggeration": exaggeration,
        "doctor": doctor,
        "schema": schema,
        "completion": completion,
    },
    leaderboard: {
        "build": build,
        "show": show_board,
        "compare": compare,
        "frontier": frontier,
        "verify": verify_board,
        "submit": submit,
        "merge": merge,
        "pack": pack,
    },
    cache: {"ls": ls, "verify": verify_cache, "gc": gc},
}
"""Every command by the group that it is in and its name there, in the order in which help lists them.

`compare` is of the leaderboard, and in the first group as well, where it is looked for."""

app.add_typer(leaderboard, name="leaderboard")
app.add_typer(cache, name="cache")
for group, commands in COMMANDS.items():
    for name, command in commands.items():
        group.command(name, cls=ExampleCommand)(command)


@functools.cache
def program() -> Any:
    """The whole command line as typer makes it: once, however many commands a process is given."""
    return typer.main.get_command(app)


def main() -> None:
    """Entry point of the `prefbench` command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name need not fit the terminal's encoding
    if ASKED_BY in os.environ:
        know_shells()
    program()(prog_name=PROGRAM)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"prefbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print it and leave.")
    ] = False,
) -> None:
    """Options of the command itself."""
    if sys.platform == "win32":
        raise UserError("Windows is not supported: take Linux or macOS, or the Windows Subsystem for Linux.")
