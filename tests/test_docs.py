"""What the documentation says is true: commands parse, names exist, examples run, versions agree."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import prefbench
from prefbench import registry
from prefbench.cli.entry import program
from prefbench.cli.run_file import read_config
from prefbench.record.schema import EmRecord, GroupRecord, Provenance, Record, json_schema
from prefbench.running.run import run
from prefbench.spec import RunSpec, make_spec, parse_sets
from support.pages import FENCE, PAGES, PROJECT, README, ROOT, all_entries, fenced, marked


def spans(page: str) -> list[str]:
    """What stands between single backticks, outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", PAGES[page]))


def simple_commands(text: str) -> Iterator[list[str]]:
    """Every simple command of shell text, as words; comments are left out."""
    for line in text.splitlines():
        command: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word not in ("&&", "|"):
                command.append(word)
            elif command:
                yield command
                command = []


def shown_commands() -> list[tuple[str, list[str]]]:
    """Every `prefbench ...` command in a shell block: the page, and the words after `prefbench`."""
    return [
        (page, words[1:])
        for page in PAGES
        for block in fenced(page, "sh")
        for words in simple_commands(block)
        if Path(words[0]).name == "prefbench"
    ]


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the words that remain for it."""
    command: Any = program()
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command's name and its parameters; whatever cannot be parsed raises."""
    command, rest = find_command(words)
    assert not getattr(command, "commands", {}), f"prefbench {shlex.join(words)}: no such command"
    with command.make_context(command.name, list(rest)) as context:
        return command.name, dict(context.params)


def spec_of(settings: dict[str, Any]) -> RunSpec:
    names = ("task", "aligner", "policy", "model", "data", "minority_ratio", "seed")
    given = {name: settings[name] for name in names if settings.get(name) is not None}
    return make_spec(**given, sets=settings["set"])


@pytest.fixture(scope="module")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files printed in the pages, in one folder, its plug-ins loaded for this module only."""
    folder = tmp_path_factory.mktemp("examples")
    for page in PAGES.values():
        for name, body in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)^```$", page, re.M | re.S):
            (folder / name).write_text(body)
    for page in PAGES:
        for body in fenced(page, "toml"):
            name = re.match(r"# (\S+\.toml)\n", body)
            if name is not None:
                (folder / name[1]).write_text(body)
    known, loaded = dict(registry._entries), dict(registry._loaded)
    registry.load_plugins([str(path) for path in sorted(folder.glob("*.py"))])
    yield folder
    registry._entries.clear()
    registry._entries.update(known)
    registry._loaded.clear()
    registry._loaded.update(loaded)


# ------------------------------------------------------------------------------------------- commands


def test_the_readme_opens_with_the_two_commands() -> None:
    head = README.split("\n## ")[0]
    assert head.index("<!-- command: run -->") < head.index("<!-- command: test -->")


@pytest.mark.parametrize("name", ["run", "test"])
def test_installation_commands(name: str) -> None:
    make, install, last = simple_commands(marked(name))
    assert make == ["python3", "-m", "venv", ".venv"]
    assert install[:4] == [".venv/bin/pip", "install", "-c", "constraints.txt"]
    assert (ROOT / "constraints.txt").is_file()
    extras = re.findall(r"\[(.*)\]", install[-1])
    for extra in extras[0].split(",") if extras else []:
        assert extra in PROJECT["optional-dependencies"]
    if name == "test":
        assert last == [".venv/bin/python", "-m", "pytest", "-n", "auto", "--dist", "loadfile"]
    else:
        assert last[0] == ".venv/bin/prefbench"
        command, params = parsed(last[1:])
        assert command == "run" and spec_of(params | {"set": parse_sets(params["sets"] or [])})


def test_ci_extracts_the_same_test_command() -> None:
    script = ROOT / ".ci" / "run"
    sed = re.search(r"^command=\$\((sed .*)\)$", script.read_text(), re.MULTILINE)
    assert sed is not None
    result = subprocess.run(["bash", "-c", sed[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == marked("test")
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("page", "words"), [pytest.param(*shown, id=shlex.join(shown[1])) for shown in shown_commands()]
)
def test_shown_commands_are_accepted(
    page: str, words: list[str], example_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(example_files)
    name, params = parsed(words)
    for file in params.get("plugin") or []:
        assert Path(file).is_file(), f"{page} does not show {file}"
    if name == "evaluate" and params["policy"] is not None:
        assert spec_of(params | {"set": parse_sets(params["sets"] or [])})
    if name == "run":
        settings = read_config(params["config"]) if params["config"] else {}
        settings |= {key: value for key, value in params.items() if value is not None}
        sets = settings.get("set", {})
        for section, options in parse_sets(params["sets"] or []).items():
            sets.setdefault(section, {}).update(options)
        assert spec_of(settings | {"set": sets})
    if "name" in params and name != "evaluate":
        assert any(entry.name == params["name"] for entry in all_entries())


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_running_text_exist(page: str, example_files: Path) -> None:
    options = {option for command in every_command() for p in command.params for option in p.opts} | {
        "--help"
    }
    settable = {f"{entry.kind}.{name}" for entry in all_entries() for name in entry.options.model_fields}
    for span in spans(page):
        if span.startswith("prefbench "):
            words = span.split()[1:]
            command, rest = find_command(words)
            assert rest != words, f"{page}: `{span}`"
            assert set(re.findall(r"--[\w-]+", span)) <= {o for p in command.params for o in p.opts}, span
        elif span.startswith("--"):
            assert span.split()[0] in options, f"{page}: `{span}`"
        for name in re.findall(r"(?<![\w.])((?:task|aligner|model|policy)\.[a-z_]+)\b", span):
            assert name in settable, f"{page}: `{span}`"


def every_command() -> list[Any]:
    """Every command and sub-command of prefbench."""
    top = program().commands.values()
    return [leaf for command in top for leaf in getattr(command, "commands", {"": command}).values()]


# --------------------------------------------------------------------------------------- names, tables


def table_names(page: str, section: str | None = None) -> dict[str, list[str]]:
    """A page's table, or that under a heading: name to the other cells; a row may name several."""
    body = PAGES[page]
    if section is not None:
        body = body.split(f"\n## {section}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in body.splitlines()
        if line[:1] == "|"
    ]
    return {name: cells for first, *cells in rows[2:] for name in re.findall(r"`([\w-]+)`", first)}


def built_in(kind: registry.EntryKind) -> list[registry.Entry]:
    return [e for e in registry.entries(kind) if not e.function.__module__.startswith("prefbench_plugin_")]


def test_every_aligner_is_listed_with_its_needs_and_what_it_sees() -> None:
    listed = table_names("docs/aligners.md")
    assert set(listed) == {entry.name for entry in built_in("aligner")}
    for entry in built_in("aligner"):
        declared = [", ".join(sorted(fields)) or "nothing" for fields in (entry.needs, entry.sees)]
        assert [cell.strip("`") for cell in listed[entry.name][:2]] == declared, entry.name


def test_every_task_and_model_is_listed() -> None:
    tasks = {entry.name for entry in built_in("task")}
    assert tasks <= set(table_names("docs/tasks.md", "Tasks and data"))
    presets = {entry.name for entry in built_in("model")} - {"pretrained"}
    assert presets == set(table_names("docs/tasks.md", "Models"))


def test_the_pages_name_files_and_functions_that_exist() -> None:
    for page in PAGES:
        text = FENCE.sub("", PAGES[page])
        for path in re.findall(
            r"`((?:prefbench|tasks|baselines|tests|benchmarks|leaderboard|docs|\.ci|\.github)/[\w./]*)`", text
        ):
            assert (ROOT / path).exists(), f"{page}: {path}"
        for path, name in re.findall(r"`(prefbench/\S+\.py)`, `(\w+)`", text):
            assert re.search(rf"\b(def|class) {name}\b", (ROOT / path).read_text()), f"{page}: {path}, {name}"
    for name in re.findall(
        r"^.{60,} (\w+)$", "\n".join(re.findall(r"```\n(.*?)```", PAGES["docs/methods.md"], re.S)), re.M
    ):
        if "_" in name or name in ("gae", "adapt"):
            assert re.search(rf"def {name}\b", (ROOT / "prefbench/backbone/language/ppo.py").read_text()), (
                name
            )


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", PAGES[page]):
        assert (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"


# ------------------------------------------------------------------------------------------ the record


def test_the_published_schema_is_the_records() -> None:
    assert json.loads((ROOT / "docs" / "record.schema.json").read_text()) == json_schema()


def test_every_field_of_the_record_is_explained() -> None:
    page = PAGES["docs/record.md"]
    for field in chain(*(kind.model_fields for kind in (Record, GroupRecord, EmRecord, Provenance))):
        if not field.endswith("_ci"):
            assert f"`{field}`" in page, field


# -------------------------------------------------------------------------------------- the example files


def test_the_example_task_and_aligner_run(example_files: Path, tmp_path: Path) -> None:
    sets = parse_sets(
        [
            "task.annotators=6",
            "task.pairs_per_annotator=10",
            "task.test_prompts=20",
            "model.steps=20",
            "model.width=16",
            "model.layers=1",
            "model.vocabulary=300",
            "aligner.epochs=1",
        ]
    )
    spec = make_spec(task="harbour_weather", aligner="dpo_tilted", sets=sets)
    folder, record = run(spec, tmp_path)
    assert record.status == "ok", record.message
    assert record.needs == ("group",)
    assert [group.name for group in record.groups] == ["sunshine", "brevity"]
    assert (folder / "items.parquet").is_file()


def test_the_example_groups_really_disagree(example_files: Path) -> None:
    entry = registry.get("task", "harbour_weather")
    problem = entry.function("synthetic", 0.2, 0)
    responses = ["rain .", "sun then sun then sun and wind ."]
    sunshine, brevity = (group.utility(["p", "p"], responses) for group in problem.groups)
    assert sunshine[1] > sunshine[0] and brevity[1] < brevity[0]
    assert not set(problem.prompts.test) & {text.partition(":")[0] + ":" for text in problem.corpus}


def test_the_example_files_import_no_torch(example_files: Path) -> None:
    code = (
        "import sys; from prefbench import registry; registry.load_plugins(sys.argv[1:]); "
        "print('torch' in sys.modules)"
    )
    files = [str(path) for path in sorted(example_files.glob("*.py"))]
    result = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True)
    assert len(files) == 8 and result.stdout.strip() == "False"


# --------------------------------------------------------------------------------- versions and licence


def constraints() -> dict[str, Version]:
    lines = [line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = [line.split("==") for line in lines if line]
    assert all(len(pin) == 2 for pin in pins)
    return {canonicalize_name(name): Version(version) for name, version in pins}


UNPINNED = {"trackio", "wandb"}
"""Packages that no test has to have: trackers, which are stood in for."""


def test_the_constraints_pin_every_direct_dependency_within_its_range() -> None:
    pins = constraints()
    assert not pins.keys() & UNPINNED
    requirements = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    for text in requirements:
        requirement = Requirement(text)
        if requirement.name in UNPINNED:
            continue
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin is not None, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pin), f"{pin} is not in {requirement}"


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert PROJECT["version"] == prefbench.__version__ == str(citation["version"])
    assert f"## {prefbench.__version__}" in PAGES["CHANGELOG.md"]
    assert citation["title"] == PROJECT["name"]


def test_the_licence_is_there() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert PROJECT["license"] == "Apache-2.0" and PROJECT["license-files"] == ["LICENSE"]
