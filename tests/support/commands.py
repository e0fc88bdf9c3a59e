"""The command line in this process, and runs of a second."""

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from prefbench.cli.entry import main
from support.tiny import TINY_SETS

TASK = ["--task", "imdb_two_group", "--aligner", "constant"]
SMALL_PPO = [
    "aligner.iterations=2",
    "aligner.batch=16",
    "aligner.reward_epochs=1",
    "aligner.learning_rate=3e-2",
]
"""Options of `single_reward` that make its PPO short."""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        (line,) = self.err.splitlines()
        assert line.startswith("prefbench: error: ")
        return line.removeprefix("prefbench: error: ")


def typed(*args: object, columns: int = 120) -> Outcome:
    """The command, in this process, with a terminal so many columns wide."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["prefbench", *map(str, args)]),
        patch.dict(os.environ, {"COLUMNS": str(columns)}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as error:
            code = int(error.code or 0)
    return Outcome(code, out.getvalue(), err.getvalue())


def sets(*items: str) -> list[str]:
    return [word for item in items for word in ("--set", item)]


def tiny_run(aligner: str, runs_dir: Path, *more: object, options: list[str] | None = None) -> Outcome:
    """A run of the built-in task that takes a second."""
    chosen = sets(*TINY_SETS, *(options or []))
    words = ["run", "--task", "imdb_two_group", "--aligner", aligner, "--runs-dir", runs_dir]
    return typed(*words, *chosen, *more)


def record_of(outcome: Outcome) -> dict:
    """The record that a command with `--json` printed."""
    return json.loads(outcome.out)
