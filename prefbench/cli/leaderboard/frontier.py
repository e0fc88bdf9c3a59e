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

    From runs that differ in nothing but their strength, such as those of a sweep file with `strengths`. A
    second file, FILE-points.csv, has a row for each strength, with the gains of true utility and of the
    learned rewards.
    """
    from prefbench.boards.csv_file import write_csv
    from prefbench.boards.frontier import frontier_frame, frontiers_of, not_drawn, points_frame
    from prefbench.boards.rows import load_rows
    from prefbench.text import one_line

    load_and_warn(plugin)
    found = frontiers_of(load_rows(runs_dir))
    frame = frontier_frame(found)
    if frame.empty:
        raise UserError(
            f"no aligner in '{runs_dir}' has whole rows of two strengths: run a sweep file with "
            "strengths = 6."
        )
    points = out.with_name(f"{out.stem}-points{out.suffix}")
    write_csv(frame, out)
    write_csv(points_frame(found), points)
    for board, names in not_drawn(found).items():
        missing = f"no curve of {' and '.join(names)} to compare with"
        print(f"{one_line(board)}: {missing}: add them to the sweep's aligners")
    count = f"{len(frame)} {'frontier' if len(frame) == 1 else 'frontiers'}"
    print(f"{count} written to {out}, the figures along them to {points}")
