"""`prefbench leaderboard frontier`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import Plugin, RunsDir
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError


def frontier(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="The CSV file to write.")] = Path(
        "frontier.csv"
    ),
    plugin: Plugin = None,
) -> None:
    """Write each aligner's worst group at 1, 2, 4 and 8 nats, and its mean over log KL.

    From runs that differ in nothing but their strength, such as those of a sweep file with `strengths`.
    """
    from prefbench.boards.csv_file import write_csv
    from prefbench.boards.frontier import frontier_frame
    from prefbench.boards.rows import load_rows

    load_and_warn(plugin)
    frame = frontier_frame(load_rows(runs_dir))
    if frame.empty:
        raise UserError(
            f"no aligner in '{runs_dir}' has whole rows of two strengths: run a sweep file with "
            "strengths = 6."
        )
    write_csv(frame, out)
    print(f"{len(frame)} {'frontier' if len(frame) == 1 else 'frontiers'} written to {out}")
