"""The workflows on GitHub: they run what `.ci/run` and README.md run, may do little, and are pinned."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.pages import PROJECT, ROOT, marked

WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in ROOT.glob(".github/workflows/*.yml")}
OUTPUTS = {"--summary", "--junit"}
"""Options by which a workflow keeps what the gate says."""


def jobs(name: str) -> dict[str, dict[str, Any]]:
    return WORKFLOWS[name]["jobs"]


def commands(job: dict[str, Any]) -> list[str]:
    return [" ".join(step["run"].split()) for step in job["steps"] if "run" in step]


def steps_of_ci() -> Iterator[str]:
    """Every command that `.ci/run` says and runs, with the README's two in their places."""
    install, tests = marked("test").rsplit(" && ", 1)
    script = re.sub(r"\\\n\s*", "", (ROOT / ".ci" / "run").read_text())
    for command in re.findall(r"^(?:if ! )?step (.*?)(?:; then)?$", script, re.MULTILINE):
        if "${command" in command:
            yield install if "%" in command else tests
        else:
            yield command.replace("$temporary", "$RUNNER_TEMP")


def gate_words(command: str) -> list[str]:
    """The words of a gate's command; its runs, where it lies and what it keeps may differ."""
    words = shlex.split(command)
    words[0] = Path(words[0]).name
    words[words.index("--runs-dir") + 1] = ""
    kept = [i for i, word in enumerate(words) if not OUTPUTS & {word, words[i - 1]}]
    return [words[i] for i in kept]


def is_of_the_gate(command: str) -> bool:
    """True of the commands that make its runs and judge them."""
    return "baseline.sh" in command or " gate " in command


def test_the_workflows_run_every_step_of_ci_and_no_other():
    ours = {command for job in jobs("ci.yml").values() for command in commands(job)}
    gate = [command for command in steps_of_ci() if is_of_the_gate(command)]
    assert len(gate) == 2
    assert ours == set(steps_of_ci()) - set(gate)


def test_the_gate_is_the_one_of_ci():
    (job,) = jobs("gate.yml").values()
    make, judge = (command for command in steps_of_ci() if is_of_the_gate(command))
    _, ours_make, ours_judge = commands(job)
    script, folder = shlex.split(ours_make)
    assert script == shlex.split(make)[0]
    assert f"--runs-dir {folder} " in ours_judge
    assert gate_words(ours_judge) == gate_words(judge)


def test_the_programs_of_the_steps_exist():
    for command in steps_of_ci():
        for word in shlex.split(command):
            if re.match(r"(leaderboard|benchmarks)/", word):
                assert (ROOT / word).exists(), command


def test_tests_run_on_the_oldest_python_and_a_new_one():
    versions = jobs("ci.yml")["tests"]["strategy"]["matrix"]["python"]
    assert versions == [PROJECT["requires-python"].removeprefix(">="), "3.13"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_and_nothing_else(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    for job in jobs(name).values():
        assert "permissions" not in job and job["timeout-minutes"] <= 90
        assert {**workflow.get("env", {}), **job.get("env", {})}["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_and_packages_kept(name):
    for job in jobs(name).values():
        used = {step["uses"].split("@")[0]: step for step in job["steps"] if "uses" in step}
        assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in used.values())
        assert used["actions/checkout"]["with"]["persist-credentials"] is False
        setup = used["actions/setup-python"]["with"]
        assert setup["cache"] == "pip" and (ROOT / setup["cache-dependency-path"]).is_file()
