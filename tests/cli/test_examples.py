"""Examples in the help: every command has some, they are printed, and they work as typed."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from prefbench.cli.entry import COMMANDS, app, cache, leaderboard, program
from prefbench.cli.examples import START, examples
from support.commands import sets, typed
from support.tiny import TINY_SETS

GROUPS = {app: "", leaderboard: "leaderboard ", cache: "cache "}
COMMAND_WORDS = [f"{GROUPS[group]}{name}" for group, names in COMMANDS.items() for name in names]
NOT_TYPED = {
    "view": "it serves until it is stopped",
    "doctor": "it measures for half a minute",
    "gate": "it says no, rightly: the runs are the baseline's, and one seed decides nothing",
}
"""Commands whose examples are parsed alone, and why."""
WRITTEN = {"leaderboard submit": ["submission"], "new": ["my_aligner.py"]}
"""What the lines before have written, and these write anew."""
SLOW = ("check maxmin",)
"""Beginnings of lines that take minutes; tests/tools/test_check_built_ins.py checks every aligner."""
CODES = {"leaderboard frontier": 2}
"""Exit codes that are no 0: these runs have no strengths."""
SWEEP = 'task = "worst_case_two_group"\naligner = ["reference", "dpo"]\nseeds = 2\n'
TUNE = """
task = "bandit_two_group"
aligner = ["maxmin"]
configurations = 2
seed = [100]

[set.task]
test_prompts = 40
"""
GROUPS_FILE = '[[group]]\nname = "brief"\nutility = "conciseness"\n'


def commands_in(words):
    """The commands among a command's examples, each as words after `prefbench`."""
    lines = [line.split(" | ")[0] for line in examples()[words] if line.startswith("prefbench ")]
    return [shlex.split(line)[1:] for line in lines]


def parsed(words):
    """The command that words name, and its parameters; whatever cannot be parsed raises."""
    command, rest = program(), list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    with command.make_context(command.name, rest) as context:
        return dict(context.params)


def test_every_command_has_examples_and_nothing_else_has():
    assert set(examples()) == {START, *COMMAND_WORDS}
    for words, lines in examples().items():
        assert 1 <= len([line for line in lines if not line.startswith("#")]) <= 5, words


@pytest.mark.parametrize("words", COMMAND_WORDS)
def test_the_help_ends_with_examples_of_the_command(words):
    shown = typed(*words.split(), "--help", columns=60).out.split("\nExamples:\n")[1]
    assert tuple(line.strip() for line in shown.rstrip().splitlines()) == examples()[words]
    assert any(" ".join(each).startswith(words) for each in commands_in(words))


def test_the_help_of_the_program_says_where_to_start():
    shown = typed("--help").out
    assert shown.index("\nStart here:\n") < shown.index("\nOptions:\n")
    for line in examples()[START]:
        assert f"  {line}\n" in shown


@pytest.mark.parametrize("words", examples())
def test_examples_are_parsed(words):
    for line in commands_in(words):
        parsed(line)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder in which the first lines were typed, with the files that further examples name."""
    folder = tmp_path_factory.mktemp("examples")
    prompts = [{"id": i, "prompt": f"a prompt {i}", "response": "well " * (1 + i % 3)} for i in range(40)]
    longer = [{**row, "response": f"{row['response']}and more"} for row in prompts]
    for name, rows in (("new", prompts), ("old", longer)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for name, text in (("sweep", SWEEP), ("tune", TUNE), ("groups", GROUPS_FILE)):
        (folder / f"{name}.toml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in commands_in(START):
            outcome = typed(*line)
            assert outcome.code == 0, outcome.err
            if line[0] == "compare":
                assert outcome.out.startswith("A maxmin, B single_reward: gridworld_two_group@")
        assert typed(*commands_in("leaderboard build")[0]).code == 0
        assert typed(*commands_in("leaderboard submit")[0]).code == 0
    return folder


@pytest.mark.parametrize("words", [words for words in COMMAND_WORDS if words not in NOT_TYPED])
def test_examples_work_as_typed(words, prepared, tmp_path, monkeypatch):
    here = tmp_path / "here"
    shutil.copytree(prepared, here)
    for written in WRITTEN.get(words, ()):
        shutil.rmtree(here / written) if (here / written).is_dir() else (here / written).unlink()
    monkeypatch.chdir(here)
    for line in commands_in(words):
        if shlex.join(line).startswith(SLOW):
            continue
        if line[0] == "evaluate" and "--policy" in line:
            answer_prompts(Path("prompts.jsonl"), Path("outputs.jsonl"))
        of_text = "imdb_two_group" in line
        small = sets(*TINY_SETS) if of_text and line[0] != "run" else []
        dry = ["--dry-run"] if of_text and line[0] == "run" and "--dry-run" not in line else []  # minutes
        outcome = typed(*line, *small, *dry)
        assert outcome.code == CODES.get(words, 0), f"{shlex.join(line)}: {outcome.err}"


def answer_prompts(prompts, responses):
    """The answers of a model that says the same to everything."""
    rows = [json.loads(line) for line in prompts.read_text().splitlines()]
    responses.write_text("".join(f"{json.dumps({**row, 'response': 'good'})}\n" for row in rows))


def test_an_example_with_a_typing_error_is_found():
    with pytest.raises(Exception, match="No such option"):
        parsed(["run", "--tsk", "imdb_two_group"])


@pytest.mark.parametrize("group", [(), ("leaderboard",), ("cache",)])
def test_a_list_of_commands_cuts_no_sentence(group):
    said = typed(*group, "--help", columns=80).out
    listed = " ".join(said.partition("\nCommands:\n")[2].split())
    assert listed.endswith(".") and "..." not in listed
