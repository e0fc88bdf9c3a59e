"""`prefbench evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prefbench.cli.names import model_names, task_names
from prefbench.cli.options import AllowHost, AsJson, Plugin, Policy, QuietOption
from prefbench.errors import PrefbenchError, UserError

USUAL: dict[str, Any] = {"data": "synthetic", "minority_ratio": "0.2", "seed": 0, "runs_dir": Path("runs")}
"""Defaults of the options that say what is measured; the command to compare with leaves them out."""


def evaluate(
    task: Annotated[str, typer.Option(help="One of `prefbench list tasks`.", autocompletion=task_names)],
    policy: Policy = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the policy in tables.  [default: its source's own]")
    ] = None,
    trainer: Annotated[
        str | None, typer.Option(help="Trainer, a person or a program, in a few words.")
    ] = None,
    link: Annotated[
        str | None, typer.Option(metavar="URL", help="Address where more of it is to be read.")
    ] = None,
    write_prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Write the test prompts with their prompt_id, to be answered elsewhere, and do no more.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model of the reference policy.  [default: nano, or the task's own]",
            autocompletion=model_names,
        ),
    ] = None,
    data: Annotated[str, typer.Option(help="Data that the task understands: `prefbench show TASK`.")] = USUAL[
        "data"
    ],
    minority_ratio: Annotated[
        str, typer.Option(help="Share of annotators in the minority: 0.2, 20% or 4:1.")
    ] = USUAL["minority_ratio"],
    seed: Annotated[int, typer.Option(help="Seed of everything random, the test prompts among it.")] = USUAL[
        "seed"
    ],
    runs_dir: Annotated[Path, typer.Option(help="Folder of stages and records.")] = USUAL["runs_dir"],
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.NAME=VALUE",
            help="An option of the task, policy, model or evaluate section. May be repeated.",
        ),
    ] = None,
    plugin: Plugin = None,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a policy that was trained elsewhere, group by group, against a task's reference policy.

    The policy is a folder of weights, a table of responses or a server (`prefbench list policies`). Its row
    on the leaderboard is not ranked.
    """
    from prefbench import consent
    from prefbench.cli.plugins import load_and_warn
    from prefbench.cli.run import run_all
    from prefbench.spec import make_spec, parse_sets, typed_address
    from prefbench.team import joined
    from prefbench.tools import prompts

    load_and_warn(plugin)
    typed = parse_sets(sets or [])
    if write_prompts is not None:
        if policy is not None:
            raise UserError("--write-prompts comes before there is a --policy: leave one of them out.")
        out = write_prompts.expanduser()
        problem = prompts.problem_stated(task, data, minority_ratio, seed, typed.get("task", {}))
        count = prompts.write_prompts(problem, out)
        if not quiet:
            print(f"written: {out} ({count} prompts)")
        return
    if policy is None:
        raise UserError("--policy is missing: name one as KIND:SOURCE, such as responses:outputs.jsonl.")
    with joined():
        keys = consent.from_command_line(allow_host or [], typed | typed_address(policy))
        spec = make_spec(
            task=task,
            policy=policy,
            named={"called": name, "trainer": trainer, "link": link},
            model=model,
            data=data,
            minority_ratio=minority_ratio,
            seed=seed,
            sets=typed,
        )
        consent.check_options(spec.sections())
        consent.give_keys(keys, spec.sections())
        settings: dict[str, Any] = {"model": model, "data": data, "minority_ratio": minority_ratio}
        settings |= {"seed": seed, "runs_dir": runs_dir}
        settings = {key: value for key, value in settings.items() if value != USUAL.get(key)}
        settings |= {"plugin": plugin or [], "set": typed}
        status = run_all([spec], runs_dir.expanduser(), settings, False, as_json, quiet, False)
    if status != "ok":
        raise typer.Exit(PrefbenchError.exit_code)
