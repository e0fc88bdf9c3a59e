"""What every test of sweeps gets: a folder of its own to work in."""

import pytest

from prefbench.store.progress import Silent
from prefbench.sweep import tuning
from prefbench.sweep.cell import run_cell
from prefbench.sweep.sweep import Result


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every test works in a folder of its own, so that nothing is written by accident."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def here(monkeypatch):
    """Runs of tuning in this process; the list of those that ran."""
    ran = []

    def run_here(plan, job, engine, quiet, console):
        failed = []
        for spec in plan.todo:
            outcome = run_cell(spec, job.runs_dir, Silent(), wait=True)
            ran.append(spec)
            if outcome.status not in ("ok", "before"):
                failed.append((spec, outcome))
        return Result(len(plan.specs), len(plan.todo), len(plan.done), tuple(failed), 0.0)

    monkeypatch.setattr(tuning, "run_sweep", run_here)
    return ran
