"""Sweeps in processes of their own."""

import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from prefbench.spec import RunSpec
from prefbench.sweep.file import read_sweep
from support.commands import Outcome, typed

QUICK = ["task.test_prompts=20", "task.pairs_per_annotator=5"]


WORLD = 'task = "bandit_two_group"\n'


def written(text: str, name: str = "sweep.toml") -> str:
    Path(name).write_text(textwrap.dedent(text))
    return name


def specs_of(text: str) -> list[RunSpec]:
    """The cells of a sweep file of this text."""
    return read_sweep(written(text)).expand()


def tables(*sections: str, items: list[str]) -> str:
    """`--set` items as the tables of a sweep file."""
    lines = []
    for section in sections:
        lines.append(f"[set.{section}]")
        lines += [
            f"{name} = {value}"
            for where, name, value in (re.split("[.=]", item) for item in items)
            if where == section
        ]
    return "\n".join(lines) + "\n"


PLUGIN = '''
"""Aligners that behave badly."""
import os, signal, time
from pathlib import Path
from prefbench.registry import NoOptions, aligner


@aligner("swept_raises")
def swept_raises(view, backbone, options: NoOptions):
    """Raises."""
    raise ValueError("on purpose")


@aligner("swept_dies_once")
def swept_dies_once(view, backbone, options: NoOptions):
    """Is killed the first time."""
    if not Path("died").exists():
        Path("died").write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return backbone.reference


@aligner("swept_dies")
def swept_dies(view, backbone, options: NoOptions):
    """Is killed every time."""
    with open("deaths", "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


@aligner("swept_waits")
def swept_waits(view, backbone, options: NoOptions):
    """Takes for ever as long as there is a file called `wait`."""
    print("a plug-in that prints")
    with open("begun", "a") as file:
        file.write("x")
    while Path("wait").exists():
        time.sleep(0.05)
    return backbone.reference
'''


def started(*words: object, command: str = "sweep", **more) -> subprocess.Popen:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "prefbench", command, *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **(pipes | more))


def ended(process: subprocess.Popen) -> Outcome:
    out, err = process.communicate(timeout=120)
    return Outcome(process.returncode, out, err)


def until(condition, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def leaderboard(runs_dir: str) -> bytes:
    """The leaderboard's bytes, but for the day on which the runs were made."""
    more = ["--plugin", "bad.py"] if Path("bad.py").exists() else []
    outcome = typed("leaderboard", "build", "--runs-dir", runs_dir, "--out", "board.csv", *more)
    assert outcome.code == 0, outcome.err
    return re.sub(rb"\b\d{4}-\d\d-\d\d\b", b"DAY", Path("board.csv").read_bytes())
