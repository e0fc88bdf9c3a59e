"""`prefbench cache ls`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from prefbench.cli.options import AsJson, RunsDir
from prefbench.cli.output import print_json, print_table
from prefbench.text import one_line, show_age, show_bytes


def ls(
    runs_dir: RunsDir = Path("runs"),
    runs: Annotated[
        bool, typer.Option("--runs", help="Also name each stage and the runs that rest on it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List stored stages by kind, with their number, size and age."""
    from prefbench.tools.cache import overview, stages, users

    rows = overview(runs_dir)
    used = users(runs_dir) if runs else {}
    single: list[dict[str, Any]] = [
        {
            "stage": f"{stage.kind}/{stage.path.name}",
            "bytes": stage.size,
            "seconds_old": max(0.0, time.time() - stage.made),
            "runs": used.get(stage.path, []),
        }
        for stage in (stages(runs_dir) if runs else [])
    ]
    if as_json:
        print_json({"kinds": rows, **({"stages": single} if runs else {})})
        return
    table = [
        [
            row["stage"],
            str(row["count"]),
            show_bytes(row["bytes"]),
            f"{row['unfinished']} ({show_bytes(row['unfinished_bytes'])})" if row["unfinished"] else "",
            show_age(row["oldest_seconds"]),
            show_age(row["newest_seconds"]),
        ]
        for row in rows
    ]
    print_table("", ["stage", "stored", "size", "unfinished", "oldest", "newest"], table)
    for row in single:
        names = ", ".join(row["runs"]) or "no run that is known"
        print(
            f"{row['stage']}  {show_bytes(row['bytes'])}  {show_age(row['seconds_old'])}  {one_line(names)}"
        )
    print(f"{sum(row['count'] for row in rows)} stages, {show_bytes(sum(row['bytes'] for row in rows))}")
