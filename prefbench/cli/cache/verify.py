"""`prefbench cache verify`."""

from __future__ import annotations

from pathlib import Path

import typer

from prefbench.cli.options import RunsDir
from prefbench.text import one_line


def verify(runs_dir: RunsDir = Path("runs")) -> None:
    """Compare every stored file with its checksum.

    Exit 1 if one is damaged; the next run that needs it computes it again.
    """
    from prefbench.tools.cache import verify

    total = wrong = 0
    for stage, found in verify(runs_dir):
        total += 1
        wrong += bool(found)
        for sentence in found:
            print(f"{stage.kind}/{stage.path.name}: {one_line(sentence)}")
    print(f"{total - wrong} of {total} stages are whole")
    if wrong:
        raise typer.Exit(1)
