"""`prefbench leaderboard submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import Large, Plugin
from prefbench.cli.plugins import load_and_warn


def submit(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Runs, or folders with runs.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder, or a .zip file, for the packed runs.")],
    large: Large = False,
    plugin: Plugin = None,
) -> None:
    """Pack runs for a pull request, with nothing in them that names this machine.

    Every run is verified first; nothing is written unless all pass.
    """
    from prefbench.boards.sending import how_to_send
    from prefbench.boards.submission import submit

    load_and_warn(plugin)
    packed = submit(runs, out, large=large)
    print(f"{len(packed)} {'run' if len(packed) == 1 else 'runs'} packed into {out}")
    print("\n".join(how_to_send(out)))
