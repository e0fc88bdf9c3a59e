"""`prefbench theory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prefbench.cli.options import AsJson, Plugin
from prefbench.cli.output import print_json, print_table
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError


def theory(
    task: Annotated[str, typer.Option(help="A task for the finite model: `prefbench list tasks`.")],
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
    seeds: Annotated[int, typer.Option(metavar="N", help="Worlds to draw, from seed 0 up.")] = 5,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")] = Path("theory"),
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Hold MaxMin-RLHF's impossibility theory against exact numbers.

    Writes theory.csv, theory.png and theory.svg.
    """
    from prefbench.evaluate.theory_sweep import BETAS, verdicts
    from prefbench.evaluate.theory_sweep import summary as summarised
    from prefbench.evaluate.theory_sweep import sweep as gone_through
    from prefbench.report.theory_plot import save_figure
    from prefbench.spec import parse_ratio, parse_sets

    load_and_warn(plugin)
    given = parse_sets(sets or [])
    if given.keys() - {"task"}:
        raise UserError(f"--set {min(given.keys() - {'task'})}...: theory has options of the task only.")
    frame = gone_through(
        task,
        minority_ratios=[parse_ratio(text) for text in minority_ratio] if minority_ratio else None,
        betas=beta or BETAS,
        options=_swept(sweep) if sweep else None,
        sets=given.get("task", {}),
        seeds=seeds,
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
