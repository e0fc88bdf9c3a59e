"""Completion by a shell: the script of each, and the words that a shell is given."""

import os
import shutil
import subprocess
import sys

import pytest

from support.commands import typed


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """A `prefbench` that a shell finds."""
    command = tmp_path / "prefbench"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m prefbench "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def offered(shell, line):
    """Words that a shell is offered for the last word of a line, by the protocol of typer's scripts."""
    words = line.split(" ")
    asked = {
        "_PREFBENCH_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        ["prefbench"], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_calls_the_program_back(shell):
    outcome = typed("completion", shell)
    assert outcome.code == 0
    assert "_PREFBENCH_COMPLETE=complete_" + shell in outcome.out
    assert typed("completion", "tcsh").code == 2


def test_bash_completes_what_was_begun(on_path):
    bash = shutil.which("bash")
    script = (
        'eval "$(prefbench completion bash)"\n'
        'COMP_WORDS=(prefbench r) COMP_CWORD=1; _prefbench_completion prefbench; echo "${COMPREPLY[*]}"\n'
        "complete -p prefbench\n"
    )
    done = subprocess.run([bash, "--norc", "-c", script], capture_output=True, text=True, check=True)
    words, registered = done.stdout.strip().rsplit("\n", 1)
    assert words.split() == ["run", "report"]
    assert registered == "complete -o default -F _prefbench_completion prefbench"


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_what_was_begun(on_path):
    begun = 'complete -C "prefbench r"; complete -C "prefbench run --task imdb"'
    script = f"prefbench completion fish | source; {begun}"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True)
    offered = [line.split("\t") for line in done.stdout.splitlines()]
    assert [word for word, _ in offered] == ["report", "run", "imdb_two_group"]
    assert offered[2][1].startswith("Movie reviews")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("prefbench run --task imdb", ["imdb_two_group"]),
        ("prefbench run --aligner maxmin_", ["maxmin_known_groups"]),
        ("prefbench run --model gp", ["gpt2"]),
        ("prefbench compare single_reward_", ["single_reward_balanced"]),
        ("prefbench show tulu2", ["tulu2-7b"]),
        ("prefbench check worst", ["worst_case_two_group"]),
        ("prefbench leaderboard fr", ["frontier"]),
        ("prefbench run --min", ["--minority-ratio"]),
    ],
)
def test_names_and_options_are_completed(on_path, line, words):
    assert offered("bash", line).split() == words


def test_zsh_and_fish_are_told_what_a_name_is(on_path):
    assert "Movie reviews" in offered("zsh", "prefbench run --task imdb")
    assert offered("fish", "prefbench run --task imdb").startswith("imdb_two_group\tMovie reviews")
