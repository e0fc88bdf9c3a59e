"""The command line: each command parses what was typed and calls the library function of its name.

Nothing heavy is imported before a command needs it, so that help and lists come at once and bad
input is refused before anything is loaded or written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from prefbench import __version__
from prefbench.errors import PrefbenchError, UserError

if TYPE_CHECKING:
    from prefbench.registry import Entry, Kind
    from prefbench.report.record import Record
    from prefbench.spec import RunSpec

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
        except OSError as error:
            where = f": '{error.filename}'" if error.filename else ""
            _fail(f"{error.strerror or error}{where}.", PrefbenchError.exit_code)
        except MemoryError:
            _fail("out of memory: take a smaller model or a smaller batch.", PrefbenchError.exit_code)


def _fail(message: str, code: int) -> NoReturn:
    print(f"prefbench: error: {_one_line(message)}", file=sys.stderr)
    raise typer.Exit(code)


def _one_line(text: str) -> str:
    """Without line breaks, and without the control characters that a name may hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


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
            if category is UserWarning and Path(filename).is_relative_to(Path(__file__).parent):
                _warn(str(message))
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def _warn(message: str) -> None:
    print(f"prefbench: warning: {_one_line(message)}", file=sys.stderr)


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
    plugin: Plugin = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing unless something goes wrong.")] = False,
) -> None:
    """Run an aligner on a task and tell, group by group, who won.

    A run that was stopped continues where it was; what is stored is not computed again.
    """
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
    settings = read_config(config) if config is not None else {}
    settings |= {key: value for key, value in given.items() if value is not None}
    settings["set"] = _merged(settings.get("set", {}), sets or [])
    specs = _specs(settings)
    folder = Path(settings.get("runs_dir", "runs")).expanduser()
    status = _run_all(specs, folder, settings, "seeds" in settings, as_json, quiet)
    if status != "ok":
        raise typer.Exit(PrefbenchError.exit_code)


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


def _merged(table: Mapping[str, Mapping[str, Any]], items: list[str]) -> dict[str, dict[str, Any]]:
    """The tables of a run file with what --set says instead."""
    from prefbench.spec import parse_sets

    result: dict[str, dict[str, Any]] = {section: dict(options) for section, options in table.items()}
    for section, options in parse_sets(items).items():
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
) -> str:
    """Run every seed, whatever becomes of the others; `ok` if all of them are."""
    from rich.console import Console

    from prefbench.report import display

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
            from prefbench.run import run as run_one

            folder, record = run_one(spec, runs_dir, reporter)
        folders.append(folder)
        records.append(record)
        if record.status == "ok":
            say(display.render(display.result_table(record), results))
            say(display.verdict(record))
        else:  # also when quiet: the exit code alone does not say why
            print(display.verdict(record), file=sys.stderr)
        say(f"record: {folder / 'record.json'}")
        if (folder / "error.txt").exists() and record.status == "failed":
            say(f"error: {folder / 'error.txt'}")
    summary = None
    if several:
        from prefbench.report.leaderboard import summarise_seeds

        summary = summarise_seeds(folders)
        say(display.render(display.seeds_table(summary), results))
    if any(record.status == "ok" for record in records):
        say(_next_steps(specs[0], settings, runs_dir))
    if as_json:
        plain = [record.model_dump(mode="json") for record in records]
        _print_json(plain[0] if summary is None else {"records": plain, "summary": summary})
    return _worst_status(records)


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
    from prefbench.registry import entries

    other = "single_reward" if spec.aligner != "single_reward" else "maxmin"
    if other not in [entry.name for entry in entries("aligner")]:
        return ""
    words = ["prefbench", "run", "--task", spec.task, "--aligner", other]
    for name in ("model", "data", "minority_ratio", "seed", "seeds", "runs_dir"):
        if name in settings:
            words += [f"--{name.replace('_', '-')}", str(settings[name])]
    for file in settings.get("plugin", []):
        words += ["--plugin", file]
    for section, options in settings["set"].items():
        if section != "aligner":
            for name, value in options.items():
                words += ["--set", f"{section}.{name}={value}"]
    folder = shlex.quote(str(runs_dir))
    return (
        f"compare with: {shlex.join(words)}\n"
        f"        then: prefbench leaderboard build --runs-dir {folder} && prefbench leaderboard show"
    )


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
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a task, an aligner or a model.")],
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Show what NAME is and its options.

    NAME is a task, an aligner or a model.
    With --json a list, as a task and an aligner may have the same name.
    """
    from prefbench.registry import entries, suggest

    _load_plugins(plugin)
    kinds: tuple[Kind, ...] = ("task", "aligner", "model")
    everything = [entry for kind in kinds for entry in entries(kind)]
    found = [entry for entry in everything if entry.name == name]
    if not found:
        raise UserError(
            f"no task, aligner or model is called '{name}'.{suggest(name, (e.name for e in everything))}"
        )
    if as_json:
        _print_json([{**_summary(entry), "doc": entry.doc, "options": _options_of(entry)} for entry in found])
        return
    for entry in found:
        version = f"@{entry.version}" if entry.kind == "task" else ""
        print(f"{entry.kind} {entry.name}{version}  ({entry.function.__module__})\n\n{entry.doc}\n")
        if entry.kind == "task":
            print(f"provides: {_words(entry.provides)}")
        if entry.kind == "aligner":
            print(f"needs: {_words(entry.needs)}")
        rows = [
            [f"{entry.kind}.{option['name']}", _default(option), option["type"], option["doc"]]
            for option in _options_of(entry)
        ]
        if rows:
            _print_table("", ["option (--set)", "default", "type", "meaning"], rows)
        else:
            print("no options")


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
            "doc": _one_line(field.description or ""),
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


# ------------------------------------------------------------------------------ leaderboard, gate


@leaderboard.command()
def build(
    runs_dir: RunsDir = Path("runs"),
    out: Annotated[Path, typer.Option(help="The CSV file to write.")] = Path("leaderboard/results.csv"),
    plugin: Plugin = None,
) -> None:
    """Make the leaderboard of a runs folder."""
    from prefbench.report.leaderboard import build, write_csv

    _load_plugins(plugin)  # to tell options from defaults
    frame = build(runs_dir)
    write_csv(frame, out)
    print(f"{len(frame)} {'row' if len(frame) == 1 else 'rows'} written to {out}")


@leaderboard.command("show")
def show_leaderboard(
    file: Annotated[Path, typer.Argument(help="From `leaderboard build`.")] = Path("leaderboard/results.csv"),
    fmt: Annotated[
        Literal["rich", "markdown", "csv"], typer.Option("--format", help="How to print it.")
    ] = "rich",
) -> None:
    """Print a leaderboard."""
    from prefbench.report.leaderboard import read_csv, show

    print(show(read_csv(file), fmt))


@leaderboard.command()
def verify(runs_dir: RunsDir = Path("runs")) -> None:
    """Compute records again from their evidence.

    Exit 1 if one does not follow.
    """
    from prefbench.report.record import RECORD_FILE, verify

    folders = [path.parent for path in sorted(runs_dir.glob(f"*/{RECORD_FILE}"))]
    if not folders:
        raise UserError(f"no record in '{runs_dir}': name a runs folder with --runs-dir.")
    wrong = 0
    for folder in folders:
        try:
            found = verify(folder)
        except UserError as error:
            found = [str(error)]
        wrong += bool(found)
        for sentence in found:
            print(f"{folder.name}: {_one_line(sentence)}")
    print(f"{len(folders) - wrong} of {len(folders)} records follow from their evidence")
    if wrong:
        raise typer.Exit(1)


@app.command()
def gate(
    baseline: Annotated[Path, typer.Option(metavar="FILE.csv", help="From `leaderboard build`.")] = Path(
        "leaderboard/results.csv"
    ),
    runs_dir: RunsDir = Path("runs"),
    metric: Annotated[
        str, typer.Option(help="worst_group, minority, majority or mean, each with _win_rate.")
    ] = "minority_win_rate",
    margin: Annotated[float, typer.Option(help="The drop that is tolerated: 0.03 is three points.")] = 0.03,
    level: Annotated[float, typer.Option(help="Chance of a false alarm.")] = 0.05,
    strict: Annotated[
        bool, typer.Option("--strict", help="Close also for undecided rows and for those not run again.")
    ] = False,
    baseline_runs: Annotated[
        Path | None, typer.Option(help="The runs behind the baseline, to compare prompt by prompt.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare runs with a published leaderboard.

    Exit 1 if a result fell by more than the margin.
    """
    from prefbench.report.gate import gate

    report = gate(baseline, runs_dir, metric, margin, level, strict, baseline_runs)
    if as_json:
        _print_json(report.to_dict())
    else:
        print("\n".join(_one_line(sentence) for sentence in report.sentences))
    if report.exit_code:
        raise typer.Exit(report.exit_code)


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
    from prefbench.evaluate import theory
    from prefbench.report.theory_plot import save_figure
    from prefbench.spec import parse_ratio, parse_sets

    _load_plugins(plugin)
    given = parse_sets(sets or [])
    if given.keys() - {"task"}:
        raise UserError(f"--set {min(given.keys() - {'task'})}...: theory has options of the task only.")
    frame = theory.sweep(
        task,
        minority_ratios=[parse_ratio(text) for text in minority_ratio] if minority_ratio else None,
        betas=beta or theory.BETAS,
        options=_swept(sweep) if sweep else None,
        sets=given.get("task", {}),
        seeds=seeds,
    )
    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / "theory.csv", index=False)
    files = [out / "theory.csv", *save_figure(frame, out)]
    bounds, words = theory.summary(frame), theory.verdicts(frame)
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
def schema() -> None:
    """Print the JSON Schema of a run's record."""
    from prefbench.report.record import json_schema

    _print_json(json_schema())


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def _print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console

    from prefbench.report.display import render, rows_table

    print(render(rows_table(title, header, rows), Console()))


if __name__ == "__main__":
    main()
