"""`prefbench leaderboard build`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import Plugin, RunsDir
from prefbench.cli.plugins import load_and_warn
from prefbench.text import one_line


def build(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(help="The CSV file to write.")] = Path("leaderboard/results.csv"),
    plugin: Plugin = None,
) -> None:
    """Make the leaderboard of a runs folder.

    Where it matters who is answered, a second file, OUT-people.csv, has win rates by what is known of people.
    """
    from prefbench.boards.csv_file import write_csv
    from prefbench.boards.people_file import beside, people_frame
    from prefbench.boards.people_show import people_boards
    from prefbench.boards.rows import load_rows
    from prefbench.boards.table import frame_of, missing_controls

    load_and_warn(plugin)  # to tell options from defaults
    rows = load_rows(runs_dir)
    frame, people = frame_of(rows), people_frame(rows)
    write_csv(frame, out)
    for sentence in missing_controls(frame):
        print(f"warning: {one_line(sentence)}")
    print(f"{len(frame)} {'row' if len(frame) == 1 else 'rows'} written to {out}")
    if len(people):
        for board in people_boards(people):
            for sentence in board.failed:
                print(f"warning: {one_line(board.title)}: {one_line(sentence)}")
        write_csv(people, beside(out))
        print(
            f"people's written to {beside(out)}: prefbench leaderboard show {shlex.quote(str(out))} --people"
        )
    elif beside(out).exists():
        print(f"warning: {beside(out)} is of other runs: in these nobody is told apart")
