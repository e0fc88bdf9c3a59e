"""Sweeps: what a file may say, in which order cells run, and that nothing which happens to one loses work."""

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.errors import PrefbenchError, UserError
from prefbench.record.files import read_record
from prefbench.record.verify import comparable
from prefbench.running.run import run
from prefbench.spec import run_name
from prefbench.store import stages as store
from prefbench.store.progress import Silent
from prefbench.store.stages import Store
from prefbench.sweep.cell import Job, in_order, is_done, labels_key, reference_key, run_cell
from prefbench.sweep.cell import Outcome as CellOutcome
from prefbench.sweep.file import read_sweep
from prefbench.sweep.schedule import PAUSE_SECONDS, Schedule
from prefbench.sweep.sweep import make_job
from support.commands import typed
from support.sweeps import PLUGIN, QUICK, WORLD, ended, leaderboard, started, tables, until, written
from support.tiny import TINY_SETS

pytestmark = pytest.mark.usefixtures("restored")

REPOSITORY = Path(__file__).parents[2]


def specs_of(text: str) -> list:
    return read_sweep(written(text)).expand()


# ---------------------------------------------------------------------------------------- the file


def test_a_grid_is_every_combination_once_and_seeds_are_innermost():
    specs = specs_of(
        WORLD
        + """
        aligner = ["maxmin", "dpo"]
        minority_ratio = ["4:1", 0.5, "20%"]
        seeds = 2
        seed = 3
        [set.model]
        penalty = [0.1, 0.2]
        """
    )
    assert len({spec.hash for spec in specs}) == len(specs) == 2 * 2 * 2 * 2  # 4:1 and 20% are one ratio
    assert [spec.seed for spec in specs[:4]] == [3, 4, 3, 4]
    assert {spec.model_options["penalty"] for spec in specs} == {0.1, 0.2}
    assert {spec.minority_ratio for spec in specs} == {0.2, 0.5}
    assert {(spec.model, spec.data) for spec in specs} == {("finite", "synthetic")}


def test_options_may_be_for_one_name_and_then_go_before_those_for_all():
    specs = specs_of(
        WORLD
        + """
        aligner = ["gold_maxmin", "dpo", "ipo"]
        [set.aligner.dpo]
        beta = [0.3, 0.7]
        [set.aligner.ipo]
        beta = 0.2
        [set.task.bandit_two_group]
        annotators = 10
        """
    )
    betas = [(spec.aligner, spec.aligner_options["beta"]) for spec in specs if spec.aligner != "gold_maxmin"]
    assert betas == [("dpo", 0.3), ("dpo", 0.7), ("ipo", 0.2)]
    assert {spec.task_options["annotators"] for spec in specs} == {10}
    specs = specs_of(
        WORLD + 'aligner = ["dpo", "ipo"]\n[set.aligner]\nbeta = 0.9\n[set.aligner.ipo]\nbeta = 0.2\n'
    )
    assert [spec.aligner_options["beta"] for spec in specs] == [0.9, 0.2]


def test_several_grids_take_from_the_top_what_they_do_not_say():
    specs = specs_of(
        """
        seeds = 2
        minority_ratio = 0.5
        [set.evaluate]
        samples = 2
        [[grid]]
        task = "bandit_two_group"
        aligner = "dpo"
        set.aligner.beta = [0.1, 0.5]
        [[grid]]
        task = ["bandit_two_group", "worst_case_two_group"]
        aligner = "dpo"
        minority_ratio = [0.2, 0.5]
        seed = [7, 0]
        """
    )
    first, second = specs[:4], specs[4:]
    assert [(s.aligner_options["beta"], s.seed) for s in first] == [(0.1, 0), (0.1, 1), (0.5, 0), (0.5, 1)]
    assert {s.seed for s in second} == {7, 0}
    assert len(second) == 7  # one of the eight is in the first grid already: beta is 0.1 by default
    assert {s.evaluate_options["samples"] for s in specs} == {2}


def test_exclusions_match_names_ratios_seeds_and_options():
    specs = specs_of(
        WORLD.replace('"bandit_two_group"', '["bandit_two_group", "imdb_two_group"]')
        + """
        aligner = ["dpo", "ipo", "preference_matching"]
        minority_ratio = [0.2, 0.5]
        seeds = 2
        [set.aligner.dpo]
        beta = [0.1, 0.5]
        [[exclude]]
        task = "imdb_two_group"   # one that could not run at all may still be excluded
        aligner = "preference_matching"
        [[exclude]]
        task = "imdb_two_group"
        minority_ratio = "1:1"
        [[exclude]]
        aligner = ["dpo", "ipo"]
        minority_ratio = "4:1"
        seed = [1]
        [[exclude]]
        set.aligner.dpo.beta = 0.5
        """
    )
    assert not [s for s in specs if s.task == "imdb_two_group" and s.minority_ratio == 0.5]
    assert not [s for s in specs if s.aligner in ("dpo", "ipo") and (s.minority_ratio, s.seed) == (0.2, 1)]
    assert {s.aligner_options["beta"] for s in specs if s.aligner == "dpo"} == {0.1}
    assert len(specs) == 4 * 3 - 2 + (2 * 2 - 2)


def test_plugins_and_the_runs_folder_may_be_in_the_file():
    Path("mine.py").write_text(PLUGIN)
    sweep = read_sweep(
        written(
            WORLD
            + 'aligner = "swept_raises"\nplugin = ["mine.py"]\nruns_dir = "there"\n[resources]\ngpus = 0.5'
        ),
        stance="run",
    )
    assert [spec.aligner for spec in sweep.expand()] == ["swept_raises"]
    assert (sweep.plugins, sweep.runs_dir, sweep.cpus, sweep.gpus) == (("mine.py",), "there", 1.0, 0.5)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("task = ", ["sweep.toml: not a readable TOML file"]),
        ("seed = " + "9" * 5000, ["sweep.toml: not a readable TOML file"]),
        ('aligner = "dpo"', ["no task", 'task = "NAME"']),
        (WORLD, ["no aligner"]),
        (WORLD + 'alinger = "dpo"', ["unknown key 'alinger'", "Did you mean 'aligner'?"]),
        (WORLD + "aligner = []", ["aligner is an empty list"]),
        (WORLD + "aligner = 3", ["aligner = 3 is not text in quotes"]),
        (WORLD + 'aligner = ["dpo", 3]', ["aligner = 3 is not text in quotes"]),
        (WORLD + 'aligner = "maxmni"', ["unknown aligner 'maxmni'", "Did you mean 'maxmin'?"]),
        (WORLD + 'aligner = "dpo"\nmodel = "nanoo"', ["unknown model 'nanoo'"]),
        (WORLD + 'aligner = "dpo"\nmodel = "nano"', ["model 'nano' does not fit task"]),
        (WORLD + 'aligner = "constant"', ["'constant' does not apply to task"]),
        (
            WORLD + 'aligner = "dpo"\nminority_ratio = [0.2, 0.7]',
            ["minority_ratio: ", "'0.7' is not in (0, 0.5]"],
        ),
        (WORLD + 'aligner = "dpo"\nminority_ratio = true', ["minority_ratio = True is not a number"]),
        (WORLD + 'aligner = "dpo"\nseeds = [0, 1]', ["seeds = [0, 1]", "a list of them is called seed"]),
        (WORLD + 'aligner = "dpo"\nseeds = 0', ["seeds = 0 is not a whole number from 1 up"]),
        (WORLD + 'aligner = "dpo"\nseed = -1', ["seed = -1 is not a whole number from 0 up"]),
        (WORLD + 'aligner = "dpo"\nseed = [1, 2]\nseeds = 2', ["seed is a list, so leave out seeds"]),
        (WORLD + 'aligner = "dpo"\nset = 3', ["set is not a table"]),
        (WORLD + 'aligner = "dpo"\n[set]\ntask = 3', ["set.task is not a table"]),
        (WORLD + 'aligner = "dpo"\n[set.tsak]\na = 3', ["unknown option section 'tsak'", "'task'"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner]\nbeta = []', ["set.aligner.beta is an empty list"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner]\nbeta = nan', ["set.aligner.beta = nan is not a finite"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner]\nbeta = [0.1, "x"]', ["aligner.beta='x'"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner]\nbetta = 1', ["unknown option aligner.betta of 'dpo'"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner.ipo]\nbeta = 1', ["[set.aligner.ipo]", "does not have"]),
        (WORLD + 'aligner = "dpo"\n[set.aligner.dpo]\nbeta.x = 1', ["set.aligner.dpo.beta is a table"]),
        (WORLD + 'aligner = "dpo"\n[set.evaluate.dpo]\nsamples = 1', ["set.evaluate.dpo is a table"]),
        (
            WORLD + 'aligner = ["dpo", "reference"]\n[set.aligner]\nbeta = 1',
            ["aligner 'reference' has no option 'beta'", "[set.aligner.dpo]"],
        ),
        (WORLD + 'aligner = "dpo"\n[[exclude]]\naligner = "dpo"', ["every cell is excluded"]),
        (WORLD + 'aligner = "dpo"\n[[exclude]]\naligner = "ipo"', ["[[exclude]] 1 matches no cell"]),
        (WORLD + 'aligner = "dpo"\n[[exclude]]', ["[[exclude]] 1 says nothing"]),
        (WORLD + 'aligner = "dpo"\n[[exclude]]\nseeds = 3', ["[[exclude]] 1: unknown key 'seeds'", "'seed'"]),
        (WORLD + 'aligner = "dpo"\nexclude = 3', ["exclude is not a list of tables"]),
        (
            WORLD + '[[grid]]\naligner = "dpo"\n[[grid]]\naligner = "dpoo"',
            ["[[grid]] 2: unknown aligner 'dpoo'"],
        ),
        (WORLD + '[[grid]]\naligner = "dpo"\ngrid = 3', ["[[grid]] 1: unknown key 'grid'"]),
        (
            WORLD + 'aligner = "dpo"\nseeds = 90000\nminority_ratio = [0.2, 0.3]',
            ["180000 cells are more than"],
        ),
        (WORLD + 'aligner = "dpo"\nruns_dir = 3', ["runs_dir = 3 is not the name of a folder"]),
        (
            WORLD + 'aligner = "dpo"\nplugin = "gone.py"',
            ["sweep.toml names plug-ins (gone.py)", "--allow-plugins"],
        ),
        (WORLD + 'aligner = "dpo"\nplugin = 3', ["plugin = 3 is not text"]),
        (WORLD + 'aligner = "dpo"\n[resources]\ncpu = 3', ["[resources]: unknown key 'cpu'", "'cpus'"]),
        (WORLD + 'aligner = "dpo"\n[resources]\ngpus = "all"', ["resources.gpus = 'all' is not a number"]),
        (WORLD + 'aligner = "dpo"\ndata = "elsewhere"', ["data"]),
        (WORLD + 'aligner = "dpo"\nminority_ratio = 0.001', ["annotators"]),
    ],
)
def test_a_mistake_in_the_file_is_one_line_and_nothing_is_written(text, parts):
    outcome = typed("sweep", written(text))
    assert outcome.code == 2, outcome.err
    for part in parts:
        assert part in outcome.error
    assert os.listdir() == ["sweep.toml"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["gone.toml"], "gone.toml: no such file"),
        (["."], "not a regular file"),
        (["sweep.toml", "--address", "auto"], "say --engine ray"),
        (["sweep.toml", "--runs-dir", "sweep.toml"], "the runs folder 'sweep.toml' cannot be used"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_too(words, part):
    written(WORLD + 'aligner = "dpo"')
    outcome = typed("sweep", *words)
    assert outcome.code == 2
    assert part in outcome.error
    assert os.listdir() == ["sweep.toml"]


VALUES = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-3, 2**70), st.floats(), st.sampled_from(["dpo", "finite", "", "4:1"])
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["task", "dpo", "beta"]), inner)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "aligner",
                "model",
                "data",
                "minority_ratio",
                "seed",
                "seeds",
                "set",
                "grid",
                "exclude",
                "resources",
                "runs_dir",
            ]
        ),
        VALUES,
    )
)
def test_whatever_a_stranger_writes_is_a_sweep_or_a_mistake(table):
    def toml(value):
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(toml, value)) + "]"
        return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")

    text = WORLD + "\n".join(f"{key} = {toml(value)}" for key, value in ({"aligner": "dpo"} | table).items())
    try:
        assert specs_of(text)
    except UserError as error:
        assert "\n" not in str(error)


# -------------------------------------------------------------------------------------- dry runs


def test_a_dry_run_lists_cells_and_what_they_share_and_writes_nothing():
    file = written(
        WORLD + 'aligner = ["dpo", "maxmin"]\nminority_ratio = ["4:1", "1:1"]\nseed = [0, 1, 2, 7]\n'
        "[set.aligner.dpo]\nbeta = [0.1, 0.5]\n"
    )
    outcome = typed("sweep", file, "--dry-run")
    assert outcome.code == 0, outcome.err
    assert "bandit_two_group, finite, synthetic" in outcome.out
    assert re.search(r"dpo +0\.2 +beta=0\.5 +0-2 7 +0/4", outcome.out)
    assert "24 cells: 0 done before, 24 to run" in outcome.out
    assert "4 reference, 4 pairs, 8 labels" in outcome.out
    assert "no estimate of the time" in outcome.out
    plan = json.loads(typed("sweep", file, "--dry-run", "--json").out)
    assert (plan["n_cells"], plan["to_run"], plan["estimated_seconds"]) == (24, 24, None)
    assert plan["stages"] == {"reference": 4, "pairs": 4, "labels": 8}
    assert {cell["status"] for cell in plan["cells"]} == {"to run"}
    assert os.listdir() == ["sweep.toml"]


def test_an_estimate_comes_from_past_runs_and_counts_shared_stages_once():
    (spec,) = specs_of(WORLD + 'aligner = "dpo"\n' + tables("task", items=QUICK))
    folder, record = run(spec, Path("runs"))
    timings = {"pairs": 4.0, "labels": 1.0, "policy": 10.0, "samples": 2.0}
    (folder / "record.json").write_text(record.model_copy(update={"timings": timings}).model_dump_json())
    file = written(
        WORLD
        + 'aligner = ["dpo", "ipo"]\nminority_ratio = [0.2, 0.5]\nseeds = 2\n'
        + tables("task", items=QUICK)
    )
    plan = json.loads(typed("sweep", file, "--dry-run", "--json").out)
    # dpo at 0.5 twice and at 0.2 with the other seed; pairs of one seed and three sets of labels are to make.
    assert plan["done"] == 1
    assert plan["estimated_seconds"] == pytest.approx(3 * 12 + 4 + 3 * 1)
    assert plan["untimed"] == ["ipo"]
    said = typed("sweep", file, "--dry-run", "--workers", 1).out
    assert "about 0:43 of work, 0:43 with 1 worker, by 1 past run" in said
    assert "not in it, for want of a past run: ipo" in said


# ----------------------------------------------------------------------------------------- order


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


# --------------------------------------------------------------------------------------- running


def test_a_sweep_gives_the_records_of_its_runs_and_is_not_run_again():
    text = WORLD + 'aligner = ["dpo", "maxmin"]\nseeds = 2\n' + tables("task", items=QUICK)
    specs = specs_of(text)
    outcome = typed("sweep", "sweep.toml", "--json")
    assert outcome.code == 0, outcome.err
    assert re.search(r"4 cells: 4 run, 0 done before, 0 failed, in ", outcome.err)
    result = json.loads(outcome.out)
    assert (result["done"], result["done_before"], result["failed"]) == (4, 0, 0)
    assert all(cell["seconds"] > 0 for cell in result["cells"])
    for cell, spec in zip(result["cells"], in_order(specs), strict=True):
        _, alone = run(spec, Path("alone"))
        assert comparable(read_record(Path(cell["folder"]))) == comparable(alone)
    again = typed("sweep", "sweep.toml", "--quiet", "--json")
    assert again.err == ""
    assert json.loads(again.out)["done_before"] == 4
    # A run without its evidence is not done, and one of an older version of the task is not either.
    (Path("runs") / run_name(specs[0]) / "items.parquet").unlink()
    assert [is_done(spec, Path("runs")) for spec in specs] == [False, True, True, True]
    assert run_cell(specs[0], Path("runs"), Silent(), wait=True).status == "ok"
    assert run_cell(specs[0], Path("runs"), Silent(), wait=True).status == "before"


def test_a_dead_worker_costs_a_retry_and_a_bad_cell_does_not_stop_the_others():
    Path("bad.py").write_text(PLUGIN)
    file = written(
        WORLD
        + 'aligner = ["swept_raises", "swept_dies", "swept_dies_once", "dpo"]\nplugin = ["bad.py"]\n'
        + tables("task", items=QUICK)
    )
    outcome = typed("sweep", file, "--allow-plugins", "--retries", 1, "--workers", 2)
    assert outcome.code == 3
    assert "4 cells: 2 run, 0 done before, 2 failed" in outcome.out
    assert "a worker died (SIGKILL, out of memory perhaps)" in outcome.err
    said = outcome.err.splitlines()[-2:]
    assert any(re.match(r"failed: .*swept_raises.*ValueError: on purpose", line) for line in said)
    assert any(re.match(r"failed: .*swept_dies,.*its worker died 2 times: SIGKILL", line) for line in said)
    assert Path("deaths").read_text() == "xx"


def test_ctrl_c_stops_and_the_same_command_goes_on():
    Path("bad.py").write_text(PLUGIN)
    Path("wait").write_text("")
    file = written(
        WORLD + 'aligner = ["reference", "swept_waits"]\nplugin = ["bad.py"]\n' + tables("task", items=QUICK)
    )
    process = started(file, "--allow-plugins", "--workers", 1)
    until(Path("begun").exists)
    workers = psutil.Process(process.pid).children()
    assert len(workers) == 1
    process.send_signal(random.choice([signal.SIGINT, signal.SIGTERM]))
    stopped = ended(process)
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "interrupted; the same command continues where it stopped"
    assert not any(worker.is_running() for worker in workers)
    Path("wait").unlink()
    outcome = ended(started(file, "--allow-plugins", "--workers", 1))
    assert (outcome.code, outcome.out.splitlines()[0][:44]) == (
        0,
        "2 cells: 1 run, 1 done before, 0 failed, in ",
    )
    assert Path("begun").read_text() == "xx"


def test_two_sweeps_at_once_share_the_work():
    Path("bad.py").write_text(PLUGIN)
    file = written(
        WORLD
        + 'aligner = ["swept_waits", "dpo", "maxmin"]\nseeds = 2\nplugin = ["bad.py"]\n'
        + tables("task", items=QUICK)
    )
    Path("wait").write_text("")  # nobody is done before both have begun
    both = [started(file, "--allow-plugins", "--workers", 1, "--json") for _ in range(2)]
    until(lambda: Path("begun").exists() and Path("begun").read_text() == "xx")
    Path("wait").unlink()
    outcomes = [ended(process) for process in both]
    assert [outcome.code for outcome in outcomes] == [0, 0]
    results = [json.loads(outcome.out) for outcome in outcomes]
    assert all(result["done"] >= 1 for result in results)
    assert sum(result["done"] for result in results) == 6
    assert [result["done"] + result["done_before"] for result in results] == [6, 6]
    assert Path("begun").read_text() == "xx"


def killed_sweep_equals_one_left_alone(kills: int, seed: int) -> None:
    draws = random.Random(seed)
    small = ["iterations = 3", "batch = 16", "minibatches = 2", "epochs = 1", "reward_epochs = 1"]
    file = written(
        "seeds = 2\n"
        '[[grid]]\ntask = "bandit_two_group"\naligner = ["dpo", "maxmin"]\n'
        '[[grid]]\ntask = "imdb_two_group"\naligner = "single_reward"\nseeds = 1\n'
        + tables("task", "model", items=TINY_SETS).replace("[set.", "[grid.set.")
        + "[grid.set.aligner]\n"
        + "\n".join(small)
    )
    assert typed("sweep", file, "--runs-dir", "alone").code == 0
    for _ in range(kills):
        process = started(file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draws.uniform(1.5, 5.0))  # it takes about ten seconds, half of them to load libraries
        workers = psutil.Process(process.pid).children()
        if workers and draws.random() < 0.3:
            draws.choice(workers).kill()  # and the sweep after it
            time.sleep(draws.uniform(0.0, 1.0))
        process.kill()
        process.wait()
        until(lambda workers=workers: not any(_alive(worker) for worker in workers), 10)
    outcome = typed("sweep", file)
    assert outcome.code == 0, outcome.err
    assert leaderboard("runs") == leaderboard("alone")
    assert leaderboard("runs").count(b"\n") == 4


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_sweep_killed_a_few_times_ends_with_the_same_leaderboard():
    killed_sweep_equals_one_left_alone(kills=2, seed=0)


@pytest.mark.slow
def test_a_sweep_killed_twenty_times_ends_with_the_same_leaderboard():
    killed_sweep_equals_one_left_alone(kills=20, seed=1)


# ------------------------------------------------------------------------------------ published


def test_the_published_grid_is_every_aligner_that_language_models_have():
    from prefbench import registry

    specs = read_sweep(str(REPOSITORY / "leaderboard" / "sweep.toml")).expand()
    aligners = {spec.aligner for spec in specs}
    assert aligners == {e.name for e in registry.entries("aligner") if "causal_lm" in e.backbones}
    assert {spec.minority_ratio for spec in specs} == {0.5, 0.3333, 0.1429, 0.0909}
    assert {spec.seed for spec in specs} == set(range(5))
    assert {(s.task, s.data, s.model) for s in specs} == {("imdb_two_group", "synthetic", "nano")}
    assert len(specs) == len(aligners) * 4 * 5
