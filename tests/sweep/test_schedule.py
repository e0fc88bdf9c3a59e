"""The order of a sweep's cells: who waits for whom, what is tried again, and how many work at once."""

from pathlib import Path

import pytest

from prefbench.errors import PrefbenchError
from prefbench.store import stages as store
from prefbench.store.stages import Store
from prefbench.sweep.cell import Job, in_order, labels_key, reference_key
from prefbench.sweep.cell import Outcome as CellOutcome
from prefbench.sweep.file import read_sweep
from prefbench.sweep.schedule import PAUSE_SECONDS, Schedule
from prefbench.sweep.sweep import make_job
from support.sweeps import WORLD, specs_of, written

pytestmark = pytest.mark.usefixtures("restored")


def grid_of(aligners: int = 2, ratios: int = 2, seeds: int = 3) -> list:
    names = ["dpo", "ipo", "maxmin", "single_reward"][:aligners]
    shares = [0.2, 0.5, 0.3][:ratios]
    return specs_of(WORLD + f"aligner = {names}\nminority_ratio = {shares}\nseeds = {seeds}\n")


def test_one_cell_of_each_reference_comes_first():
    specs = grid_of()
    ordered = in_order(specs)
    assert sorted(map(id, ordered)) == sorted(map(id, specs))
    assert len({reference_key(spec) for spec in ordered[:3]}) == 3
    same = specs_of(WORLD + 'aligner = "dpo"\nminority_ratio = [0.2, 0.5]')
    assert len({reference_key(spec) for spec in same}) == 1
    assert len({labels_key(spec) for spec in same}) == 2


def test_a_worker_takes_a_cell_that_does_not_wait_for_another():
    schedule = Schedule(grid_of(aligners=3, ratios=2, seeds=2), retries=0)
    first, waits = schedule.take()
    assert not waits
    second, _ = schedule.take()
    assert reference_key(second) != reference_key(first)
    third, waits = schedule.take()  # both references are being made: nothing better is left
    assert waits and reference_key(third) == reference_key(first)
    schedule.stage_done(first, "pairs")
    fourth, waits = schedule.take()
    assert reference_key(fourth) == reference_key(first)  # made by now, and the other is not
    assert not waits


def test_a_busy_cell_is_tried_again_after_others():
    now = [0.0]
    specs = grid_of(aligners=1, ratios=1, seeds=2)
    schedule = Schedule(specs, retries=0, clock=lambda: now[0])
    busy, _ = schedule.take()
    assert not schedule.finish(busy, CellOutcome("busy"))
    other, waits = schedule.take()
    assert other != busy and waits  # it is all that the worker can do
    assert schedule.finish(other, CellOutcome("ok"))
    assert schedule.take() is None
    now[0] += PAUSE_SECONDS
    again, _ = schedule.take()
    assert again == busy
    assert schedule.finish(again, CellOutcome("before"))
    assert schedule.over


def test_a_cell_is_given_up_after_so_many_deaths_and_a_full_disk_ends_everything():
    (spec,) = grid_of(aligners=1, ratios=1, seeds=1)
    schedule = Schedule([spec], retries=1)
    schedule.take()
    assert schedule.died(spec, "SIGKILL") is None
    assert schedule.take()[0] == spec
    assert schedule.died(spec, "SIGKILL").message == "its worker died 2 times: SIGKILL"
    assert schedule.over
    schedule = Schedule([spec], retries=1)
    schedule.take()
    with pytest.raises(PrefbenchError, match="the disk is full"):
        schedule.finish(spec, CellOutcome("stop", "the disk is full"))


def test_workers_times_threads_never_exceed_the_cores(monkeypatch):
    import prefbench.machine

    def job(text: str, workers: int | None) -> Job:
        sweep = read_sweep(written(text))
        return make_job(
            sweep, sweep.expand(), Path("runs"), engine="local", workers=workers, retries=2, address=None
        )

    monkeypatch.setattr(prefbench.machine, "cores", lambda: 8)
    monkeypatch.setattr(prefbench.machine, "threads_that_pay", lambda here: here)
    small = WORLD + 'aligner = "dpo"\n'
    assert [(job(small, n).workers, job(small, n).threads) for n in (None, 3, 20)] == [(8, 1), (3, 1), (8, 1)]
    big = 'task = "imdb_two_group"\nmodel = ["gpt2", "nano"]\naligner = "dpo"\n'
    assert (job(big, 4).workers, job(big, 4).threads) == (1, 8)
    some = big + "[set.model.gpt2]\nthreads = 3\n"
    assert (job(some, None).workers, job(some, None).threads) == (2, 3)


def test_a_stage_that_another_process_computes_is_waited_for_or_not(tmp_path):
    def inner(work):
        with store.waiting(False), pytest.raises(store.Busy):
            Store(tmp_path).stage("slow", {}, lambda work: None)
        (work.path / "x").write_text("x")

    assert (Store(tmp_path).stage("slow", {}, inner) / "x").exists()
