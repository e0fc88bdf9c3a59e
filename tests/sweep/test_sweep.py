"""Sweeps that run: dry runs say what is to do, and nothing which happens to one loses work."""

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

from prefbench.estimate.timed import table
from prefbench.record.files import read_record
from prefbench.record.verify import comparable
from prefbench.running.run import run
from prefbench.spec import run_name
from prefbench.store.progress import Silent
from prefbench.sweep.cell import in_order, is_done, run_cell
from support.commands import typed
from support.sweeps import PLUGIN, QUICK, WORLD, ended, leaderboard, specs_of, started, tables, until, written
from support.tiny import TINY_SETS

pytestmark = pytest.mark.usefixtures("restored")


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
    said = r"about .* to .* of work, .* worker.*, by runs on another machine at default options"
    assert re.search(said, outcome.out)
    plan = json.loads(typed("sweep", file, "--dry-run", "--json").out)
    assert (plan["n_cells"], plan["to_run"]) == (24, 24)
    assert plan["estimated_seconds"] == plan["seconds_elsewhere"] > 0
    assert plan["timed_elsewhere"] == ["dpo", "maxmin"]
    assert plan["stages"] == {"reference": 4, "pairs": 4, "labels": 8}
    assert {cell["status"] for cell in plan["cells"]} == {"to run"}
    assert os.listdir() == ["sweep.toml"]


def test_an_estimate_comes_from_past_runs_and_counts_shared_stages_once():
    (spec,) = specs_of(WORLD + 'aligner = "dpo"\n' + tables("task", items=QUICK))
    folder, record = run(spec, Path("runs"))
    timings = {"pairs": 4.0, "labels": 1.0, "policy": 10.0, "samples": 2.0}
    (folder / "record.json").write_text(record.model_copy(update={"timings": timings}).model_dump_json())
    Path("bad.py").write_text(PLUGIN)
    file = written(
        WORLD
        + 'plugin = ["bad.py"]\naligner = ["dpo", "swept_raises"]\nminority_ratio = [0.2, 0.5]\nseeds = 2\n'
        + tables("task", items=QUICK)
    )
    allowed = ["--plugin", "bad.py", "--dry-run"]
    plan = json.loads(typed("sweep", file, *allowed, "--json").out)
    # dpo at 0.5 twice and at 0.2 with the other seed; pairs of one seed and three sets of labels are to make.
    assert plan["done"] == 1
    assert plan["estimated_seconds"] == pytest.approx(3 * 12 + 4 + 3 * 1)
    assert (plan["untimed"], plan["timed_elsewhere"]) == (["swept_raises"], [])
    said = typed("sweep", file, *allowed, "--workers", 1).out
    assert "about 0:43 of work, 0:43 with 1 worker, by 1 past run\n" in said
    assert "not in it, for want of a past run: swept_raises" in said
    # Of what was run nowhere here the shipped times tell, which another machine needed.
    other = written(
        WORLD
        + 'aligner = ["dpo", "ipo"]\nminority_ratio = [0.2, 0.5]\nseeds = 2\n'
        + tables("task", items=QUICK)
    )
    plan = json.loads(typed("sweep", other, "--dry-run", "--json").out)
    (row,) = (row for row in table().rows if (row.task, row.aligner) == ("bandit_two_group", "ipo"))
    assert plan["seconds_elsewhere"] == pytest.approx(4 * sum(row.own.values()))
    assert plan["estimated_seconds"] == pytest.approx(3 * 12 + 4 + 3 * 1 + plan["seconds_elsewhere"])
    said = typed("sweep", other, "--dry-run").out
    assert "by 1 past run and by runs on another machine, of ipo, at default options" in said


WARNS = '''
import warnings

import prefbench as pb


class Shown(pb.Options):
    """Options."""

    shown: int = 1
    """A number."""


@pb.aligner("swept_warns")
def swept_warns(view, backbone, options: Shown):
    """Warns, as a library that it calls does, whose warnings nobody asked for."""
    warnings.warn(f"shown {options.shown} of seed {view.seed}")
    warnings.warn_explicit("a library's own", UserWarning, "/elsewhere/library.py", 1)
    return backbone.reference
'''
"""A plug-in that has something to say."""


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
    died = r"^bandit_two_group, swept_dies_once, .*: its worker died \(SIGKILL, out of memory perhaps\);"
    assert re.search(died, outcome.err, re.MULTILINE)
    said = outcome.err.splitlines()[-2:]
    assert any(re.match(r"failed: .*swept_raises.*ValueError: on purpose", line) for line in said)
    assert any(re.match(r"failed: .*swept_dies,.*its worker died 2 times: SIGKILL", line) for line in said)
    assert Path("deaths").read_text() == "xx"


def test_every_line_of_a_log_names_its_cell():
    Path("warns.py").write_text(WARNS)
    file = written(
        WORLD
        + 'aligner = "swept_warns"\nseeds = 2\n[set.aligner]\nshown = [1, 2]\n'
        + tables("task", items=QUICK)
    )
    outcome = typed("sweep", file, "--plugin", "warns.py", "--workers", 2)
    assert outcome.code == 0, outcome.err
    lines = [line for line in outcome.err.splitlines() if not re.match(r"\d+/4 done, |running: ", line)]
    for seed in (0, 1):
        for shown in (1, 2):
            cell = f"bandit_two_group, swept_warns, finite, 0.2, seed {seed}, shown={shown}"
            (ended,) = (line for line in lines if line.startswith(f"ok: {cell}, in "))
            lines.remove(ended)
            lines.remove(f"{cell}: warning: shown {shown} of seed {seed}")
    assert lines == []
    running = [line for line in outcome.err.splitlines() if line.startswith("running: ")]
    assert all(
        re.match(r"running: bandit_two_group, swept_warns, .*, shown=\d: \w+", line) for line in running
    )


def test_ctrl_c_stops_and_the_same_command_goes_on():
    Path("bad.py").write_text(PLUGIN)
    Path("wait").write_text("")
    file = written(
        WORLD + 'aligner = ["reference", "swept_waits"]\nplugin = ["bad.py"]\n' + tables("task", items=QUICK)
    )
    process = started(file, "--allow-plugins", "--workers", 1)
    until(lambda: Path("begun").exists() and Path("begun").read_text() == "x")
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
