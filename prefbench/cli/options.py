"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Plugin = Annotated[
    list[str] | None,
    typer.Option("--plugin", metavar="FILE.py", help="Also load tasks, aligners or models from this file."),
]
AllowPlugins = Annotated[
    bool,
    typer.Option("--allow-plugins", help="Also run the plug-ins that the file names, which are code."),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="HOST[=VARIABLE]",
        help="A server off this machine that may be sent prompts and responses, and the environment variable "
        "with its key. May be repeated.",
    ),
]
Policy = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="KIND:SOURCE",
        help="A policy from outside in an aligner's place: folder:PATH, responses:FILE, server:URL, or of "
        "another kind of `prefbench list policies`.",
    ),
]
Large = Annotated[
    bool,
    typer.Option(
        "--large", help="Also build problems more than ten times the usual size, of runs you trust."
    ),
]
Track = Annotated[
    Literal["trackio", "wandb"] | None,
    typer.Option(
        "--track",
        help="Also tell this tracker options, training curves and the record's figures; no texts, no people.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Say nothing unless something goes wrong.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder of the runs, or a packed board.")]
RunsDirOfFile = Annotated[
    str | None,
    typer.Option("--runs-dir", help="Folder of stages and records.  [default: the file's, else runs]"),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Processes of this machine, or a Ray cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="auto|HOST:PORT",
        help="Address of the Ray cluster.  [default: a Ray of this machine alone]",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, metavar="N", help="Runs at a time, at most.  [default: as many as fit]"),
]
Retries = Annotated[
    int, typer.Option("--retries", min=0, metavar="N", help="Restarts of a run whose worker died.")
]
Summary = Annotated[
    Path | None,
    typer.Option(metavar="FILE.md", help="Also write GitHub-flavoured markdown; $GITHUB_STEP_SUMMARY fits."),
]
Junit = Annotated[Path | None, typer.Option(metavar="FILE.xml", help="Also write JUnit XML.")]
