"""`prefbench compare-models`."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from prefbench.cli.options import (
    AllowHost,
    AllowPlugins,
    AsJson,
    Junit,
    Plugin,
    QuietOption,
    RunsDir,
    Summary,
)
from prefbench.cli.output import print_json
from prefbench.cli.plugins import load_and_warn
from prefbench.text import one_line


def compare_models(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The model in use, as KIND:SOURCE.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The one that is to take its place, likewise.")],
    groups: Annotated[
        Path, typer.Option(metavar="FILE.toml", help="Wishes of the groups: docs/compare-models.md.")
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Prompts: JSONL, JSON, CSV, parquet or lines.  [default: those of OLD's responses]",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Responses to each prompt.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is sampled.")] = 0,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SIDE.NAME=VALUE",
            help="An option of a side's kind, such as old.temperature=0.7 or new.model=NAME: `prefbench show "
            "KIND`. May be repeated.",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Share below one half that is tolerated, of groups that name none.  [default: the file's, "
            "else 0.03]"
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(help="Chance of a false alarm, over all groups.  [default: the file's, else 0.05]"),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 also if a group cannot be told.")
    ] = False,
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="Exit with 0 where no group held or lost.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Also write a page with the responses that lost.")
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Also write every comparison: prompt, responses, outcomes."),
    ] = None,
    summary: Summary = None,
    junit: Junit = None,
    runs_dir: RunsDir = Path("runs"),
    plugin: Plugin = None,
    allow_plugins: AllowPlugins = False,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
    quiet: QuietOption = False,
) -> None:
    """Compare two models for groups that want different things.

    No task, no annotators, no training. Exit 1 if a group is served worse by more than its margin, or if
    nothing was decided.
    """
    from rich.console import Console

    from prefbench import consent
    from prefbench.api.models import compare_models
    from prefbench.boards.gate_output import write_junit, write_summary
    from prefbench.boards.models_output import (
        HEADER,
        models_junit,
        models_markdown,
        models_rows,
        models_sentences,
        models_title,
    )
    from prefbench.cli.output import print_table
    from prefbench.report import live
    from prefbench.report.hush import hush
    from prefbench.report.models_page import write_models_page
    from prefbench.spec import parse_sets, typed_address
    from prefbench.store.files import write_atomically

    load_and_warn(plugin)
    typed = parse_sets(sets or [])
    addressed: dict[str, Any] = {}
    for side, source in (("old", old), ("new", new)):
        addressed[side] = typed.get(side, {}) | typed_address(source)["--policy"]
    consent.from_command_line(allow_host or [], addressed)
    hush()
    with (
        contextlib.redirect_stdout(sys.stderr),
        live.reporter(quiet, Console(stderr=True)) as reporter,
    ):
        found = compare_models(
            old,
            new,
            groups=groups,
            prompts=prompts,
            samples=samples,
            seed=seed,
            sets=typed,
            margin=margin,
            level=level,
            strict=strict or None,
            allow_undecided=allow_undecided or None,
            allow_plugins=allow_plugins,
            runs_dir=runs_dir,
            reporter=reporter,
        ).statistics
    if page is not None:
        write_models_page(found, page)
    if items is not None:
        lines = (json.dumps(item, ensure_ascii=False, allow_nan=False) for item in found.items())
        write_atomically(items, "".join(f"{line}\n" for line in lines))
    if summary is not None:
        write_summary(models_markdown(found), summary)
    if junit is not None:
        write_junit(models_junit(found), junit)
    if as_json:
        print_json(found.to_dict())
    else:
        print_table(models_title(found), list(HEADER), models_rows(found))
        print("\n".join(one_line(sentence) for sentence in models_sentences(found)))
    if found.exit_code:
        raise typer.Exit(found.exit_code)
