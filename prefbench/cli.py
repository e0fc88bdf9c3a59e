"""The command line: each command parses what was typed and calls the library function of its name.

Nothing heavy is imported before a command needs it, so that help and lists come at once and bad
input is refused before anything is loaded or written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import shlex
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from prefbench import __version__
from prefbench.errors import PrefbenchError, UserError, says_no_memory
from prefbench.text import clock, one_line, show_age, show_bytes

if TYPE_CHECKING:
    from prefbench.estimate.estimate import Estimate
    from prefbench.record.record import Record
    from prefbench.registry import Entry, Kind, Stance
    from prefbench.spec import RunSpec

MOST_SEEDS = 10_000
"""More is a slip of the finger, and its specifications alone would fill the memory."""
INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a shell reports of a process that the closed pipe ended."""


class _Commands(TyperGroup):
    """Turns what a command raises into one line and an exit code.

    Here and not in `main`, because typer takes an interrupt for itself before `main` would see it.
    """

    def invoke(self, ctx: Any) -> Any:
        try:
            with _one_line_warnings():
                result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe shows itself here at the latest
            return result
        except PrefbenchError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            echoed = "\n" if sys.stderr.isatty() else ""  # the terminal's own ^C
            print(f"{echoed}interrupted; the same command continues where it stopped", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # What is still buffered must not complain when the interpreter flushes it at its end.
            sys.stdout = io.StringIO()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(BROKEN_PIPE) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if hasattr(error, "format_message"):  # what was typed is wrong, and typer says so itself
                raise
            if says_no_memory(error):
                _fail("out of memory: take a smaller model or a smaller batch.", PrefbenchError.exit_code)
            if isinstance(error, OSError):
                where = f": '{error.filename}'" if error.filename else ""
                _fail(f"{error.strerror or error}{where}.", PrefbenchError.exit_code)
            _fail(_crash(error), PrefbenchError.exit_code)


def _crash(error: Exception) -> str:
    """A sentence on a mistake of ours, whose trace is written where the system keeps temporary files."""
    trace = "".join(traceback.format_exception(error))
    said = f"prefbench {__version__}, Python {sys.version}\n{shlex.join(sys.argv)}\n\n{trace}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="prefbench-crash-", suffix=".txt", encoding="utf-8", errors="replace", delete=False
        ) as file:
            file.write(said)
        place = f"its trace is in {file.name}, which is worth sending to us"
    except OSError:
        print(trace, file=sys.stderr)  # the disk may be full, and the trace is all that there is
        place = "its trace is above"
    return f"a mistake in prefbench or in a plug-in ({type(error).__name__}: {str(error)[:200]}); {place}."


def _fail(message: str, code: int) -> NoReturn:
    print(f"prefbench: error: {one_line(message)}", file=sys.stderr)
    raise typer.Exit(code)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Our own warnings as one line each, without the source line that Python adds."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            from prefbench.team import team

            if team().rank:
                return  # the first process says it
            if category is UserWarning and Path(filename).is_relative_to(Path(__file__).parent):
                _warn(str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _warn(message: str) -> None:
    print(f"prefbench: warning: {one_line(message)}", file=sys.stderr)


app = typer.Typer(
    name="prefbench",
    cls=_Commands,
    help="Alignment under disagreement: who wins, and who is left behind.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help comes faster, and a bracket in it is a bracket
    context_settings={"help_option_names": ["-h", "--help"]},
)
leaderboard = typer.Typer(
    help="Every configuration over its seeds, with intervals and ranks.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(leaderboard, name="leaderboard")
cache = typer.Typer(
    help="What runs share and continue from: look at it, check it, clear it away.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(cache, name="cache")


def main() -> None:
    """Entry point of the `prefbench` command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name need not fit the terminal's encoding
    app(prog_name="prefbench")


def _say_version(asked: bool) -> None:
    if asked:
        print(f"prefbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print it and leave.")
    ] = False,
) -> None:
    """Options of the command itself."""


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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Where the runs are.")]


# --------------------------------------------------------------------------------------------- run

CONFIG_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "task": str,
    "aligner": str,
    "model": str,
    "data": str,
    "minority_ratio": (str, int, float),
    "seed": int,
    "seeds": int,
    "runs_dir": str,
    "plugin": list,
    "set": dict,
}
"""Keys of a run file and what their values may be."""


@app.command()
def run(
    task: Annotated[str | None, typer.Option(help="One of `prefbench list tasks`.")] = None,
    aligner: Annotated[str | None, typer.Option(help="One of `prefbench list aligners`.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="One of `prefbench list models`, a folder or a hub id.  [default: nano, or the task's own]"
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="As the task says: `prefbench show TASK`.  [default: synthetic]")
    ] = None,
    minority_ratio: Annotated[
        str | None,
        typer.Option(help="Share of annotators in the minority: 0.2, 20% or 4:1.  [default: 0.2]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.  [default: 0]")] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Run N seeds, from --seed up, and summarise them.")
    ] = None,
    runs_dir: Annotated[
        str | None, typer.Option(help="Where stages and records are kept.  [default: runs]")
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
            "on. The command line goes before it.",
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
    plugin: Plugin = None,
    allow_plugins: AllowPlugins = False,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something goes wrong.")] = False,
) -> None:
    """Run an aligner on a task and tell, group by group, who won.

    A run that was stopped continues where it was; what is stored is not computed again.
    """
    from prefbench import consent
    from prefbench.registry import knowing_nothing_of, plugins_of_file
    from prefbench.spec import parse_sets
    from prefbench.team import joined

    if hardware is not None and not dry_run:
        raise UserError("--hardware goes with --dry-run, which is missing.")
    if profile and dry_run:
        raise UserError("--profile has nothing to measure in a --dry-run: leave one of them out.")
    if profile:
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch reads it on import, and logs every window
    given: dict[str, Any] = {
        "task": task,
        "aligner": aligner,
        "model": model,
        "data": data,
        "minority_ratio": minority_ratio,
        "seed": seed,
        "seeds": seeds,
        "runs_dir": runs_dir,
        "plugin": plugin or None,
    }
    with joined() as processes:
        settings = read_config(config) if config is not None else {}
        named = [] if plugin else settings.get("plugin", [])
        settings |= {key: value for key, value in given.items() if value is not None}
        typed = parse_sets(sets or [])
        keys = consent.from_command_line(allow_host or [], typed)
        settings["set"] = _merged(settings.get("set", {}), typed)
        where = f"--config {config}"
        files, left_out = plugins_of_file(named, plugin or [], where, _stance(dry_run, allow_plugins))
        settings["plugin"] = list(files)
        with knowing_nothing_of(left_out):
            specs = _specs(settings)
        consent.check_options(specs[0].sections(), "" if config is None else where)
        consent.give_keys(keys, specs[0].sections())
        _say_left_out(left_out)
        if dry_run:
            if processes.rank == 0:
                _dry_run(specs, hardware, as_json)
            return
        folder = Path(settings.get("runs_dir", "runs")).expanduser()
        status = _run_all(specs, folder, settings, "seeds" in settings, as_json, quiet, profile)
    if status != "ok":
        raise typer.Exit(PrefbenchError.exit_code)


def _stance(dry_run: bool, allow_plugins: bool) -> Stance:
    """What becomes of plug-ins that only a file names; a --dry-run never runs them."""
    return "leave out" if dry_run else "run" if allow_plugins else "refuse"


def _say_left_out(plugins: Sequence[str]) -> None:
    if plugins:
        _warn(f"--dry-run does not run the plug-ins that the file names: {', '.join(plugins)}")


def read_config(path: str) -> dict[str, Any]:
    """A run file, its keys and their types checked."""
    from prefbench.registry import suggest
    from prefbench.spec import read_toml

    settings = read_toml(path)
    for key, value in settings.items():
        if key not in CONFIG_KEYS:
            raise UserError(f"--config {path}: unknown key '{key}'.{suggest(key, CONFIG_KEYS)}")
        if isinstance(value, bool) or not isinstance(value, CONFIG_KEYS[key]):
            raise UserError(f"--config {path}: {key} = {value!r} is not {_wanted(CONFIG_KEYS[key])}.")
    for section, options in settings.get("set", {}).items():
        if not isinstance(options, dict):
            raise UserError(
                f"--config {path}: set.{section} is not a table: write [set.task] and below it its options."
            )
    if not all(isinstance(file, str) for file in settings.get("plugin", [])):
        raise UserError(f"--config {path}: plugin is not a list of file names.")
    return settings


def _wanted(kind: type | tuple[type, ...]) -> str:
    words = {str: "text in quotes", int: "a whole number", list: "a list", dict: "a table"}
    return words[kind] if isinstance(kind, type) else "a number or text such as '4:1'"


def _merged(
    table: Mapping[str, Mapping[str, Any]], typed: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The tables of a run file with what --set says instead."""
    result: dict[str, dict[str, Any]] = {section: dict(options) for section, options in table.items()}
    for section, options in typed.items():
        result.setdefault(section, {}).update(options)
    return result


def _specs(settings: Mapping[str, Any]) -> list[RunSpec]:
    """One specification for each seed, all of them checked before the first one runs."""
    from prefbench.registry import load_plugins
    from prefbench.spec import make_spec

    load_plugins(settings.get("plugin", []))
    count = settings.get("seeds", 1)
    if count < 1:
        raise UserError(f"seeds '{count}' is not a whole number from 1 up.")
    if count > MOST_SEEDS:
        raise UserError(f"seeds '{count}' is more than {MOST_SEEDS}: start with fewer and go on with --seed.")
    names = ("task", "aligner", "model", "data", "minority_ratio")
    chosen = {name: settings[name] for name in names if name in settings}
    first = settings.get("seed", 0)
    return [make_spec(**chosen, seed=first + i, sets=settings["set"]) for i in range(count)]


def _run_all(
    specs: list[RunSpec],
    runs_dir: Path,
    settings: Mapping[str, Any],
    several: bool,
    as_json: bool,
    quiet: bool,
    profile: bool,
) -> str:
    """Run every seed, whatever becomes of the others; `ok` if all of them are."""
    from rich.console import Console

    from prefbench.report import display
    from prefbench.team import team
    from prefbench.tools.profiling import PROFILE_FILE, Profiler, profile_of, profiled, write_profile

    speaks = team().rank == 0  # of several processes the first
    quiet, as_json = quiet or not speaks, as_json and speaks
    progress = Console(stderr=True)
    results = Console(stderr=as_json)
    say = _say(quiet, results)
    folders, records = [], []
    for spec in specs:
        # A plug-in may print, and standard output belongs to the record.
        with contextlib.redirect_stdout(sys.stderr), display.reporter(quiet, progress) as reporter:
            if several:
                reporter.note(f"seed {spec.seed}")
            _hush()
            with profiled(reporter) if profile and speaks else contextlib.nullcontext(reporter) as told:
                from prefbench.running.run import run as run_one

                folder, record = run_one(spec, runs_dir, told)
            measured = profile_of(told, spec) if isinstance(told, Profiler) else None
            if measured is not None:
                write_profile(measured, record, folder)
        folders.append(folder)
        records.append(record)
        if record.status == "ok":
            say(display.render(display.result_table(record), results))
            say(display.verdict(record))
        elif not team().together():
            raise PrefbenchError(f"{record.message}")  # the other processes cannot go on without this one
        elif speaks:  # also when quiet: the exit code alone does not say why
            print(display.verdict(record), file=sys.stderr)
        if measured is not None:
            for table in measured.tables:
                say("\n" + display.render(display.rows_table(*table), results))
            say("\n" + "\n".join(measured.notes))
        say(f"record: {folder / 'record.json'}")
        if measured is not None:
            say(f"profile: {folder / PROFILE_FILE}")
        if (folder / "error.txt").exists() and record.status == "failed":
            say(f"error: {folder / 'error.txt'}")
    summary = None
    if several and speaks:
        from prefbench.boards.leaderboard import summarise_seeds

        summary = summarise_seeds(folders)
        say(display.render(display.seeds_table(summary), results))
    if any(record.status == "ok" for record in records):
        say(_next_steps(specs[0], settings, runs_dir))
    if as_json:
        plain = [record.model_dump(mode="json") for record in records]
        _print_json(plain[0] if summary is None else {"records": plain, "summary": summary})
    return _worst_status(records)


def _dry_run(specs: list[RunSpec], hardware: str | None, as_json: bool) -> None:
    """What one of these runs, which differ in their seeds, would need."""
    from prefbench.estimate.advice import require
    from prefbench.estimate.estimate import estimate, problem_of
    from prefbench.estimate.hardware import HARDWARE, hardware_called, known_hardware
    from prefbench.estimate.setting import shape_of, why_unknown
    from prefbench.estimate.tell import here_line
    from prefbench.machine import free_memory

    device = hardware_called(hardware) if hardware is not None else None
    spec = specs[0]
    with contextlib.redirect_stdout(sys.stderr):  # a plug-in may print
        problem = problem_of(spec)
    shape = shape_of(spec)
    if shape is None:
        why = why_unknown(spec)
        if as_json:
            _print_json({"spec": spec.to_dict(), "estimate": None, "why": why})
        else:
            print(why)
        return
    found = estimate(spec, shape, problem)
    present, free = (None, None) if device is not None else free_memory(spec.model_options["device"])
    if as_json:
        here = {"device": present, "free_bytes": free, "hardware": known_hardware(present or "")}
        more = {} if device is not None else {"here": here}
        _print_json({"spec": spec.to_dict(), "runs": len(specs), "estimate": found.to_dict(), **more})
    else:
        names = [hardware] if hardware is not None else list(HARDWARE)
        _print_estimate(f"{spec.task}, {spec.aligner}, {spec.model}", found, names)
        if present is not None:
            print(here_line(found, present, free))
        if len(specs) > 1:
            print(f"{len(specs)} seeds: each of them needs this, one after the other.")
    if device is not None:
        place = f"{show_bytes(device.memory)} on {hardware}"
        note = require(spec, shape, problem, device.memory, place)
        if note is not None:
            _warn(note)


def _print_estimate(title: str, found: Estimate, names: list[str]) -> None:
    from prefbench.estimate import tell

    _print_table(title, ["memory", "size", "what"], tell.memory_rows(found))
    print()
    _print_table("", ["tokens at most", "sampled", "scored", "trained", "FLOPs"], tell.stage_rows(found))
    print()
    _print_table("", ["hardware", "memory", "", "time"], tell.hardware_rows(found, names))
    print("\n" + "\n".join(tell.remarks(found)))


def _say(quiet: bool, console: Any) -> Callable[[str], None]:
    def say(text: str) -> None:
        if not quiet:
            print(text, file=console.file)

    return say


def _worst_status(records: Iterable[Record]) -> str:
    return next((record.status for record in records if record.status != "ok"), "ok")


def _hush() -> None:
    """Quieten the libraries that draw bars and log of their own accord."""
    for name, value in {
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DATASETS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)
    # They read the variables when they are imported, and something may have imported them before.
    if "huggingface_hub" in sys.modules:
        sys.modules["huggingface_hub"].utils.disable_progress_bars()
    if "transformers" in sys.modules:
        logging = sys.modules["transformers"].utils.logging
        logging.disable_progress_bar()
        if os.environ["TRANSFORMERS_VERBOSITY"] == "error":
            logging.set_verbosity_error()


def _next_steps(spec: RunSpec, settings: Mapping[str, Any], runs_dir: Path) -> str:
    """How to set this result against another one."""
    from prefbench import consent
    from prefbench.registry import placed

    learners = placed(None)
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
        if section != "aligner":
            for name, value in options.items():
                words += ["--set", f"{section}.{name}={value}"]
    for host, variable in consent.typed().items():
        words += ["--allow-host", f"{host}={variable}" if variable else host]
    folder = shlex.quote(str(runs_dir))
    return (
        f"compare with: {shlex.join(words)}\n"
        f"        then: prefbench leaderboard build --runs-dir {folder} && prefbench leaderboard show"
    )


# ------------------------------------------------------------------------------------------- sweep


@app.command()
def sweep(
    file: Annotated[str, typer.Argument(metavar="SWEEP.toml", help="The grid: docs/sweeps.md.")],
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List the cells, what they share and how long it may take; no more."),
    ] = False,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Processes of this machine, or a Ray cluster.")
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Cells at a time, at most.  [default: as many as fit]"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT", help="Of the Ray cluster.  [default: a Ray of this machine alone]"
        ),
    ] = None,
    retries: Annotated[
        int, typer.Option(min=0, metavar="N", help="How often to start a cell again whose worker died.")
    ] = 2,
    runs_dir: Annotated[
        str | None, typer.Option(help="Where stages and records are kept.  [default: the file's, else runs]")
    ] = None,
    plugin: Plugin = None,
    allow_plugins: AllowPlugins = False,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something goes wrong.")] = False,
) -> None:
    """Run a grid of tasks, aligners, models, ratios, seeds and options.

    What cells share is computed once, and what is done is not repeated: the same command continues a sweep.
    """
    from rich.console import Console

    from prefbench import consent
    from prefbench.sweep import sweep as library

    # A plug-in may print, and standard output belongs to the result.
    with contextlib.redirect_stdout(sys.stderr):
        _load_plugins(None)
        consent.from_command_line(allow_host or [], {})
        chosen = library.read_sweep(file, plugin or [], _stance(dry_run, allow_plugins))
        specs = chosen.expand()
        for spec in specs:
            consent.check_options(spec.sections(), file)
        folder = Path(runs_dir or chosen.runs_dir or "runs").expanduser()
        job = library.make_job(
            chosen, specs, folder, engine=engine, workers=workers, retries=retries, address=address
        )
        plan = library.make_plan(specs, folder)
    say = _say(quiet, Console(stderr=as_json))
    if dry_run:
        _say_left_out(chosen.left_out)
        if as_json:
            _print_json(library.to_json(plan, folder))
            return
        _print_table(*library.describe(plan))
        print("\n".join(library.plan_lines(plan, job)))
        return
    with contextlib.redirect_stdout(sys.stderr):
        for spec in plan.todo:
            consent.announce_options(spec.sections())  # what workers say is not seen
        library.check_data(plan.todo, folder)
        result = library.run_sweep(plan, job, engine, quiet, Console(stderr=True))
    if as_json:
        _print_json(library.to_json(plan, folder, result))
    say(
        f"{result.cells} cells: {result.done} run, {result.before} done before, {len(result.failed)} failed, "
        f"in {clock(result.seconds)}"
    )
    if result.failed:  # also when quiet: the exit code alone does not say which
        print("\n".join(one_line(sentence) for sentence in library.failure_lines(result)), file=sys.stderr)
        raise typer.Exit(PrefbenchError.exit_code)
    say(f"then: prefbench leaderboard build --runs-dir {shlex.quote(str(folder))}")


# ---------------------------------------------------------------------------------- list and show


@app.command("list")
def list_(
    what: Annotated[Literal["tasks", "aligners", "models"], typer.Argument(help="What to list.")],
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """List what is installed."""
    from prefbench.registry import entries

    _load_plugins(plugin)
    kinds: dict[str, Kind] = {"tasks": "task", "aligners": "aligner", "models": "model"}
    found = entries(kinds[what])
    if as_json:
        _print_json([_summary(entry) for entry in found])
        return
    middle = {"task": "provides", "aligner": "needs", "model": "options"}[kinds[what]]
    rows = []
    for entry in found:
        shown = {
            "task": _words(entry.provides),
            "aligner": _words(entry.needs),
            "model": str(len(entry.options.model_fields)),
        }[entry.kind]
        name = f"{entry.name}@{entry.version}" if entry.kind == "task" else entry.name
        rows.append([name, shown, entry.summary])
    _print_table("", [kinds[what], middle, "summary"], rows)


@app.command()
def show(
    *,
    kind: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[task|aligner|model]", help="Of which kind, where it matters.", show_default=False
        ),
    ] = None,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a task, an aligner or a model.")],
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Show what NAME is and its options.

    NAME is a task, an aligner or a model; after the word model it may be a folder or a hub id. A model is
    shown with its size and what a default run would need.
    With --json a list, as a task and an aligner may have the same name.
    """
    from prefbench.registry import BACKBONES, entries, suggest

    _load_plugins(plugin)
    kinds = _kinds(kind or [])
    everything = [entry for each in kinds for entry in entries(each)]
    found = [entry for entry in everything if entry.name == name]
    if not found and kinds == ("model",):
        from prefbench.spec import get_model

        found = [get_model(name)]
    if not found:
        what = kinds[0] if len(kinds) == 1 else "task, aligner or model"
        raise UserError(f"no {what} is called '{name}'.{suggest(name, (e.name for e in everything))}")
    if as_json:
        _print_json(
            [
                {**_summary(entry), "doc": entry.doc, "options": _options_of(entry)}
                | (_size_of(name) if entry.kind == "model" else {})
                for entry in found
            ]
        )
        return
    for entry in found:
        version = f"@{entry.version}" if entry.kind == "task" else ""
        print(f"{entry.kind} {entry.name}{version}  ({entry.function.__module__})\n\n{entry.doc}\n")
        if entry.kind == "task":
            print(f"provides: {_words(entry.provides)}")
            print(f"model: {BACKBONES[entry.backbone]} unless --model says otherwise")
        if entry.kind == "aligner":
            print(f"needs: {_words(entry.needs)}")
            print(f"backbones: {_words(entry.backbones)}")
        rows = [
            [f"{entry.kind}.{option['name']}", _default(option), option["type"], option["doc"]]
            for option in _options_of(entry)
        ]
        if rows:
            _print_table("", ["option (--set)", "default", "type", "meaning"], rows)
        else:
            print("no options")
        if entry.kind == "model":
            _print_size(name)


def _kinds(given: list[str]) -> tuple[Kind, ...]:
    kinds: tuple[Kind, ...] = ("task", "aligner", "model")
    if not given:
        return kinds
    if len(given) > 1 or given[0] not in kinds:
        raise UserError(f"show {' '.join(given)}: before the name may stand one of {', '.join(kinds)}.")
    return tuple(kind for kind in kinds if kind == given[0])


def _size_of(model: str) -> dict[str, Any]:
    """Shape, parameters and the needs of a default run, as JSON values; all none where they are not known."""
    import dataclasses

    from prefbench.estimate.estimate import example

    spec, found = example(model)
    return {
        "shape": None if found is None else dataclasses.asdict(found.setting.shape),
        "parameters": None if found is None else found.parameters,
        "example": None if spec is None or found is None else {"spec": spec.to_dict(), **found.to_dict()},
    }


def _print_size(model: str) -> None:
    """The same for a reader."""
    from prefbench.estimate.estimate import example
    from prefbench.estimate.tell import hardware_rows, shape_line

    spec, found = example(model)
    if spec is None or found is None:
        return
    run = f"--task {spec.task} --aligner {spec.aligner} --model {shlex.quote(model)}"
    print(
        f"{shape_line(found.setting.shape)}\n\n"
        f"prefbench run {run} takes {show_bytes(found.peak)} of a GPU's memory and at most:"
    )
    _print_table("", ["hardware", "memory", "", "time"], hardware_rows(found))
    print("With --dry-run it says what that is made of.")


def _load_plugins(files: list[str] | None) -> None:
    from prefbench.registry import load_plugins

    for plugin, reason in load_plugins(files or []).items():
        _warn(f"plug-in {plugin} is left out, it failed to import: {reason}")


def _summary(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "version": entry.version,
        "needs": sorted(entry.needs),
        "provides": sorted(entry.provides),
        "backbones": sorted(entry.backbones),
        "summary": entry.summary,
        "module": entry.function.__module__,
    }


def _words(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _options_of(entry: Entry) -> list[dict[str, Any]]:
    """Name, type, default and meaning of every option."""
    from pydantic_core import to_jsonable_python

    return [
        {
            "name": name,
            "type": ", ".join([_type_name(field.annotation), *_limits(field.metadata)]),
            "required": field.is_required(),
            "default": None
            if field.is_required()
            else to_jsonable_python(field.get_default(call_default_factory=True), fallback=str),
            "doc": one_line(field.description or ""),
        }
        for name, field in entry.options.model_fields.items()
    ]


def _type_name(annotation: Any) -> str:
    """`int`, `float or none`, or the values to choose from."""
    import types
    import typing

    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " | ".join(str(part) for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if part is type(None) else _type_name(part) for part in parts)
    if origin is Annotated:
        return _type_name(parts[0])
    return annotation.__name__ if isinstance(annotation, type) and not parts else str(annotation)


def _limits(metadata: Iterable[Any]) -> list[str]:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return [
        f"{sign} {getattr(limit, name)}"
        for limit in metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]


def _default(option: Mapping[str, Any]) -> str:
    if option["required"]:
        return "(required)"
    value = option["default"]
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


# ------------------------------------------------------------------------- check, new and export


@app.command("check")
def check_(
    what: Annotated[str, typer.Argument(metavar="NAME|FILE.py", help="Of a task or an aligner, or a file.")],
    task: Annotated[
        str | None,
        typer.Option(help="Try an aligner on this task.  [default: tiny ones made for the purpose]"),
    ] = None,
    data: Annotated[str, typer.Option(help="What a task is to read.")] = "synthetic",
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.NAME=VALUE", help="An option, as of `prefbench run`. May be repeated."
        ),
    ] = None,
    plugin: Plugin = None,
    allow_host: AllowHost = None,
    as_json: AsJson = False,
) -> None:
    """Check that a task or an aligner keeps its contract.

    A file's tasks and aligners are all checked. Exit 1 if anything failed.
    """
    from prefbench import consent
    from prefbench.spec import parse_sets
    from prefbench.tools.check import Finding, check, find

    given, plugins = parse_sets(sets or []), plugin or []
    keys = consent.from_command_line(allow_host or [], given)
    with contextlib.redirect_stdout(sys.stderr):  # what a plug-in prints is not part of the report
        entries, broken = find(what, plugins)
    if keys:
        usual: dict[str, dict[str, Any]] = {}
        for entry in entries:
            defaults = {option["name"]: option["default"] for option in _options_of(entry)}
            usual[entry.kind] = usual.get(entry.kind, {}) | defaults
        consent.give_keys(keys, {kind: names | given.get(kind, {}) for kind, names in usual.items()})
    for left_out, reason in broken.items():
        _warn(f"plug-in {left_out} is left out, it failed to import: {reason}")
    _hush()
    files = [*plugins, *([what] if what.endswith(".py") else [])]
    report: list[dict[str, Any]] = []
    screen = sys.stdout

    def tell(finding: Finding) -> None:
        if not as_json:
            detail = f": {one_line(finding.detail)}" if finding.detail else ""
            print(f"  {finding.status:<9} {one_line(finding.words)}{detail}", file=screen, flush=True)

    for entry in entries:
        if not as_json:
            print(f"{entry.kind} {entry.name}", flush=True)
        with contextlib.redirect_stdout(sys.stderr):
            found = check(entry, task=task, data=data, sets=given, plugins=files, tell=tell)
        report += [{"kind": entry.kind, "name": entry.name, **vars(finding)} for finding in found]
    counts = {status: sum(row["status"] == status for row in report) for status in _STATUSES}
    if as_json:
        _print_json({"findings": report, **{status.replace(" ", "_"): n for status, n in counts.items()}})
    else:
        print(", ".join(f"{n} {status}" for status, n in counts.items() if n))
    if counts["failed"]:
        raise typer.Exit(1)


_STATUSES = ("passed", "warned", "failed", "left out")


@app.command()
def new(
    kind: Annotated[Literal["task", "aligner"], typer.Argument(help="What to begin.")],
    called: Annotated[str, typer.Argument(metavar="NAME", help="Its name, which is also the file's.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the file goes.")] = Path(),
    plugin: Plugin = None,
) -> None:
    """Write a small task or aligner that already passes `prefbench check`."""
    from prefbench.tools.scaffold import new

    _load_plugins(plugin)
    path = new(kind, called, out.expanduser())
    shown = shlex.quote(str(path))
    example = (
        f"--task {called} --aligner single_reward" if kind == "task" else f"--task TASK --aligner {called}"
    )
    print(f"written: {path}")
    print(f"check it with: prefbench check {shown}")
    print(f"   run it with: prefbench run --plugin {shown} {example}")


@app.command()
def export(
    task: Annotated[str, typer.Option(help="One of `prefbench list tasks`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder for the data.")],
    model: Annotated[
        str | None, typer.Option(help="Whose responses are labelled.  [default: nano, or the task's own]")
    ] = None,
    data: Annotated[str, typer.Option(help="As the task says: `prefbench show TASK`.")] = "synthetic",
    minority_ratio: Annotated[
        str, typer.Option(help="Share of annotators in the minority: 0.2, 20% or 4:1.")
    ] = "0.2",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.NAME=VALUE", help="An option of the task or the model. May be repeated."
        ),
    ] = None,
    runs_dir: RunsDir = Path("runs"),
    push: Annotated[
        str | None,
        typer.Option(
            metavar="USER/NAME",
            help="Also send it to this data set on the Hugging Face hub, private unless --public.",
        ),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="With --push: for everybody to see.")] = False,
    plugin: Plugin = None,
    allow_host: AllowHost = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something goes wrong.")] = False,
) -> None:
    """Write the preference data itself: TRL-ready parquet files with a card.

    What a run in the same runs folder has labelled is not labelled again.
    """
    from rich.console import Console

    from prefbench import consent
    from prefbench.report import display
    from prefbench.spec import parse_sets
    from prefbench.tools.export import export, export_spec
    from prefbench.tools.export import push as send

    if public and push is None:
        raise UserError("--public says how to --push, which is missing.")
    _load_plugins(plugin)
    typed = parse_sets(sets or [])
    keys = consent.from_command_line(allow_host or [], typed)
    spec = export_spec(
        task=task,
        model=model,
        data=data,
        minority_ratio=minority_ratio,
        seed=seed,
        sets=typed,
    )
    consent.give_keys(keys, spec.sections())
    _hush()
    out = out.expanduser()
    with (
        contextlib.redirect_stdout(sys.stderr),
        display.reporter(quiet, Console(stderr=True)) as reporter,
    ):
        rows = export(spec, out, runs_dir.expanduser(), reporter)
    if not quiet:
        print(f"written: {out} ({', '.join(f'{n} {split}' for split, n in rows.items())})")
    if push is not None:
        address = send(out, push, public)
        print(f"pushed: {address} ({'public' if public else 'private'})")


# ------------------------------------------------------------------------------------------ cache


@cache.command("ls")
def cache_ls(
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
        _print_json({"kinds": rows, **({"stages": single} if runs else {})})
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
    _print_table("", ["stage", "stored", "size", "unfinished", "oldest", "newest"], table)
    for row in single:
        names = ", ".join(row["runs"]) or "no run that is known"
        print(
            f"{row['stage']}  {show_bytes(row['bytes'])}  {show_age(row['seconds_old'])}  {one_line(names)}"
        )
    print(f"{sum(row['count'] for row in rows)} stages, {show_bytes(sum(row['bytes'] for row in rows))}")


@cache.command("verify")
def cache_verify(runs_dir: RunsDir = Path("runs")) -> None:
    """Compare every stored file with its checksum.

    Exit 1 if one is damaged; the next run that needs it computes it again.
    """
    from prefbench.tools.cache import verify

    total = wrong = 0
    for stage, found in verify(runs_dir):
        total += 1
        wrong += bool(found)
        for sentence in found:
            print(f"{stage.kind}/{stage.path.name}: {one_line(sentence)}")
    print(f"{total - wrong} of {total} stages are whole")
    if wrong:
        raise typer.Exit(1)


@cache.command("gc")
def cache_gc(
    runs_dir: RunsDir = Path("runs"),
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Also remove stages made longer ago than this, such as 30d or 12h."),
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also remove stages of this kind, such as policy."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove what killed processes left behind, and stages if asked to.

    Records stay. What somebody is working on stays. A killed run whose unfinished stage is removed starts
    that stage anew.
    """
    from prefbench.tools.cache import gc, parse_age

    age = parse_age(older_than) if older_than is not None else None
    swept = gc(runs_dir, older_than=age, stage=stage, dry_run=dry_run)
    verb = "would remove" if dry_run else "removed"
    for name in swept.removed:
        print(f"{verb} {one_line(name)}")
    for sentence in swept.kept:
        print(f"kept {one_line(sentence)}")
    print(f"{'would free' if dry_run else 'freed'} {show_bytes(swept.freed)} in {len(swept.removed)} places")


# ------------------------------------------------------------------------------ leaderboard, gate


@leaderboard.command()
def build(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(help="The CSV file to write.")] = Path("leaderboard/results.csv"),
    plugin: Plugin = None,
) -> None:
    """Make the leaderboard of a runs folder."""
    from prefbench.boards.leaderboard import build, missing_controls, write_csv

    _load_plugins(plugin)  # to tell options from defaults
    frame = build(runs_dir)
    write_csv(frame, out)
    for sentence in missing_controls(frame):
        print(f"warning: {one_line(sentence)}")
    print(f"{len(frame)} {'row' if len(frame) == 1 else 'rows'} written to {out}")


@leaderboard.command("show")
def show_leaderboard(
    file: Annotated[Path, typer.Argument(help="From `leaderboard build`.")] = Path("leaderboard/results.csv"),
    fmt: Annotated[
        Literal["rich", "markdown", "csv"], typer.Option("--format", help="How to print it.")
    ] = "rich",
) -> None:
    """Print a leaderboard."""
    from prefbench.boards.leaderboard import read_csv, show

    print(show(read_csv(file), fmt))


@leaderboard.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="An aligner, a config hash, or a run's folder.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    runs_dir: RunsDir = Path("runs"),
    task: Annotated[str | None, typer.Option(help="Take names from this task only.")] = None,
    minority_ratio: Annotated[
        str | None, typer.Option(help="Take names at this share only: 0.2, 20% or 4:1.")
    ] = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Compare A and B on the same prompts and seeds.

    A folder with several runs of one configuration may stand for them.
    """
    from prefbench.boards.leaderboard import compare_aligners, comparison_rows

    _load_plugins(plugin)
    ratio = None
    if minority_ratio is not None:
        from prefbench.spec import parse_ratio

        ratio = parse_ratio(minority_ratio)
    comparison = compare_aligners(first, second, runs_dir, task, ratio)
    if comparison.left_out:
        _warn(f"only one of the two has seed {', '.join(map(str, comparison.left_out))}: not compared")
    if as_json:
        _print_json(comparison.to_dict())
    else:
        _print_table(*comparison_rows(comparison))


@leaderboard.command()
def verify(
    runs_dir: RunsDir = Path("runs"),
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Also check that its rows follow from the runs.")
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Build the problems of only N runs, drawn at random."),
    ] = None,
    rerun: Annotated[
        int, typer.Option(min=0, metavar="N", help="Compute N runs, drawn at random, anew and compare them.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of both draws; else a new one, which is printed.")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Also build problems whose options name files or data to fetch.")
    ] = False,
    plugin: Plugin = None,
) -> None:
    """Compute records, and a leaderboard's rows, again from their evidence.

    Problems are built from the specifications, utilities computed from the texts, runs held against each
    other. Exit 1 if one does not follow, or none could be checked.
    """
    from prefbench.boards.verify_board import runs_in, verify_board, verify_csv
    from prefbench.record.fields import unchecked_lines
    from prefbench.tools.rerun import draw
    from prefbench.tools.rerun import rerun as computed_anew

    _load_plugins(plugin)
    chosen = secrets.randbelow(2**32) if seed is None else seed
    found = verify_board(runs_in(runs_dir), sample=sample, seed=chosen, fetch=fetch)
    rows = verify_csv(csv, runs_dir) if csv is not None else {}
    lines = [(run.folder.name, said) for run in found for said in run.wrong]
    lines += [(run.folder.name, f"odd: {said}") for run in found for said in run.odd]
    lines += [(run.folder.name, f"not checked: {said}") for run in found for said in run.unchecked]
    lines += [(name, said) for name, sentences in rows.items() for said in sentences]
    for name, said in lines:
        print(f"{one_line(name)}: {one_line(said)}")
    right = sum(not run.wrong and not run.absent for run in found)
    print(f"{right} of {len(found)} records follow from their evidence")
    absent = sum(run.absent and not run.wrong for run in found)
    if absent:
        print(f"{absent} are of a plug-in that is not here and were checked in part")
    if sample is not None and sample < len(found):
        print(f"problems were built for {sample} of them, drawn with --seed {chosen}")
    if csv is not None:
        good = sum(not wrong for wrong in rows.values())
        print(f"{good} of {len(rows)} rows of {csv} follow from the runs")
    differ = done = 0
    if rerun:
        print(f"computed anew, drawn with --seed {chosen}:")
        for again in computed_anew(draw(found, rerun, chosen, fetch), found):
            done += again.done
            differ += bool(again.wrong)
            said = "; ".join(again.wrong) or "the same" if again.done else again.said
            how = f" ({again.said})" if again.done else ""
            print(f"  {one_line(again.folder.name)}: {one_line(said)}{how}")
        print(f"{done - differ} of {done} runs are the same computed anew")
    for line in unchecked_lines():
        print(f"not checked of any record: {line}")
    if any(run.wrong for run in found) or any(rows.values()) or differ or not right:
        raise typer.Exit(1)
    if rerun and not done:  # what was asked for has decided nothing
        raise typer.Exit(1)


@leaderboard.command()
def submit(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", help="Runs, or folders with runs.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the packed runs go.")],
    plugin: Plugin = None,
) -> None:
    """Pack runs for a pull request, with nothing in them that names this machine.

    Every run is verified first; nothing is written unless all pass.
    """
    from prefbench.boards.submission import submit

    _load_plugins(plugin)
    packed = submit(runs, out)
    print(f"{len(packed)} {'run' if len(packed) == 1 else 'runs'} packed into {out}")


@leaderboard.command()
def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="From `leaderboard submit`.")],
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the records are kept.")] = Path(
        "leaderboard/records"
    ),
    plugin: Plugin = None,
) -> None:
    """Take packed runs in, after verifying each.

    Nothing is written if one does not verify, or is already there with other content.
    """
    from prefbench.boards.submission import merge

    _load_plugins(plugin)
    new = merge(folders, into)
    print(f"{len(new)} {'run' if len(new) == 1 else 'runs'} merged into {into}")


@app.command()
def gate(
    baseline: Annotated[Path, typer.Option(metavar="FILE.csv", help="From `leaderboard build`.")] = Path(
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
        float, typer.Option(help="Chance of a false alarm, over all rows and metrics together.")
    ] = 0.05,
    strict: Annotated[
        bool, typer.Option("--strict", help="Close also for undecided rows and for those not run again.")
    ] = False,
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="Stay open where not one check held or fell.")
    ] = False,
    baseline_runs: Annotated[
        Path | None, typer.Option(help="The runs behind the baseline, to compare prompt by prompt.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="GATE.toml",
            help="A file with level, strict, allow_undecided and tables [[check]]. What is given on the "
            "command line counts instead.",
        ),
    ] = None,
    summary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.md", help="Also write GitHub-flavoured markdown; $GITHUB_STEP_SUMMARY fits."
        ),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE.xml", help="Also write JUnit XML.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs with a published leaderboard.

    Exit 1 if a result fell by more than the margin, or if nothing was decided.
    """
    from prefbench.boards.gate import LEVEL, Check, gate, read_gate_config, write_junit, write_summary

    checks: tuple[Check, ...] = ()
    if config is not None:
        said = read_gate_config(config)
        checks = () if metric else said.checks
        level = said.level if said.level is not None and level == LEVEL else level
        strict = strict or bool(said.strict)
        allow_undecided = allow_undecided or bool(said.allow_undecided)
    report = gate(baseline, runs_dir, metric, margin, level, strict, baseline_runs, checks, allow_undecided)
    if summary is not None:
        write_summary(report, summary)
    if junit is not None:
        write_junit(report, junit)
    if as_json:
        _print_json(report.to_dict())
    else:
        print("\n".join(one_line(sentence) for sentence in report.sentences))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


@app.command()
def report(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page to write.")] = Path("report.html"),
    prompts: Annotated[
        int,
        typer.Option(min=0, help="Prompts whose responses can be read, for each task, ratio and seed."),
    ] = 12,
    plugin: Plugin = None,
) -> None:
    """Make a page of a runs folder: one file that needs no server and no network."""
    from prefbench.report.page import write_page

    _load_plugins(plugin)  # to tell options from defaults
    size = write_page(runs_dir, out, prompts)
    print(f"{out} written, {size / 1e6:.1f} MB: open it in a browser")


@app.command()
def plot(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("figures"),
    fmt: Annotated[Literal["png", "svg", "pdf"], typer.Option("--format", help="Of the files.")] = "png",
    aligner: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Draw this one. May be repeated.  [default: a readable choice]"),
    ] = None,
    plugin: Plugin = None,
) -> None:
    """Draw the figures of a runs folder for a paper."""
    from prefbench.report.plots import save_figures

    _load_plugins(plugin)
    files = save_figures(runs_dir, out, fmt, aligner)
    print(f"written: {', '.join(map(str, files))}")


@app.command()
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
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("theory"),
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

    _load_plugins(plugin)
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
        _print_json({"bounds": bounds, "verdicts": words, "rows": rows, "files": names})
        return
    _print_table(
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


@app.command()
def doctor(
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Measure and report; leave what is stored as it is.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure this machine, say what is wrong with it, and store how many threads and workers suit it.

    `run` and `sweep` then take as many. It needs about 20 seconds, best while nothing else runs.
    """
    from dataclasses import asdict

    from prefbench.tools import doctor as library

    print("measuring this machine for about 20 seconds", file=sys.stderr)
    system = library.look()
    machine = library.measure(system)
    found = library.problems(system, machine)
    if as_json:
        here = asdict(system) | {"fingerprint": system.fingerprint.model_dump()}
        _print_json({"system": here, "machine": machine.model_dump(mode="json"), "problems": found})
    else:
        for header, rows in library.tables(system, machine):
            _print_table("", header, rows)
            print()
        print("\n".join(library.advice(machine)))
        print("\n".join(f"problem: {one_line(sentence)}" for sentence in found) or "no problems found")
    if not no_store:
        path = library.save(machine)
        if not as_json:
            print(f"stored for run and sweep: {path}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a run's record."""
    from prefbench.record.record import json_schema

    _print_json(json_schema())


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def _print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console

    from prefbench.report.display import render, rows_table

    print(render(rows_table(title, header, rows), Console()))


if __name__ == "__main__":
    main()
