"""`prefbench cache gc`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import RunsDir
from prefbench.text import one_line, show_bytes


def gc(
    runs_dir: RunsDir = Path("runs"),
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Also remove stages made longer ago than this, such as 30d or 12h."),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also remove stages of this kind, such as policy."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what killed processes left behind, and stages if asked to.

    Records stay. What somebody is working on stays. A killed run whose unfinished stage is removed starts
    that stage anew.
    """
    from prefbench.tools.cache import gc, parse_age

    age = parse_age(older_than) if older_than is not None else None
    swept = gc(runs_dir, older_than=age, stage=stage, dry_run=dry_run)
    verb = "would remove" if dry_run else "removed"
    for name in swept.removed:
        print(f"{verb} {one_line(name)}")
    for sentence in swept.kept:
        print(f"kept {one_line(sentence)}")
    print(f"{'would free' if dry_run else 'freed'} {show_bytes(swept.freed)} in {len(swept.removed)} places")
