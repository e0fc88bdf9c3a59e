"""`prefbench gate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import AsJson, Junit, RunsDir, Summary
from prefbench.cli.output import print_json
from prefbench.text import one_line


def gate(
    baseline: Annotated[Path, typer.Option(metavar="FILE.csv", help="CSV of `leaderboard build`.")] = Path(
        "leaderboard/results.csv"
    ),
    runs_dir: RunsDir = Path("runs"),
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=MARGIN]",
            help="worst_group, minority, majority or mean, each with _win_rate, or group/NAME. May be "
            "repeated.  [default: minority_win_rate]",
        ),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(help="The drop that is tolerated where --metric names none: 0.03 is three points."),
    ] = 0.03,
    level: Annotated[
        float,
        typer.Option(help="Chance of a false alarm, over all rows and metrics together, seeds included."),
    ] = 0.05,
    strict: Annotated[
        bool, typer.Option("--strict", help="Close also for undecided rows and for those not run again.")
    ] = False,
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="Stay open where not one check held or fell.")
    ] = False,
    prompts_only: Annotated[
        bool,
        typer.Option(
            "--prompts-only",
            help="Judge these very policies, with one seed too: the spread between seeds is left out.",
        ),
    ] = False,
    baseline_runs: Annotated[
        Path | None, typer.Option(help="The runs behind the baseline, to compare prompt by prompt.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="GATE.toml",
            help="A file with level, strict, allow_undecided, prompts_only and tables [[check]]. What is "
            "given on the command line counts instead.",
        ),
    ] = None,
    summary: Summary = None,
    junit: Junit = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs with a published leaderboard.

    Exit 1 if a result fell by more than the margin, or if nothing was decided: one seed on a side decides
    nothing of a method.
    """
    from prefbench.boards.gate import gate
    from prefbench.boards.gate_file import LEVEL, read_gate_file
    from prefbench.boards.gate_output import junit_xml, summary_markdown, write_junit, write_summary
    from prefbench.config import Check

    checks: list[Check] = []
    if config is not None:
        said = read_gate_file(config)
        checks = [] if metric else said.check
        level = said.level if said.level is not None and level == LEVEL else level
        strict = strict or bool(said.strict)
        allow_undecided = allow_undecided or bool(said.allow_undecided)
        prompts_only = prompts_only or bool(said.prompts_only)
    report = gate(
        baseline,
        runs_dir,
        metric,
        margin,
        level,
        strict,
        baseline_runs,
        checks,
        allow_undecided,
        prompts_only,
    )
    if summary is not None:
        write_summary(summary_markdown(report), summary)
    if junit is not None:
        write_junit(junit_xml(report), junit)
    if as_json:
        print_json(report.to_dict())
    else:
        print("\n".join(one_line(sentence) for sentence in report.sentences))
    if report.exit_code:
        raise typer.Exit(report.exit_code)
