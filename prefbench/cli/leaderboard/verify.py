"""`prefbench leaderboard verify`."""

from __future__ import annotations

import secrets
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import Large, Plugin, RunsDir
from prefbench.cli.plugins import load_and_warn
from prefbench.text import one_line


def verify(
    runs_dir: RunsDir = Path("runs"),
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Also check that its rows, and those of FILE-people.csv, follow from the runs.",
        ),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Build the problems of only N runs, drawn at random."),
    ] = None,
    rerun: Annotated[
        int, typer.Option(min=0, metavar="N", help="Compute N runs, drawn at random, anew and compare them.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of both draws; else a new one, which is printed.")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Also build problems whose options name files or data to fetch.")
    ] = False,
    large: Large = False,
    plugin: Plugin = None,
) -> None:
    """Compute records, and a leaderboard's rows, again from their evidence.

    Problems are built from the specifications, utilities computed from the texts, runs held against each
    other. Exit 1 if one does not follow, is too large to be checked, or none could be checked.
    """
    from prefbench.boards.people_file import beside
    from prefbench.boards.verify import runs_in, verify_board
    from prefbench.boards.verify_csv import verify_csv, verify_people_csv
    from prefbench.record.fields import unchecked_lines
    from prefbench.report.hush import hush
    from prefbench.tools.rerun import draw
    from prefbench.tools.rerun import rerun as computed_anew

    load_and_warn(plugin)
    chosen = secrets.randbelow(2**32) if seed is None else seed
    found = verify_board(runs_in(runs_dir), sample=sample, seed=chosen, fetch=fetch, large=large)
    rows = {} if csv is None else {csv: verify_csv(csv, runs_dir)}
    if csv is not None and beside(csv).exists():
        rows[beside(csv)] = verify_people_csv(beside(csv), runs_dir)
    lines = [(run.folder.name, said) for run in found for said in run.wrong]
    lines += [(run.folder.name, f"odd: {said}") for run in found for said in run.odd]
    lines += [(run.folder.name, f"not checked: {said}") for run in found for said in run.unchecked]
    lines += [(name, said) for of in rows.values() for name, sentences in of.items() for said in sentences]
    for name, said in lines:
        print(f"{one_line(name)}: {one_line(said)}")
    right = sum(not (run.wrong or run.absent or run.too_large) for run in found)
    print(f"{right} of {len(found)} records follow from their evidence")
    absent = sum(run.absent and not run.wrong for run in found)
    if absent:
        print(f"{absent} are of a plug-in that is not here and were checked in part")
    too_large = sum(run.too_large and not run.wrong for run in found)
    if too_large:
        print(f"{too_large} have a problem that was not built for its size and were checked in part")
    partly = sum(run.unbuilt is not None and not run.wrong for run in found) - too_large
    if partly:
        print(f"{partly} of those that follow have a problem that is not built here and were checked in part")
    if sample is not None and sample < len(found):
        print(f"problems were built for {sample} of them, drawn with --seed {chosen}")
    for file, of in rows.items():
        good = sum(not wrong for wrong in of.values())
        print(f"{good} of {len(of)} rows of {file} follow from the runs")
    differ = done = 0
    if rerun:
        hush()
        print(f"computed anew, drawn with --seed {chosen}:")
        drawn, passed = draw(found, rerun, chosen, fetch=fetch, large=large)
        checks = Counter[str]()
        for again in chain(passed, computed_anew(drawn, found, fetch=fetch)):
            differ += bool(again.wrong)
            said = again.said
            if again.how is not None:
                checks[again.how] += 1
                said = f"{'; '.join(again.wrong) or 'the same'} ({again.said})"
            print(f"  {one_line(again.folder.name)}: {one_line(said)}")
        done = checks.total()
        ways = f"{checks['texts']} compared text by text, {checks['figures']} by figures"
        print(f"{done - differ} of {done} runs are the same computed anew: {ways}")
    for line in unchecked_lines():
        print(f"not checked of any record: {line}")
    if (
        any(run.wrong for run in found)
        or any(any(of.values()) for of in rows.values())
        or differ
        or too_large
        or not right
    ):
        raise typer.Exit(1)
    if rerun and not done:  # what was asked for has decided nothing
        raise typer.Exit(1)
