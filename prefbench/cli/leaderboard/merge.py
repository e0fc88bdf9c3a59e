"""`prefbench leaderboard merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import Large, Plugin
from prefbench.cli.plugins import load_and_warn


def merge(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders made by `leaderboard submit`.")
    ],
    into: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the records, or a packed board.")
    ] = Path("leaderboard/results.zip"),
    large: Large = False,
    plugin: Plugin = None,
) -> None:
    """Take packed runs in, after verifying each.

    Nothing is written if one does not verify, or is already there with other content.
    """
    from prefbench.boards.submission import merge

    load_and_warn(plugin)
    new = merge(folders, into, large=large)
    print(f"{len(new)} {'run' if len(new) == 1 else 'runs'} merged into {into}")
