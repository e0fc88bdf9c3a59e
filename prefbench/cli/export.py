"""`prefbench export`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.names import model_names, task_names
from prefbench.cli.options import AllowHost, Plugin, QuietOption, RunsDir
from prefbench.cli.plugins import load_and_warn
from prefbench.errors import UserError

if TYPE_CHECKING:
    from prefbench.running.recorded import StoredRun
    from prefbench.spec import RunSpec
    from prefbench.store.progress import Reporter


def export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for what is exported.")],
    task: Annotated[
        str | None, typer.Option(help="One of `prefbench list tasks`.", autocompletion=task_names)
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A run's folder, in the place of --task and what goes with it."),
    ] = None,
    prompts: Annotated[
        bool, typer.Option("--prompts", help="Export prompts and their ids, not preference data.")
    ] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Export the reference policy, not preference data.")
    ] = False,
    policy: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Export the policy of this run's folder.")
    ] = None,
    rewards: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Export the rewards that this run's aligner learned.")
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="With --policy: whole models in the place of adapters.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model that writes the responses.  [default: nano, or the task's own]",
            autocompletion=model_names,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Data that the task understands: `prefbench show TASK`.  [default: synthetic]"),
    ] = None,
    minority_ratio: Annotated[
        str | None,
        typer.Option(help="Share of annotators in the minority: 0.2, 20% or 4:1.  [default: 0.2]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.  [default: 0]")] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.NAME=VALUE", help="An option of the task or the model. May be repeated."
        ),
    ] = None,
    votes: Annotated[
        bool,
        typer.Option(
            "--votes",
            help="One row for each pair, with the share of its votes as strength, where several annotators "
            "label it.",
        ),
    ] = False,
    messages: Annotated[
        bool,
        typer.Option(
            "--messages",
            help="Prompts, and responses beside them, as lists of messages, for models with a chat template.",
        ),
    ] = False,
    runs_dir: RunsDir = Path("runs"),
    push: Annotated[
        str | None,
        typer.Option(
            metavar="USER/NAME",
            help="Also send it to this data set or model on the Hugging Face hub, private unless --public.",
        ),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: for everybody to see.")] = False,
    plugin: Plugin = None,
    allow_host: AllowHost = None,
    quiet: QuietOption = False,
) -> None:
    """Write preference data, prompts, or models, as folders that other trainers take.

    Without --prompts, --reference, --policy or --rewards it is the preference data: TRL-ready parquet files
    with a card. What a run in the same runs folder has computed is not computed again.
    """
    from rich.console import Console

    from prefbench import consent
    from prefbench.report import live
    from prefbench.report.hush import hush
    from prefbench.running.recorded import StoredRun
    from prefbench.spec import parse_sets
    from prefbench.tools.export import export_spec
    from prefbench.tools.hub import check_online
    from prefbench.tools.hub import push as send

    if public and push is None:
        raise UserError("--public says how to --push, which is missing: add it, or leave --public out.")
    if push is not None:
        check_online()
    wanted = {"prompts": prompts, "reference": reference, "policy": policy, "rewards": rewards}
    asked = [name for name, value in wanted.items() if value]
    given = {"task": task, "model": model, "data": data, "minority_ratio": minority_ratio, "seed": seed}
    specified = {name: value for name, value in given.items() if value is not None}
    named = _named_run(asked, {"run": run, "policy": policy, "rewards": rewards}, [*specified, *(sets or [])])
    if merge and policy is None:
        raise UserError(
            "--merge says how to export a --policy, which is missing: add it, or leave --merge out."
        )
    if votes and asked:
        raise UserError(
            f"--votes says how to export preference data, and --{asked[0]} exports none: leave one out."
        )
    if messages and asked not in ([], ["prompts"]):
        raise UserError(
            f"--messages says how to export data or --prompts, and --{asked[0]} exports none: leave one out."
        )
    load_and_warn(plugin)
    typed = parse_sets(sets or [])
    keys = consent.from_command_line(allow_host or [], typed)
    stored = None if named is None else StoredRun.at(named.expanduser())
    spec = export_spec(sets=typed, **specified) if stored is None else stored.spec
    consent.check_options(spec.sections())
    consent.give_keys(keys, spec.sections())
    hush()
    out = out.expanduser()
    with (
        contextlib.redirect_stdout(sys.stderr),
        live.reporter(quiet, Console(stderr=True)) as reporter,
    ):
        what = asked[0] if asked else "pairs"
        said = _written(what, stored, spec, out, runs_dir.expanduser(), (merge, votes, messages), reporter)
    if not quiet:
        print(f"written: {out} ({said})")
    if push is not None:
        address = send(out, push, "dataset" if what in ("pairs", "prompts") else "model", public)
        print(f"pushed: {address} ({'public' if public else 'private'})")


def _named_run(asked: list[str], runs: dict[str, Path | None], specified: list[str]) -> Path | None:
    """The run's folder that was named, if one was.

    Raises:
        UserError: several things were asked for, or a run and a specification.
    """
    if len(asked) > 1:
        both = " and ".join(f"--{name}" for name in asked)
        raise UserError(f"{both}: a folder holds one of them; export them one after the other.")
    named = {name: path for name, path in runs.items() if path is not None}
    if len(named) > 1:
        raise UserError(f"--run goes without --{asked[0]}, which names a run already: leave it out.")
    if not named:
        return None
    if specified:
        (name,) = named
        raise UserError(
            f"--{name} names a run, which says all of its specification: leave out --task, --model, --data, "
            "--minority-ratio, --seed and --set."
        )
    return next(iter(named.values()))


def _written(
    what: str,
    run: StoredRun | None,
    spec: RunSpec,
    out: Path,
    runs_dir: Path,
    how: tuple[bool, bool, bool],
    reporter: Reporter,
) -> str:
    """Sentence on what was exported; `how` is whether --merge, --votes and --messages were said."""
    from prefbench.tools import export_models
    from prefbench.tools.export import export as export_pairs
    from prefbench.tools.export_prompts import export_prompts

    merge, votes, messages = how
    if what == "reference":
        return export_models.export_reference(run or spec, out, runs_dir, reporter)
    if what == "prompts":
        rows = export_prompts(spec, out, messages=messages)
    elif what == "pairs":
        home = runs_dir if run is None else run.folder.parent
        rows = export_pairs(spec, out, home, reporter, votes=votes, messages=messages)
    else:
        assert run is not None  # its option names one
        if what == "policy":
            return export_models.export_policy(run, out, merge, reporter)
        return export_models.export_rewards(run, out, reporter)
    return ", ".join(f"{n} {split}" for split, n in rows.items())
