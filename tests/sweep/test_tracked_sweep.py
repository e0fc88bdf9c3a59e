"""Sweeps whose cells are tracked: by workers, by Ray's, and those that were done before."""

import json
import sys
from pathlib import Path

import pytest

from prefbench.record.files import read_record
from prefbench.spec import run_name
from prefbench.sweep.cell import run_cell, told_again
from prefbench.sweep.ray_cluster import _remote_cell
from support.commands import typed
from support.sweeps import QUICK, WORLD, specs_of, tables, written
from support.trackers import FAKE_WANDB, installed

pytestmark = pytest.mark.usefixtures("restored")
TEXT = WORLD + 'aligner = ["longest", "shortest"]\nseeds = 2\n' + tables("task", items=QUICK)


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    (tmp_path / "packages").mkdir()
    yield from installed("wandb", FAKE_WANDB, tmp_path / "packages", monkeypatch)


def summaries(wandb):
    return sorted(call["figures"]["worst_group_win_rate"] for call in wandb.calls("summary"))


def test_every_cell_is_told_also_those_that_were_done_before(wandb):
    specs = specs_of(TEXT)
    file = written(TEXT)
    outcome = typed("sweep", file, "--track", "wandb", "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert {call["name"] for call in wandb.calls("init")} == {run_name(spec) for spec in specs}
    assert len(wandb.calls("init")) == len(wandb.calls("finish")) == 4
    rates = sorted(read_record(Path("runs") / run_name(spec)).worst_group_win_rate for spec in specs)
    assert summaries(wandb) == rates
    wandb.file.unlink()
    again = typed("sweep", file, "--track", "wandb", "--json")
    assert json.loads(again.out)["done_before"] == 4
    assert summaries(wandb) == rates and len(wandb.calls("finish")) == 4
    wandb.file.unlink()
    assert typed("sweep", file, "--quiet").code == 0 and not wandb.calls()


def test_a_tracker_that_fails_is_one_line_and_no_cell_fails(wandb, monkeypatch):
    file = written(TEXT)
    assert typed("sweep", file, "--quiet").code == 0
    (folder,) = (path for path in Path("runs").iterdir() if "longest" in path.name and "s0" in path.name)
    (folder / "record.json").unlink()  # one cell to run, three that were done before
    monkeypatch.setenv("FAKE_TRACKER_FAILS", "init")
    outcome = typed("sweep", file, "--track", "wandb", "--quiet")
    assert outcome.code == 0
    assert outcome.err == (
        "prefbench: warning: wandb lacks 4 of 4 cells, or part (OSError: the network is away).\n"
    )
    assert read_record(folder).status == "ok"


def test_a_cell_of_a_cluster_is_told_too(wandb, tmp_path, monkeypatch):
    spec = specs_of(TEXT)[0]
    asked = (spec.to_dict(), str(tmp_path / "runs"), [], {}, 1, True, "wandb")
    assert _remote_cell(*asked)["status"] == "ok" and len(wandb.calls("summary")) == 1
    assert _remote_cell(*asked)["status"] == "before" and len(wandb.calls("summary")) == 2
    monkeypatch.setitem(sys.modules, "wandb", None)  # a node may lack the package
    lacking = _remote_cell(*asked)
    assert lacking["status"] == "before" and "pip install 'prefbench[wandb]'" in lacking["untracked"]


def test_a_record_that_is_gone_is_told_of_nobody(wandb, tmp_path):
    (said,) = told_again(specs_of(TEXT)[0], tmp_path / "runs", "wandb")
    assert "no record at" in said and not wandb.calls()


def test_a_cell_that_waits_for_another_process_leaves_nothing_behind(wandb, tmp_path, monkeypatch):
    from prefbench.running import run as running
    from prefbench.store.progress import Silent
    from prefbench.store.stages import Busy

    def busy(*_):
        raise Busy("another process is at it.")

    monkeypatch.setattr(running, "measure", busy)
    outcome = run_cell(specs_of(TEXT)[0], tmp_path / "runs", Silent(), False, "wandb")
    assert outcome.status == "busy" and outcome.untracked is None and not wandb.calls()


def test_what_is_wrong_with_the_tracker_is_told_before_anything_starts(monkeypatch):
    file = written(TEXT)
    monkeypatch.setitem(sys.modules, "trackio", None)
    assert "pip install 'prefbench[trackio]'" in typed("sweep", file, "--track", "trackio").error
    assert "--dry-run" in typed("sweep", file, "--track", "trackio", "--dry-run").error
    assert not Path("runs").exists()
