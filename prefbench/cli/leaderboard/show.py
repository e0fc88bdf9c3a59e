"""`prefbench leaderboard show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from prefbench.errors import UserError


def show(
    file: Annotated[Path, typer.Argument(help="CSV of `leaderboard build`.")] = Path(
        "leaderboard/results.csv"
    ),
    fmt: Annotated[
        Literal["rich", "markdown", "csv"], typer.Option("--format", help="Format to print.")
    ] = "rich",
    people: Annotated[
        bool,
        typer.Option(
            "--people",
            help="Win rates by what is known of people instead, from the file beside: which number of a "
            "person's pairs beats the best single policy, controls, and how evenly people fare.",
        ),
    ] = False,
) -> None:
    """Print a leaderboard."""
    from prefbench.boards.csv_file import read_csv
    from prefbench.boards.people_file import beside, read_people
    from prefbench.boards.people_show import show_people
    from prefbench.boards.show import show

    if people:
        if not beside(file).exists():
            raise UserError(
                f"no '{beside(file)}': `prefbench leaderboard build` writes it where it matters who is "
                "answered, as with task.unseen_annotators or an aligner that sees something of people."
            )
        print(show_people(read_people(beside(file)), fmt))
        return
    print(show(read_csv(file), fmt))
