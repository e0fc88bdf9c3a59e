"""`prefbench leaderboard show`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from prefbench.cli.names import aligner_names, model_names, task_names
from prefbench.cli.options import Plugin
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError


def show(
    file: Annotated[
        Path, typer.Argument(help="CSV of `leaderboard build`, a runs folder, or a packed board.")
    ] = Path("leaderboard/results.csv"),
    fmt: Annotated[
        Literal["table", "markdown", "latex", "csv", "html"],
        typer.Option("--format", help="Format to print; csv has all digits."),
    ] = "table",
    task: Annotated[
        str | None,
        typer.Option(help="Rows of this task only, NAME or NAME@VERSION.", autocompletion=task_names),
    ] = None,
    aligner: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Rows of this aligner or config hash only. May be repeated.",
            autocompletion=aligner_names,
        ),
    ] = None,
    minority_ratio: Annotated[
        str | None, typer.Option(help="Rows at this share only: 0.2, 20% or 4:1.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Rows of this model only.", autocompletion=model_names)
    ] = None,
    data: Annotated[str | None, typer.Option(help="Rows on these data only.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Columns, of those that are shown or of the CSV. May be repeated.  [default: a choice]",
        ),
    ] = None,
    rank_by: Annotated[
        str | None,
        typer.Option(
            metavar="MEASURE",
            help="Rank by worst_group_win_rate, minority_win_rate, majority_win_rate, mean_win_rate, "
            "worst_group_cross_fitted or egalitarian_regret instead; of runs, not of a CSV.",
        ),
    ] = None,
    people: Annotated[
        bool,
        typer.Option(
            "--people",
            help="Win rates by what is known of people instead, from the file beside: which number of a "
            "person's pairs beats the best single policy, controls, and how evenly people fare.",
        ),
    ] = False,
    plugin: Plugin = None,
) -> None:
    """Print a leaderboard, for a terminal or for a paper."""
    from prefbench.boards.choose import chosen_rows
    from prefbench.boards.read import leaderboard_at, people_at
    from prefbench.boards.show import show
    from prefbench.spec import parse_ratio

    load_and_warn(plugin)
    ratio = None if minority_ratio is None else parse_ratio(minority_ratio)
    chosen = partial(
        chosen_rows, task=task, aligners=aligner or (), minority_ratio=ratio, model=model, data=data
    )
    if people:
        from prefbench.boards.people_show import show_people

        if columns is not None or rank_by is not None:
            raise UserError("--columns and --rank-by are of the board: leave them out with --people.")
        print(show_people(chosen(people_at(file)), fmt))
        return
    frame = chosen(leaderboard_at(file, rank_by))
    if rank_by is not None and frame["rank"].isna().all():
        raise UserError(
            f"no row can be ranked by {rank_by}: it is unknown of them, or none is whole"
            ": choose another measure with --rank-by."
        )
    print(show(frame, fmt, columns=columns, rank_by=rank_by))
