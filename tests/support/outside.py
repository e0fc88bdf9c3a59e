"""Policies from outside for tests: a small problem's prompts, files that answer them, and commands."""

import json
from pathlib import Path

from support.commands import Outcome, sets, typed
from support.tiny import TINY_SETS

TASK = ["--task", "imdb_two_group"]
OF_TASK = [item for item in TINY_SETS if item.startswith("task.")]
SAID = "a joy ."


def evaluated(policy: str, runs_dir: Path, *more: object, options: list[str] | None = None) -> Outcome:
    """`prefbench evaluate` on the built-in task, small enough to take a second."""
    chosen = sets(*TINY_SETS, *(options or []))
    return typed("evaluate", *TASK, "--policy", policy, "--runs-dir", runs_dir, *chosen, *more)


def prompts(folder: Path, *more: object) -> list[dict]:
    """The prompts that `prefbench evaluate --write-prompts` writes."""
    path = folder / "prompts.jsonl"
    path.unlink(missing_ok=True)
    done = typed("evaluate", *TASK, "--write-prompts", path, *sets(*OF_TASK), *more)
    assert done.code == 0, done.err
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path: Path, rows: list[dict]) -> Path:
    """Rows as JSON lines."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def answers(folder: Path, said: str = SAID) -> list[dict]:
    """A response to each prompt, as rows."""
    return [{"prompt_id": row["prompt_id"], "response": said} for row in prompts(folder)]
