"""`prefbench leaderboard build`."""

from __future__ import annotations

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
    """Make the leaderboard of a runs folder."""
    from prefbench.boards.csv_file import write_csv
    from prefbench.boards.table import build, missing_controls

    load_and_warn(plugin)  # to tell options from defaults
    frame = build(runs_dir)
    write_csv(frame, out)
    for sentence in missing_controls(frame):
        print(f"warning: {one_line(sentence)}")
    print(f"{len(frame)} {'row' if len(frame) == 1 else 'rows'} written to {out}")
