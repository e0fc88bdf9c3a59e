"""`prefbench leaderboard compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import AsJson, Plugin, RunsDir
from prefbench.cli.output import print_json, print_table, warn
from prefbench.cli.plugins import load_and_warn


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="An aligner, a config hash, or a run's folder.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Run, folder or aligner to compare it with.")],
    runs_dir: RunsDir = Path("runs"),
    task: Annotated[str | None, typer.Option(help="Take names from this task only.")] = None,
    minority_ratio: Annotated[
        str | None, typer.Option(help="Take names at this share only: 0.2, 20% or 4:1.")
    ] = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Compare A and B on the same prompts and seeds.

    A folder with several runs of one configuration may stand for them.
    """
    from prefbench.boards.compare import compare_aligners, comparison_rows
    from prefbench.stats.covered import said_of

    load_and_warn(plugin)
    ratio = None
    if minority_ratio is not None:
        from prefbench.spec import parse_ratio

        ratio = parse_ratio(minority_ratio)
    comparison = compare_aligners(first, second, runs_dir, task, ratio)
    if comparison.left_out:
        warn(f"only one of the two has seed {', '.join(map(str, comparison.left_out))}: not compared")
    if as_json:
        print_json(comparison.to_dict())
    else:
        print_table(*comparison_rows(comparison))
        if said := said_of(len(comparison.seeds)):
            print(said)
