"""`pb.run`: the command's runs from Python, their options, and how they fail."""

from __future__ import annotations

import contextlib
import doctest
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import prefbench as pb
from prefbench import consent
from prefbench.api import runs as api_runs
from prefbench.api.results import Results
from prefbench.record.files import read_record
from prefbench.spec import make_spec, run_name
from prefbench.store.progress import Silent
from support.small_world import SMALL, WORLD

COMMAND = (sys.executable, "-m", "prefbench")
ONE_LINE = r"^[^\n]*$"


def test_a_run_is_the_commands(longest: Results, folder: Path, tmp_path: Path) -> None:
    words = ["run", "--task", WORLD, "--aligner", "longest", "--seeds", "2", "--json"]
    sets = [word for name, value in SMALL.items() for word in ("--set", f"task.{name}={value}")]
    done = subprocess.run(
        [*COMMAND, *words, *sets, "--runs-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    records = json.loads(done.stdout)["records"]
    assert [record["spec"] for record in records] == [record.spec for record in longest.records]
    assert [record["stages"] for record in records] == [record.stages for record in longest.records]
    for path in longest.paths:
        assert path.parent == folder
        assert (tmp_path / path.name / "items.parquet").read_bytes() == (path / "items.parquet").read_bytes()


def test_a_run_shows_how_it_goes_on_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pb.run(WORLD, "longest", seeds=[3, 4], runs_dir=tmp_path, task_options=SMALL)
    out, err = capsys.readouterr()
    assert out == ""
    assert [line for line in err.splitlines() if line.startswith("seed")] == ["seed 3", "seed 4"]
    assert "policy: started" in err
    pb.run(WORLD, "longest", seeds=[3], runs_dir=tmp_path, task_options=SMALL, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_options_are_the_specifications(tmp_path: Path) -> None:
    found = pb.run(
        "bandit_k_group",
        "single_reward",
        data="synthetic",
        minority_ratio="4:1",
        seeds=np.arange(2, 3),
        runs_dir=tmp_path,
        task_options={**SMALL, "groups": 3},
        aligner_options={"reward_epochs": 2},
        evaluate_options={"samples": 2},
        quiet=True,
    )
    record = found.record
    assert (record.seed, record.minority_ratio, record.samples_per_prompt) == (2, 0.2, 2)
    assert len(record.groups) == 3 and record.model == "finite"
    assert record.spec["aligner_options"]["reward_epochs"] == 2
    assert found.paths == [tmp_path / run_name(make_spec_of(record.spec))]


def make_spec_of(spec: dict[str, Any]) -> Any:
    names = ("task", "aligner", "model", "data", "minority_ratio", "seed")
    sets = {section: spec[f"{section}_options"] for section in ("task", "aligner", "model", "evaluate")}
    return make_spec(**{name: spec[name] for name in names}, sets=sets)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"aligner": "maxmim"}, "unknown aligner 'maxmim'. Did you mean 'maxmin'"),
        ({"task": 3}, "task 3 is neither a name nor a function"),
        ({"aligner": len}, "function 'len' is not registered"),
        ({"seeds": 0}, "seeds '0' is not a whole number from 1 up"),
        ({"seeds": True}, "seeds True is not a whole number"),
        ({"seeds": "three"}, "seeds 'three' is not a whole number"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [1, 2, 1]}, "seed 1 is named twice"),
        ({"seeds": [-1]}, "seed '-1' is not a whole number from 0 up"),
        ({"seeds": 1.5}, "seeds 1.5 is not"),
        ({"minority_ratio": [0.2]}, "minority ratio"),
        ({"task_options": {"noize": 2}}, "unknown option task.noize"),
        ({"task_options": ["noise"]}, "task_options is no dictionary"),
        ({"aligner_options": {1: 2}}, "aligner_options is no dictionary"),
        ({"runs_dir": 7}, "runs_dir 7 is no path"),
        ({"data": "no/such/file"}, "reads no data"),
        ({"allow_host": "not a host!"}, "that is no host"),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    arguments = {"task": WORLD, "aligner": "longest", "runs_dir": tmp_path / "new", "quiet": True} | given
    with pytest.raises(pb.UserError, match=ONE_LINE) as caught:
        pb.run(**arguments)
    assert said in str(caught.value)
    assert not list(tmp_path.glob("new/*/record.json"))


def test_servers_are_allowed_for_a_run_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def stopped(*_: Any, **__: Any) -> Iterator[Any]:
        seen.append(consent.allowed())
        raise pb.UserError("stopped")

    monkeypatch.setattr(api_runs, "run_specs", stopped)
    consent.allow({"first.example": None})
    with pytest.raises(pb.UserError, match="stopped"):
        pb.run(WORLD, "longest", runs_dir=tmp_path, allow_host=["second.example=SECOND_KEY"])
    assert seen == [{"first.example": None, "second.example": "SECOND_KEY"}]
    assert consent.allowed() == {"first.example": None}


def test_an_interrupt_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("prefbench.running.seeds.run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pb.run(WORLD, "longest", runs_dir=tmp_path, quiet=True)


def test_a_run_that_fails_warns_and_says_why(tmp_path: Path, forgotten: None) -> None:
    @pb.aligner("broken")
    def broken(view: pb.View, backbone: pb.Backbone, options: pb.NoOptions) -> pb.Policy:
        """Fails."""
        raise ValueError("on purpose")

    with pytest.warns(UserWarning, match="failed: aligner 'broken' failed with ValueError: on purpose"):
        found = pb.run(WORLD, broken, runs_dir=tmp_path, task_options=SMALL, quiet=True)
    assert found.record.status == "failed"
    assert "on purpose" in repr(found) and "error.txt" in repr(found)
    (row,) = found.frame().to_dict("records")
    assert row["status"] == "failed" and row["win_rate"] is None
    with pytest.raises(pb.UserError, match="no run here has items, the first is failed: aligner 'broken'"):
        found.items()
    with pytest.raises(pb.UserError, match="cannot be drawn: there is no whole set of runs"):
        found.plot("gap")


def test_examples_in_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(api_runs)
    assert found.attempted and not found.failed


def test_progress_goes_to_whoever_is_put_around(tmp_path: Path) -> None:
    """As `prefbench run --profile` does."""
    heard: list[str] = []

    class Hears(Silent):
        def begin(self, stage: str, stored: bool) -> None:
            heard.append(stage)

    spec = make_spec(task="worst_case_two_group", aligner="reference")
    around: Any = lambda spec, reporter: contextlib.nullcontext(Hears())  # noqa: E731
    ((folder, record),) = api_runs.run_specs([spec], tmp_path, quiet=True, around=around)
    assert "policy" in heard and record == read_record(folder)
