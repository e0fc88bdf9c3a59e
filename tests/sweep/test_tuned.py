"""Tuned options: what takes them, what says so, and who is no rival of whom."""

import json
from pathlib import Path

import pytest

import prefbench as pb
from prefbench.boards.rows import load_rows
from prefbench.boards.table import build
from prefbench.report.figures import settings_of
from support.commands import typed
from support.sweeps import QUICK, WORLD, tables, written
from support.tuning import tuned

pytestmark = pytest.mark.usefixtures("restored")
SMALL = tables("task", items=QUICK)


@pytest.fixture
def chosen(here):
    """A result in which dpo's default was not the best."""
    text = WORLD + 'aligner = ["dpo", "ipo"]\nconfigurations = 6\nseed = 7\nsearch_seed = 2\n' + SMALL
    found = tuned(text, "--runs-dir", "tuning")
    dpo = found.of("dpo")
    assert dpo.chosen["S0"] != 0
    return dpo.tried[dpo.chosen["S0"]].options


def run_tuned(*more: object):
    words = ["run", "--task", "bandit_two_group", "--tuned", "tune.tuned.json", "--json", "--quiet"]
    sets = [word for item in QUICK for word in ("--set", item)]
    return typed(*words, *sets, *more)


def test_run_takes_the_chosen_options_and_says_so(chosen):
    record = json.loads(run_tuned("--aligner", "dpo").out)
    assert {name: record["spec"]["aligner_options"][name] for name in chosen} == chosen
    assert record["tuning"] == record["spec"]["tuning"]
    assert {**record["tuning"], "digest": ""} == {
        "digest": "",
        "configurations": 6,
        "tokens": None,
        "rule": "S0",
    }
    assert record["minority_ratio"] == 0.2  # tuned at another one
    by_hand = json.loads(run_tuned("--aligner", "dpo", "--set", "aligner.beta=0.77").out)
    assert by_hand["spec"]["aligner_options"]["beta"] == 0.77 and by_hand["tuning"] is None
    same = json.loads(run_tuned("--aligner", "dpo", "--set", f"aligner.beta={chosen['beta']}").out)
    assert same["spec_hash"] == record["spec_hash"]
    assert json.loads(run_tuned("--aligner", "reference").out)["tuning"] is None


def test_python_takes_it_too(chosen):
    task = {name: int(value) for name, value in (item.removeprefix("task.").split("=") for item in QUICK)}
    more = {"task_options": task, "quiet": True}
    record = pb.run("bandit_two_group", "dpo", tuned="tune.tuned.json", **more).record
    assert record.tuning.rule == "S0" and record.spec["aligner_options"]["beta"] == chosen["beta"]
    by_hand = pb.run(
        "bandit_two_group", "dpo", tuned="tune.tuned.json", aligner_options={"beta": 0.9}, **more
    )
    assert by_hand.record.tuning is None and by_hand.record.spec["aligner_options"]["beta"] == 0.9


def test_what_was_not_tuned_is_refused_in_one_line(chosen):
    outcome = run_tuned("--aligner", "maxmin")
    assert outcome.code == 2
    assert outcome.error.startswith(
        "'tune.tuned.json' has no options for aligner 'maxmin', it has dpo, ipo: tune it"
    )
    outcome = typed("run", "--task", "gridworld_two_group", "--aligner", "dpo", "--tuned", "tune.tuned.json")
    assert "was tuned for task 'bandit_two_group', not 'gridworld_two_group'" in outcome.error
    outcome = typed("run", "--task", "bandit_two_group", "--aligner", "dpo", "--tuned", "gone.json")
    assert outcome.error == "no tuned options at 'gone.json': `prefbench tune` writes such a file."


def test_a_sweep_takes_it_and_tuned_rows_are_no_rivals_of_defaults(chosen):
    grid = WORLD + 'aligner = ["reference", "dpo", "ipo"]\nseeds = 2\n' + SMALL
    assert typed("sweep", written(grid), "--quiet", "--workers", 1).code == 0
    written('tuned = "tune.tuned.json"\n' + grid)
    plan = json.loads(typed("sweep", "sweep.toml", "--dry-run", "--json").out)
    assert [(cell["aligner"], "tuning" in cell) for cell in plan["cells"]].count(("dpo", True)) == 2
    assert (plan["n_cells"], plan["done"]) == (6, 2)  # the reference is not tuned
    assert typed("sweep", "sweep.toml", "--quiet", "--workers", 1).code == 0
    board = build(Path("runs"))
    rows = board[board["aligner"] == "dpo"]
    assert sorted(rows["tuning"]) == ["S0 of 6", "default"] and rows["config_hash"].nunique() == 2
    assert set(board["status"]) == {"ok"}
    assert sorted(rows["variant"].str.startswith("tuned")) == [False, True]
    lines = [line.name for setting in settings_of(board, load_rows(Path("runs"))) for line in setting.lines]
    assert len(lines) == len(set(lines)) == 5 and sum('tuned="S0 of 6"' in line for line in lines) == 2
    ranks = board[board["aligner"] != "reference"].groupby("tuning")["rank"].apply(sorted).to_dict()
    assert ranks == {"S0 of 6": [1, 2], "default": [1, 2]}
    written(grid + "[set.aligner.dpo]\nbeta = 0.5\n")
    plan = json.loads(typed("sweep", "sweep.toml", "--tuned", "tune.tuned.json", "--dry-run", "--json").out)
    betas = {cell["aligner_options"]["beta"] for cell in plan["cells"] if cell["aligner"] == "dpo"}
    assert betas == {0.5}
    written(WORLD + 'aligner = "maxmin"\ntuned = "tune.tuned.json"\n')
    assert "has no options for aligner 'maxmin'" in typed("sweep", "sweep.toml").error
