"""The prompts that a task's policies are measured on, for somebody who answers them elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefbench import registry
from prefbench.consent import without_keys
from prefbench.errors import UserError
from prefbench.problem.people import people_of
from prefbench.problem.problem import Problem
from prefbench.spec import parse_ratio, resolve
from prefbench.store.files import write_atomically


def problem_stated(
    task: str, data: str, minority_ratio: str | float, seed: int, options: Mapping[str, Any]
) -> Problem:
    """The problem of a task, whoever is to solve it.

    Raises:
        UserError: one line on what is wrong with the task, its options or its data.
    """
    entry = registry.get("task", task)
    whole = without_keys(resolve(entry.options, options, "task", task))
    problem: Problem = entry.function(data, parse_ratio(minority_ratio), seed, **whole)
    people_of(problem, seed)  # an impossible share fails here
    return problem


def write_prompts(problem: Problem, out: Path) -> int:
    """Write the test prompts as JSON lines, each with its `prompt_id` and its `prompt`.

    Returns:
        Number of prompts.

    Raises:
        UserError: the file is there already, or cannot be written.
    """
    if out.exists():
        raise UserError(f"'{out}' is there already: name another file, or remove it.")
    rows = [{"prompt_id": place, "prompt": prompt} for place, prompt in enumerate(problem.measured)]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    except OSError as error:
        raise UserError(f"'{out}' cannot be written ({error.strerror}): name another file.") from None
    return len(rows)
