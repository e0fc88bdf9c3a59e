"""Whole runs: every aligner, the same bytes twice, and the same bytes after being killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from prefbench import registry
from prefbench.errors import UserError
from prefbench.record.files import read_record
from prefbench.record.verify import verify
from prefbench.running.measure import measure
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets, run_name
from support.runs import evidence, spec_of
from support.tiny import TINY_SETS

registry.load_plugins()  # the parameters below are collected before any fixture runs
ALIGNERS = [entry.name for entry in registry.entries("aligner") if "causal_lm" in entry.backbones]
WORLDS = [e.name for e in registry.entries("task") if e.backbone == "finite" and e.own_data]
LISTED = [entry.name for entry in registry.entries("aligner") if "finite" in entry.backbones]
REWARDLESS = {"dpo", "ipo", "is_dpo", "gr_dpo", "gr_ipo", "em_dpo", "gold_maxmin", "gold_utilitarian"} | {
    "reference",
    "constant",
    "dpl",
    "mean_variance_kl",
    "longest",
    "shortest",
    "tempered",
    "best_constant",
    "bayes_maxmin",
    "bayes_personal",
    "gold_best_of_n",
    "gold_personal",
    "group_instruction",
    "low_rank",
    "p_dpo",
    "pairwise_calibrated",
    "pal",
    "pessimistic_median",
    "popl",
    "shared_rep",
    "vpl",
}
REWARDLESS |= {"bapo", "kto", "ordinal_dpo", "sign_estimator"}
CLUSTERED = {"em_dpo", "em_personal", "maxmin", "welfare", "occupancy_maxmin"}
REWARDLESS |= {"length_calibrated", "pecan"}
CLUSTERED |= {"rmod"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def stages(runs: Path, name: str) -> set[str]:
    return {path.name for path in (runs / "stages" / name).iterdir() if path.is_dir()}


@pytest.mark.parametrize("aligner", ALIGNERS)
def test_every_aligner_gives_a_record_that_its_evidence_supports(aligner, runs):
    folder, record = run(spec_of(aligner), runs)
    assert record.status == "ok", record.message
    assert verify(folder) == []
    assert read_record(folder) == record
    assert [group.is_minority for group in record.groups] == [False, True]
    assert record.groups[1].share == pytest.approx(2 / 8)
    assert (record.groups[0].reward_accuracy is None) == (aligner in REWARDLESS)
    assert (record.proxy is None) == (aligner in REWARDLESS)
    assert record.utility_gain is not None
    assert (record.em is not None) == (aligner in CLUSTERED)
    assert record.regret is None
    by_ppo = (
        "single_reward",
        "maxmin",
        "gold_maxmin",
        "gold_util",
        "welfare",
        "shared_rep",
        "can",
        "group_dro_reward",
        "length_calibrated",
        "dpl",
        "mean_var",
        "pessimistic_median",
        "crowd_pref",
        "sign_estimator",
    )
    ppo = aligner.startswith(by_ppo) or aligner == "ordinal"
    assert (folder / "history.json").exists() == ppo
    if ppo:
        assert len(json.loads((folder / "history.json").read_text())) == 3  # iterations
    if aligner == "reference":
        assert record.kl == 0
    if aligner in ("longest", "shortest"):
        longer = record.mean_length > record.reference_length
        assert longer == (aligner == "longest")


@pytest.mark.parametrize("task", WORLDS)
@pytest.mark.parametrize("aligner", LISTED)
def test_every_aligner_on_every_world(task, aligner, runs):
    """The same functions as on language models, here against the exact optimum."""
    sets = {"labels_per_pair": 3} if "votes" in registry.get("aligner", aligner).needs else {}
    if "test_prompts" in registry.get("task", task).options.model_fields:
        sets["test_prompts"] = 100
    spec = make_spec(task=task, aligner=aligner, seed=1, sets={"task": sets})
    try:
        folder, record = run(spec, runs)
    except UserError as error:
        # What cannot be run says so before anything is measured.
        assert aligner == "occupancy_maxmin" and "gridworld_two_group" in str(error)
        return
    if record.status != "ok":
        # Learned rewards may leave nobody a common gain on the reference; then there is no Nash solution.
        assert aligner == "welfare" and "Nash" in record.message
        return
    assert verify(folder) == []
    assert (record.groups[0].reward_accuracy is None) == (aligner in REWARDLESS)
    assert (record.em is not None) == (aligner in CLUSTERED)
    assert record.regret.certificate <= 1e-8
    if aligner == "reference":
        assert record.kl == 0 and record.regret.kl == 0


@pytest.mark.parametrize("task", WORLDS)
def test_on_a_world_the_gold_aligners_are_optimal(task, tmp_path):
    """gold_maxmin has the world's own objective, up to test prompts and normalisation by samples."""
    sets = {"aligner": {"kl_coefficient": "0.15"}}
    _, best = run(make_spec(task=task, aligner="gold_maxmin", seed=2, sets=sets), tmp_path)
    _, nothing = run(make_spec(task=task, aligner="reference", seed=2), tmp_path)
    assert best.regret.egalitarian_regret < 0.1 * nothing.regret.egalitarian_regret + 0.02
    assert best.regret.pareto_distance < 0.1 * nothing.regret.pareto_distance + 0.02


def test_another_aligner_or_ratio_shares_what_it_does_not_change(runs):
    run(spec_of("reference"), runs)
    before = {name: stages(runs, name) for name in ("reference", "pairs", "labels")}
    run(spec_of("constant"), runs)
    assert {name: stages(runs, name) for name in before} == before
    run(spec_of("reference", minority_ratio="1:1"), runs)
    assert stages(runs, "reference") == before["reference"]
    assert stages(runs, "pairs") == before["pairs"]
    assert len(stages(runs, "labels") - before["labels"]) == 1


def test_another_seed_is_another_experiment(runs):
    first, _ = run(spec_of("reference"), runs)
    second, _ = run(spec_of("reference", seed=2), runs)
    prompts = [set(pd.read_parquet(folder / "items.parquet")["prompt"]) for folder in (first, second)]
    assert prompts[0] != prompts[1]


def test_more_samples_per_prompt_are_counted(runs):
    known = make_spec(
        task="imdb_two_group", aligner="shortest", sets=parse_sets([*TINY_SETS, "evaluate.samples=3"]), seed=1
    )
    folder, record = run(known, runs)
    assert record.samples_per_prompt == 3 and record.n_prompts == 50
    assert record.groups[0].wins + record.groups[0].ties + record.groups[0].losses == 150
    assert verify(folder) == []


def test_the_same_specification_gives_the_same_bytes(runs, tmp_path):
    spec = spec_of("maxmin")
    run(spec, runs)
    run(spec, tmp_path / "elsewhere")
    assert evidence(runs, spec) == evidence(tmp_path / "elsewhere", spec)


CHILD = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from prefbench import registry
from prefbench.store import stages as store
from prefbench.running.run import run
from prefbench.spec import RunSpec
store.CHECKPOINT_SECONDS = 0.0
registry.load_plugins()
print("ready", flush=True)
run(RunSpec(**json.loads(sys.argv[1])), Path(sys.argv[2]))
"""


def test_killed_at_random_moments_and_run_again_it_ends_with_the_same_bytes(runs, tmp_path):
    """Every kill lets the run get a little further, in whatever stage it is; then it is left to end."""
    spec = spec_of("maxmin")
    run(spec, runs)
    command = [sys.executable, "-c", CHILD, json.dumps(spec.to_dict()), str(tmp_path)]
    moments = random.Random(0)
    killed = 0
    for _ in range(3):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(moments.uniform(0.1, 1.5))
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            killed += 1
        child.wait()
        child.stdout.close()
    assert killed > 0
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert evidence(tmp_path, spec) == evidence(runs, spec)


def test_linear_algebra_is_rounded_the_same_on_any_number_of_cores(tmp_path, monkeypatch):
    threads = set()

    def looking(*given):
        threads.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return measure(*given)

    monkeypatch.setattr(sys.modules[run.__module__], "measure", looking)
    with threadpool_limits(limits=2, user_api="blas"):
        run(make_spec(task="worst_case_two_group", aligner="maxmin"), tmp_path)
    assert threads == {1}


def test_hostile_names_stay_in_the_runs_folder(tmp_path):
    spec = make_spec(task="imdb_two_group", aligner="constant", model="nano")
    for model in ("../../escape", "/etc/passwd", "a\nb", "..", "x" * 5):
        name = run_name(type(spec)(**(spec.to_dict() | {"model": model})))
        assert Path(name).name == name and not name.startswith(".") and "\n" not in name
