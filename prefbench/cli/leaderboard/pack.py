"""`prefbench leaderboard pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pack(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUNS_DIR...", help="Folders of runs, or boards packed before.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.zip", help="The file to write.")],
) -> None:
    """Pack the runs of one folder or more into one file, with nothing in it that names this machine.

    Prompts and reference responses that runs share are stored once. Every command reads the file in the place
    of the folder; the same runs give the same bytes. Boards that were packed
    before may be among the sources, so that a board can grow.
    """
    from prefbench.boards.pack import pack
    from prefbench.text import show_bytes

    made = pack(sources, out)
    print(f"{made.runs} {'run' if made.runs == 1 else 'runs'} packed into {out}, {show_bytes(made.size)}")
