"""`prefbench run`."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefbench.cli.names import aligner_names, model_names, task_names
from prefbench.cli.needs import print_needs
from prefbench.cli.options import AllowHost, AllowPlugins, AsJson, Plugin, Policy, QuietOption, Track
from prefbench.cli.output import print_json, speaker
from prefbench.cli.plugins import say_left_out, stance
from prefbench.cli.run_file import merged, read_config, specs_of
from prefbench.errors import PrefbenchError, UserError

if TYPE_CHECKING:
    from prefbench.spec import RunSpec
    from prefbench.store.progress import Reporter


def run(
    task: Annotated[
        str | None, typer.Option(help="One of `prefbench list tasks`.", autocompletion=task_names)
    ] = None,
    aligner: Annotated[
        str | None, typer.Option(help="One of `prefbench list aligners`.", autocompletion=aligner_names)
    ] = None,
    policy: Policy = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="One of `prefbench list models`, a folder or a hub id.  [default: nano, or the task's own]",
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
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Run N seeds, from --seed up, and summarise them.")
    ] = None,
    runs_dir: Annotated[
        str | None, typer.Option(help="Folder of stages and records.  [default: runs]")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="SECTION.NAME=VALUE",
            help="An option of the task, aligner, model or evaluate section, such as task.annotators=20 or "
            "evaluate.samples=4. May be repeated; `prefbench show NAME` lists them.",
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="RUN.toml",
            help='A file with these options as keys (minority_ratio = "4:1") and tables [set.task] and so '
            "on. The command line overrides it.",
        ),
    ] = None,
    tuned: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.json", help="Take the options that `prefbench tune` chose; --set overrides them."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what memory and time the run would need; write and load nothing."
        ),
    ] = False,
    hardware: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With --dry-run: hours on this GPU, such as h100-80gb; exit 2 if the run does not fit.  "
            "[default: this machine's, beside all that are known]",
        ),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Also say where the time went, by stage and operator, and write it to the run's profile.md.",
        ),
    ] = False,
    track: Track = None,
    plugin: Plugin = None,
    allow_plugins: AllowPlugins = False,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
    quiet: QuietOption = False,
) -> None:
    """Run an aligner on a task, or take a policy from outside, and tell, group by group, who won.

    A run that was stopped continues where it was; what is stored is not computed again.
    """
    from rich.console import Console

    from prefbench.report.live import waiting
    from prefbench.team import joined

    if hardware is not None and not dry_run:
        raise UserError("--hardware goes with --dry-run, which is missing: add it, or leave --hardware out.")
    if profile and dry_run:
        raise UserError("--profile has nothing to measure in a --dry-run: leave one of them out.")
    if track is not None and dry_run:
        raise UserError("--track has nothing to tell of a --dry-run: leave one of them out.")
    if profile:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch reads it on import, and logs every window
    given: dict[str, Any] = {
        "task": task,
        "aligner": aligner,
        "policy": policy,
        "model": model,
        "data": data,
        "minority_ratio": minority_ratio,
        "seed": seed,
        "seeds": seeds,
        "runs_dir": runs_dir,
        "tuned": tuned,
        "plugin": plugin or None,
    }
    with joined() as processes:
        # Seconds, most of them imports: what is waited for is said from the first moment.
        with waiting("reading tasks and aligners", quiet or processes.rank != 0, Console(stderr=True)):
            from prefbench import consent
            from prefbench.file_plugins import knowing_nothing_of, plugins_of_file
            from prefbench.spec import parse_sets, typed_address

            settings = read_config(config) if config is not None else {}
            named = [] if plugin else settings.get("plugin", [])
            settings |= {key: value for key, value in given.items() if value is not None}
            typed = parse_sets(sets or [])
            keys = consent.from_command_line(allow_host or [], typed | typed_address(policy))
            settings["set"] = merged(settings.get("set", {}), typed)
            where = f"--config {config}"
            files, left_out = plugins_of_file(named, plugin or [], where, stance(dry_run, allow_plugins))
            settings["plugin"] = list(files)
            with knowing_nothing_of(left_out):
                specs = specs_of(settings)
        consent.check_options(specs[0].sections(), "" if config is None else where)
        consent.give_keys(keys, specs[0].sections())
        say_left_out(left_out)
        folder = Path(settings.get("runs_dir", "runs")).expanduser()
        if dry_run:
            if processes.rank == 0:
                print_needs(specs, hardware, as_json, folder)
            return
        status = run_all(specs, folder, settings, "seeds" in settings, as_json, quiet, profile, track)
    if status != "ok":
        raise typer.Exit(PrefbenchError.exit_code)


def run_all(
    specs: list[RunSpec],
    runs_dir: Path,
    settings: Mapping[str, Any],
    several: bool,
    as_json: bool,
    quiet: bool,
    profile: bool,
    track: str | None = None,
) -> str:
    """Run every seed and print what became of it; `ok` if all of them are."""
    from rich.console import Console

    from prefbench.api.runs import run_specs
    from prefbench.report import tables
    from prefbench.report.held_out_table import held_out_table
    from prefbench.report.values_table import values_table
    from prefbench.running.seeds import worst_status
    from prefbench.team import team
    from prefbench.tools.profiling import PROFILE_FILE, Profiler, profile_of, profiled, write_profile

    speaks = team().rank == 0  # of several processes the first
    quiet, as_json = quiet or not speaks, as_json and speaks
    results = Console(stderr=as_json)
    say = speaker(quiet, results)
    profilers: dict[str, Profiler] = {}

    @contextlib.contextmanager
    def around(spec: RunSpec, reporter: Reporter) -> Iterator[Reporter]:
        # A plug-in may print, and standard output belongs to the record.
        with contextlib.redirect_stdout(sys.stderr):
            if not (profile and speaks):
                yield reporter
                return
            with profiled(reporter) as profilers[spec.hash]:
                yield profilers[spec.hash]

    found = run_specs(specs, runs_dir, quiet=quiet, name_seeds=several, around=around, track=track)
    folders, records = [], []
    for spec, (folder, record) in zip(specs, found, strict=True):
        measured = None
        if spec.hash in profilers:
            with contextlib.redirect_stdout(sys.stderr):
                measured = profile_of(profilers[spec.hash], spec)
                write_profile(measured, record, folder)
        folders.append(folder)
        records.append(record)
        if record.status == "ok" and len(specs) > 1:  # each seed a line, and a table of all
            say(f"seed {spec.seed}: {tables.verdict(record)}")
        elif record.status == "ok":
            if room := tables.room_line(record):
                say(room)
            kinds = (tables.result_table, tables.people_table, values_table, held_out_table)
            for shown in filter(None, (made(record) for made in kinds)):
                say(tables.render(shown, results))
            say(tables.verdict(record))
        elif speaks:  # also when quiet: the exit code alone does not say why
            print(tables.verdict(record), file=sys.stderr)
        if measured is not None:
            say("\n" + tables.render(tables.rows_table(*measured.stages), results))
            for table in measured.operators:
                say(f"\n{table.title}\n{table.text}")
            say("\n" + "\n".join(measured.notes))
        say(f"record: {folder / 'record.json'}")
        if measured is not None:
            say(f"profile: {folder / PROFILE_FILE}")
        if (folder / "error.txt").exists() and record.status == "failed":
            say(f"error: {folder / 'error.txt'}")
    summary = None
    if several and speaks:
        from prefbench.boards.table import summarise_seeds

        summary = summarise_seeds(folders)
        say(tables.render(tables.seeds_table(summary), results))
    if any(record.status == "ok" for record in records):
        say(_next_steps(specs[0], settings))
    if as_json:
        plain = [record.model_dump(mode="json") for record in records]
        print_json(plain[0] if summary is None else {"records": plain, "summary": summary})
    return worst_status(records)


def _next_steps(spec: RunSpec, settings: Mapping[str, Any]) -> str:
    """The commands that set this result against another one."""
    from prefbench import consent
    from prefbench.registry import placed

    learners = placed("aligner", None)
    usual = [entry for entry in learners if not entry.needs][:1]  # told nothing of the annotators
    other = next((entry for entry in [*usual, *learners] if entry.name != spec.aligner), None)
    if other is None:
        return ""
    words = ["prefbench", "run", "--task", spec.task, "--aligner", other.name]
    for name in ("model", "data", "minority_ratio", "seed", "seeds", "runs_dir"):
        if name in settings:
            words += [f"--{name.replace('_', '-')}", str(settings[name])]
    for file in settings.get("plugin", []):
        words += ["--plugin", file]
    for section, options in settings["set"].items():
        if section not in ("aligner", "policy"):
            for name, value in options.items():
                words += ["--set", f"{section}.{name}={value}"]
    for host, variable in consent.typed().items():
        words += ["--allow-host", f"{host}={variable}" if variable else host]
    both = ["prefbench", "compare", spec.aligner, other.name, "--task", spec.task]
    for name in ("minority_ratio", "runs_dir"):
        if name in settings:
            both += [f"--{name.replace('_', '-')}", str(settings[name])]
    return f"compare with: {shlex.join(words)}\n        then: {shlex.join(both)}"
