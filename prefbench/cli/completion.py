"""`prefbench completion`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

PROGRAM = "prefbench"
ASKED_BY = "_PREFBENCH_COMPLETE"
"""Environment variable by which a shell asks how a word may go on, in typer's protocol."""


def completion(
    context: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Shell to complete in.")],
) -> None:
    """Print the lines that make a shell complete prefbench's commands, options and names.

    Nothing is written: a line in the shell's start-up file takes what it prints.
    """
    from typer.completion import shell_complete

    know_shells()
    shell_complete(context.find_root().command, {}, PROGRAM, ASKED_BY, f"source_{shell}")


def know_shells() -> None:
    """Tell typer of the shells, which it does not know of a program that installs no completion itself."""
    from typer.completion import get_completion_inspect_parameters

    get_completion_inspect_parameters()  # of typer's own options, which begins with that
