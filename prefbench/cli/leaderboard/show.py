"""`prefbench leaderboard show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def show(
    file: Annotated[Path, typer.Argument(help="CSV of `leaderboard build`.")] = Path(
        "leaderboard/results.csv"
    ),
    fmt: Annotated[
        Literal["rich", "markdown", "csv"], typer.Option("--format", help="Format to print.")
    ] = "rich",
) -> None:
    """Print a leaderboard."""
    from prefbench.boards.csv_file import read_csv
    from prefbench.boards.show import show

    print(show(read_csv(file), fmt))
