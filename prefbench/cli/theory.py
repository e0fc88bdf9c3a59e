"""`prefbench theory`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.names import task_names
from prefbench.cli.options import AsJson, Plugin
from prefbench.cli.output import print_json, print_table
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


def theory(
    task: Annotated[
        str,
        typer.Option(help="A task for the finite model: `prefbench list tasks`.", autocompletion=task_names),
    ],
    minority_ratio: Annotated[
        list[str] | None,
        typer.Option(
            help="May be repeated.  [default: 0.05 0.1 0.2 0.35 0.5, as far as the number of groups allows]"
        ),
    ] = None,
    beta: Annotated[
        list[float] | None,
        typer.Option(
            help="KL weight, in log odds of a label per nat. May be repeated.  [default: 0.1 0.2 0.5 1.0]"
        ),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=V1,V2,...",
            help="Go through values of a task option. May be repeated.  [default: diversity from 0.05 to 1, "
            "where the task has it]",
        ),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="task.NAME=VALUE", help="A task option that stays. May be repeated."),
    ] = None,
    personal: Annotated[
        bool,
        typer.Option(
            "--personal",
            help="The worth of a user's own labelled pairs instead: the best worst group that any method can "
            "reach with them (docs/personal.md). One minority ratio  [default: 0.2]; no --beta, no --sweep.",
        ),
    ] = False,
    contexts: Annotated[
        int | None,
        typer.Option(metavar="N", help="Users of each group to simulate for --personal.  [default: 1000]"),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Worlds to draw, from seed 0 up.  [default: 5, and 1 with --personal]"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("theory"),
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Hold MaxMin-RLHF's impossibility theory against exact numbers.

    Writes theory.csv, theory.png and theory.svg; with --personal, personal.csv, personal.png and
    personal.svg.
    """
    from prefbench.evaluate.context_curve import CONTEXTS, curves
    from prefbench.evaluate.theory_sweep import BETAS, verdicts
    from prefbench.evaluate.theory_sweep import summary as summarised
    from prefbench.evaluate.theory_sweep import sweep as gone_through
    from prefbench.report.theory_plot import save_figure
    from prefbench.spec import parse_ratio, parse_sets

    load_and_warn(plugin)
    given = parse_sets(sets or [])
    if given.keys() - {"task"}:
        raise UserError(
            f"--set {min(given.keys() - {'task'})}...: theory has options of the task only"
            "; write task.NAME=VALUE."
        )
    ratios = [parse_ratio(text) for text in minority_ratio or []]
    if personal:
        if beta or sweep or len(ratios) > 1:
            raise UserError(
                "--personal goes through a user's pairs, at one minority ratio and the task's own KL weight: "
                "leave --beta and --sweep out (--set task.beta=... sets it)."
            )
        _personal(
            curves(
                task,
                minority_ratio=ratios[0] if ratios else 0.2,
                sets=given.get("task", {}),
                seeds=1 if seeds is None else seeds,
                contexts=CONTEXTS if contexts is None else contexts,
            ),
            out,
            as_json,
        )
        return
    if contexts is not None:
        raise UserError("--contexts belongs to --personal: give both or neither.")
    frame = gone_through(
        task,
        minority_ratios=ratios or None,
        betas=beta or BETAS,
        options=_swept(sweep) if sweep else None,
        sets=given.get("task", {}),
        seeds=5 if seeds is None else seeds,
    )
    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / "theory.csv", index=False)
    files = [out / "theory.csv", *save_figure(frame, out)]
    bounds, words = summarised(frame), verdicts(frame)
    names = [str(file) for file in files]
    if as_json:
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        print_json({"bounds": bounds, "verdicts": words, "rows": rows, "files": names})
        return
    print_table(
        "How near each bound is: its lower side over its upper one (docs/theory.md says what they are)",
        ["bound", "held", "median", "largest"],
        [
            [
                bound["bound"],
                f"{bound['held']}/{bound['instances']}",
                *("" if ratio is None else f"{ratio:.2g}" for ratio in (bound["median"], bound["largest"])),
            ]
            for bound in bounds
        ],
    )
    print("\n".join([*words, f"written: {', '.join(names)}"]))


def _personal(frame: pd.DataFrame, out: Path, as_json: bool) -> None:
    """Write and print the curve of a user's pairs."""
    from prefbench.evaluate.context_curve import over_worlds, verdict
    from prefbench.report.personal_plot import save_figure

    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / "personal.csv", index=False)
    names = [str(file) for file in (out / "personal.csv", *save_figure(frame, out))]
    table = over_worlds(frame)
    said = verdict(table)
    if as_json:
        rows, means = (
            part.astype(object).where(part.notna() & (part != math.inf), None).to_dict("records")
            for part in (frame, table)
        )
        print_json({"verdict": said, "means": means, "rows": rows, "files": names})
        return
    print(said)
    priors = [name for name in table.columns if name.startswith("prior/")]
    worlds = frame["seed"].nunique()
    print_table(
        "The worst group's value V at n pairs of a user, with one standard error of the simulation"
        f"{f'; means over {worlds} worlds' if worlds > 1 else ''} (docs/personal.md says what it is)",
        ["n", "best of all", "of the room", "least favourable prior", "prior = shares"],
        [
            [
                "limit" if math.isinf(row["pairs"]) else f"{row['pairs']:.0f}",
                f"{row['value']:.3f} ± {row['value_se']:.3f}",
                "" if math.isnan(row["of_room"]) else f"{row['of_room']:.0%}",
                " ".join(f"{row[name]:.2f}" for name in priors),
                f"{row['shares_value']:.3f} ± {row['shares_value_se']:.3f}",
            ]
            for row in table.to_dict("records")
        ],
    )
    print(f"Largest duality gap {table['gap'].max():.1e}.\nwritten: {', '.join(names)}")


def _swept(items: list[str]) -> dict[str, list[str]]:
    """`--sweep diversity=0.1,0.5` items as `{"diversity": ["0.1", "0.5"]}`."""
    result = {}
    for item in items:
        name, equals, values = item.partition("=")
        listed = [value.strip() for value in values.split(",")]
        if not (equals and name.strip() and all(listed)):
            raise UserError(f"--sweep {item}: write it as NAME=V1,V2,... such as diversity=0.1,0.5.")
        result[name.strip().removeprefix("task.")] = listed
    return result
