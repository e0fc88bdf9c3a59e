"""The workflows on GitHub: they run what `.ci/run` and README.md run, may do little, and are pinned."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefbench.boards.sending import CHECK, SUBMISSIONS
from support.pages import PROJECT, ROOT, marked

WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in ROOT.glob(".github/workflows/*.yml")}
OUTPUTS = {"--summary", "--junit"}
"""Options by which a workflow keeps what the gate says."""
MAY_MORE = {("pages.yml", "deploy"): {"pages": "write", "id-token": "write"}}
"""Rights of jobs that may do more than read, none of which runs a command or has the project's files."""


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
                assert list(ROOT.glob(word)), command


def test_tests_run_on_the_oldest_python_and_a_new_one():
    versions = jobs("ci.yml")["tests"]["strategy"]["matrix"]["python"]
    assert versions == [PROJECT["requires-python"].removeprefix(">="), "3.13"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_and_nothing_else(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    for title, job in jobs(name).items():
        assert job.get("permissions", {}) == MAY_MORE.get((name, title), {}) and job["timeout-minutes"] <= 90
        if "permissions" in job:
            assert not commands(job) and not any("checkout" in step["uses"] for step in job["steps"])
        assert {**workflow.get("env", {}), **job.get("env", {})}["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_and_packages_kept(name):
    for job in jobs(name).values():
        steps = [step for step in job["steps"] if "uses" in step]
        assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps)
        used = {step["uses"].split("@")[0]: step for step in steps}
        fetched = [step["with"] for step in steps if step["uses"].startswith("actions/checkout@")]
        assert all(how["persist-credentials"] is False for how in fetched)
        if not commands(job):
            continue
        assert fetched
        setup = used["actions/setup-python"]["with"]
        assert setup["cache"] == "pip" and (ROOT / setup["cache-dependency-path"]).is_file()


def test_one_commit_of_an_action_is_used_everywhere():
    used = {
        step["uses"]
        for name in WORKFLOWS
        for job in jobs(name).values()
        for step in job["steps"]
        if "uses" in step
    }
    assert len({action.split("@")[0] for action in used}) == len(used)


def test_what_is_sent_is_data_and_the_code_is_not_the_senders():
    workflow = WORKFLOWS["submissions.yml"]
    assert workflow[True] == {"pull_request": {"paths": [f"{SUBMISSIONS}/**"]}}  # YAML reads `on` as true
    (job,) = jobs("submissions.yml").values()
    code, sent = (
        step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")
    )
    assert code["ref"] == "${{ github.event.pull_request.base.sha }}" and "path" not in code
    assert (sent["path"], sent["sparse-checkout"]) == ("sent", SUBMISSIONS)
    install, verify = commands(job)
    assert "sent" not in install
    words = shlex.split(verify)
    assert words == [".venv/bin/python", CHECK.split()[1], f"sent/{SUBMISSIONS}", "--known", SUBMISSIONS]
    assert (ROOT / words[1]).is_file() and (ROOT / SUBMISSIONS).is_dir()
    # Nothing of the pull request's own words comes into a command.
    assert not any("${{" in command for command in commands(job))


def test_the_site_is_published_as_ci_builds_it():
    workflow = WORKFLOWS["pages.yml"]
    assert workflow[True] == {"push": {"branches": ["main"]}}
    build, deploy = jobs("pages.yml").values()
    *made, compared = commands(build)
    assert set(made) <= set(steps_of_ci())
    # The board is on the site as it is, and no page of docs/ has its place.
    assert compared == 'cmp leaderboard/report.html "$RUNNER_TEMP/site/board.html"'
    assert not (ROOT / "docs" / "board.md").exists()
    kept = build["steps"][-1]
    assert kept["with"]["path"] == "${{ runner.temp }}/site" and "$RUNNER_TEMP/site" in made[-1]
    assert deploy["needs"] == "build" and len(deploy["steps"]) == 1


def test_the_template_of_a_pull_request_names_what_there_is():
    text = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text()
    assert len(text.splitlines()) < 30
    assert CHECK in text and f"{SUBMISSIONS}/" in text and "prefbench leaderboard submit" in text
    for path in re.findall(r"(?:docs/)?\w+\.md", text):
        assert (ROOT / path).is_file(), path
    assert "## Sending results" in (ROOT / "docs" / "leaderboard.md").read_text()
