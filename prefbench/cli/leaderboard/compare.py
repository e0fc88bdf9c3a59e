"""`prefbench leaderboard compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from prefbench.cli.names import aligner_names, task_names
from prefbench.cli.options import AsJson, Plugin, RunsDir
from prefbench.cli.output import print_json, print_table, warn
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError
from prefbench.text import one_line

_Shown = Literal["table", "markdown", "latex", "csv", "html", "json"]


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="A B",
            help="Two to compare: an aligner, a config hash, a run's folder or a folder of runs each. With "
            "--matrix any number of aligners and hashes, or none for all of the board.",
            autocompletion=aligner_names,
        ),
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    task: Annotated[
        str | None, typer.Option(help="Take names from this task only.", autocompletion=task_names)
    ] = None,
    minority_ratio: Annotated[
        str | None, typer.Option(help="Take names at this share only: 0.2, 20% or 4:1.")
    ] = None,
    matrix: Annotated[
        bool,
        typer.Option("--matrix", help="Every two policies of a board head to head, for each group."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="With --matrix: also write a row for each duel.")
    ] = None,
    fmt: Annotated[
        Literal["table", "markdown", "latex", "csv", "html"],
        typer.Option("--format", help="Format to print; csv has all digits."),
    ] = "table",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME", help="Columns, as the table or the CSV names them. May be repeated."
        ),
    ] = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Compare A and B on the same prompts and seeds.

    A folder with several runs of one configuration may stand for them.
    """
    load_and_warn(plugin)
    ratio = None
    if minority_ratio is not None:
        from prefbench.spec import parse_ratio

        ratio = parse_ratio(minority_ratio)
    if as_json and fmt != "table":
        raise UserError(f"--json and --format {fmt}: choose one of them.")
    if matrix:
        if columns is not None:
            raise UserError("--columns goes with two to compare: leave it out with --matrix.")
        _matrix(names or [], runs_dir, task, ratio, out, "json" if as_json else fmt)
        return
    if out is not None:
        raise UserError("--out goes with --matrix, which is missing: add it, or leave --out out.")
    if names is None or len(names) != 2:
        raise UserError("name two to compare, or give --matrix for every two of a board.")
    _pair(names, runs_dir, task, ratio, "json" if as_json else fmt, columns)


def _pair(
    names: list[str],
    runs_dir: Path,
    task: str | None,
    ratio: float | None,
    fmt: _Shown,
    columns: list[str] | None,
) -> None:
    from prefbench.boards.compare import compare_aligners
    from prefbench.boards.compare_show import comparison_table, comparison_text
    from prefbench.stats.covered import said_of

    comparison = compare_aligners(names[0], names[1], runs_dir, task, ratio)
    if comparison.left_out:
        warn(f"only one of the two has seed {', '.join(map(str, comparison.left_out))}: not compared")
    if fmt == "json":
        print_json(comparison.to_dict())
        return
    if fmt != "table":
        print(comparison_text(comparison, fmt, columns))
        return
    print_table(*comparison_table(comparison, columns), names_break=True)
    if said := said_of(len(comparison.seeds)):
        print(said)


def _matrix(
    names: list[str],
    runs_dir: Path,
    task: str | None,
    ratio: float | None,
    out: Path | None,
    fmt: _Shown,
) -> None:
    from prefbench.boards.compare_show import matrix_text
    from prefbench.boards.csv_file import write_csv
    from prefbench.boards.matrix import duels_frame, head_to_head, matrix_heading, matrix_tables
    from prefbench.boards.rows import load_rows
    from prefbench.stats.covered import said_of

    found = head_to_head(load_rows(runs_dir), names, task, ratio)
    for said in found.left_out:
        warn(f"left out {said}")
    if out is not None:
        write_csv(duels_frame(found), out)
    if fmt == "json":
        print_json(found.to_dict())
        return
    if fmt != "table":
        print(matrix_text(found, fmt))
        return
    print(one_line(matrix_heading(found)))
    for table in matrix_tables(found):
        print_table(*table)
    if few := said_of(len(found.seeds)):
        print(few)
