"""Profiles of runs: what is measured, that it adds up, and that measuring changes nothing."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.utils.checkpoint import checkpoint

from prefbench import registry
from prefbench.estimate.estimate import estimate, problem_of
from prefbench.estimate.setting import shape_of
from prefbench.evaluate.gold import GoldReward
from prefbench.running.run import run
from prefbench.store.progress import Silent
from prefbench.text import show_count
from prefbench.tools import profiling
from prefbench.tools.profiling import PROFILE_FILE, Window, profile_of, profiled, stage_flops
from support.commands import tiny_run, typed
from support.runs import evidence, spec_of

BANDIT = ["run", "--task", "bandit_two_group", "--aligner", "reference"]


@pytest.fixture(autouse=True)
def short_windows(monkeypatch):
    """Torch takes long to say what it recorded."""
    monkeypatch.setattr(profiling, "WINDOW_SECONDS", 0.03)


@pytest.fixture(scope="module")
def soups(tmp_path_factory):
    """A profiled run whose policy opens rewards and experts, its runs folder and its record."""
    folder = tmp_path_factory.mktemp("profiled")
    with pytest.MonkeyPatch.context() as patch, profiled(Silent()) as profiler:
        # Long enough that a busy machine comes to the first product of matrices within it.
        patch.setattr(profiling, "WINDOW_SECONDS", 0.5)
        _, record = run(spec_of("soups"), folder, profiler)
    return profiler, folder, record


def test_stages_and_the_rest_are_the_wall_time(soups):
    profiler, _, record = soups
    title, header, rows = profile_of(profiler, spec_of("soups")).stages
    assert title == "stages" and all(len(row) == len(header) for row in rows)
    *parts, whole = [float(row[1]) for row in rows]
    assert rows[-1][0] == "all" and whole == pytest.approx(profiler.wall, abs=0.006)
    assert sum(parts) == pytest.approx(whole, abs=0.005 * len(rows))  # each is rounded to hundredths
    assert min(parts) >= 0 and profiler.outside > 0 and profiler.cost > 0
    # The store keeps its own account, with what profiling took inside stages.
    more = sum(record.timings.values()) - sum(stage.seconds for stage in profiler.stages.values())
    assert -0.01 < more < profiler.cost + 0.01


def test_a_stage_within_another_counts_once():
    with profiled(Silent()) as profiler:
        profiler.begin("policy", False)
        profiler.begin("rewards", False)
        profiler.end("rewards", 2.0)
        profiler.begin("rewards", True)
        profiler.end("rewards", 0.5)
        profiler.end("policy", 5.0)
    rewards, policy = profiler.stages["rewards"], profiler.stages["policy"]
    assert (rewards.opened, rewards.stored, policy.opened, policy.stored) == (2, 1, 1, 0)
    assert 2.5 - profiler.cost <= rewards.seconds <= 2.5
    assert 2.5 - profiler.cost <= policy.seconds <= 2.5


def test_operators_and_python_are_the_window(soups):
    profiler, _, _ = soups
    for name in ("reference", "pairs", "rewards", "experts", "samples"):
        window = profiler.stages[name].window
        assert window.operators["CPU", "aten::addmm"].count > 0, name
        spent = sum(operator.self_cpu_time_total for operator in window.operators.values()) / 1e6
        assert 0 < spent and spent + window.python == pytest.approx(window.seconds), name
        # A window never reaches beyond its stage, but the stage's time is without what profiling took.
        assert window.seconds <= profiler.stages[name].seconds + profiler.cost
        assert (window.steps > 0) == (name in ("reference", "rewards", "experts"))


def test_flops_are_those_of_the_estimate(soups):
    profiler, _, _ = soups
    spec = spec_of("soups")
    found = estimate(spec, shape_of(spec), problem_of(spec))
    counted = stage_flops(found)
    assert counted.keys() <= profiler.stages.keys()
    by_name = {stage.name: stage.flops for stage in found.stages}
    assert counted["pairs"] == by_name["pairs"] and counted["reference"] == by_name["reference"]
    assert counted["rewards"] == by_name["reward of everybody"] + by_name["rewards of groups"]
    assert counted["experts"] == by_name["policies of groups"]
    table = profile_of(profiler, spec).stages
    shown = {row[0]: row[table.header.index("FLOPs at most")] for row in table.rows}
    assert {name: cell for name, cell in shown.items() if cell} == {
        name: show_count(flops) for name, flops in counted.items()
    }


def test_every_counted_flop_belongs_to_a_stage():
    declared = [entry.name for entry in registry.entries("aligner") if entry.work is not None]
    assert "maxmin" in declared
    for aligner in declared:
        spec = spec_of(aligner)
        found = estimate(spec, shape_of(spec), problem_of(spec))
        assert sum(stage_flops(found).values()) == pytest.approx(found.flops)


def test_gold_rewards_are_counted_where_they_are_fitted_and_asked():
    spec = spec_of("single_reward")
    problem = problem_of(spec)
    gold = GoldReward("few", tuple(f"gold {i}" for i in range(30)), teacher=problem.groups[1].utility)
    judged = replace(problem, groups=(problem.groups[0], replace(problem.groups[1], utility=gold)))
    before, after = (stage_flops(estimate(spec, shape_of(spec), stated)) for stated in (problem, judged))
    assert {name for name in after if after[name] != before.get(name)} == {"", "rewards", "labels", "scores"}
    assert sum(after.values()) == pytest.approx(estimate(spec, shape_of(spec), judged).flops)


def test_profiling_changes_no_result(soups, tmp_path):
    run(spec_of("soups"), tmp_path)
    assert evidence(tmp_path, spec_of("soups")) == evidence(soups[1], spec_of("soups"))


def test_a_step_of_too_many_calls_is_cut_off_but_never_in_a_backward_pass(monkeypatch):
    block = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh())
    for limit in range(1, 10):  # calls: three forward, and three again in the backward pass
        monkeypatch.setattr(profiling, "MOST_CALLS", limit)
        monkeypatch.setattr(profiling, "WINDOW_SECONDS", 60.0)
        with profiled(Silent()) as profiler:
            profiler.begin("policy", False)
            for step in range(6):
                checkpoint(block, torch.ones(2, 4, requires_grad=True), use_reentrant=False).sum().backward()
                profiler.step("policy", step + 1, 6, {})
            profiler.end("policy", 1.0)
        window = profiler.stages["policy"].window
        assert window.cut and window.steps == (limit > 3)
        spent = sum(operator.self_cpu_time_total for operator in window.operators.values()) / 1e6
        assert 0 < spent <= window.seconds


def test_without_a_loop_the_beginning_is_recorded(monkeypatch):
    monkeypatch.setattr(profiling, "WINDOW_SECONDS", 0.0)
    layer = torch.nn.Linear(4, 4)
    with profiled(Silent()) as profiler, torch.no_grad():
        profiler.begin("samples", False)
        torch.ones(3).exp()
        for _ in range(3):
            layer(torch.ones(2, 4))
        profiler.end("samples", 1.0)
    operators = profiler.stages["samples"].window.operators
    assert ("CPU", "aten::exp") in operators and ("CPU", "aten::addmm") not in operators


def average(kind: DeviceType, name: str, cpu_ms: float, gpu_ms: float) -> FunctionEventAvg:
    made = FunctionEventAvg()
    made.key, made.device_type, made.count, made.use_device, made.node_id = name, kind, 1, "cuda", -1
    made.self_cpu_time_total = made.cpu_time_total = 1000 * cpu_ms
    made.self_device_time_total = made.device_time_total = 1000 * gpu_ms
    made.is_user_annotation = False
    return made


def test_windows_of_one_stage_are_put_together_and_ordered_by_the_gpu_where_there_is_one():
    def window() -> Window:
        found = [
            average(DeviceType.CPU, "aten::index", 4.0, 1.0),
            average(DeviceType.CPU, "aten::mm", 1.0, 2.0),
            average(DeviceType.CUDA, "gemm", 0.0, 2.0),
        ]
        return Window(0.02, operators={(one.device_type.name, one.key): one for one in found})

    both = Window()
    both.add(window())
    both.add(window())
    assert both.operators["CPU", "aten::mm"].count == 2 and both.python == pytest.approx(0.03)
    title, text = profiling._operator_table("policy", profiling.StageProfile(1.0, window=both))
    lines = text.split("\n")
    assert (
        title == "policy: 0.04 s of 1.00 s"
        and lines[-1] == "Python and dispatch: 30.00ms, 75.0% of the window"
    )
    assert "Self CUDA" in lines[1] and [line.split()[0] for line in lines[3:6]] == [
        "aten::mm",
        "gemm",
        "aten::index",
    ]
    assert "Self CUDA time total: 4.000ms" in text  # a kernel's time counts once


def test_what_was_done_before_a_kill_gives_no_rate():
    spec = spec_of("soups")
    with profiled(Silent()) as profiler:
        for stage, first in (("reference", 7), ("pairs", 1)):
            profiler.begin(stage, False)
            profiler.step(stage, first, 20, {})
            profiler.end(stage, 1.0)
    rows = {row[0]: row for row in profile_of(profiler, spec).stages.rows}
    assert rows["reference"][3] == "computed in part" and rows["reference"][-1] == ""
    assert rows["pairs"][3] == "computed" and rows["pairs"][-1] != ""


# ---------------------------------------------------------------------------------------- the command


def profile_in(folder: Path) -> str:
    (file,) = folder.glob(f"*/{PROFILE_FILE}")
    return file.read_text()


def test_the_command_prints_the_tables_that_it_writes(tmp_path):
    options = ["aligner.epochs=1"]
    outcome = tiny_run("dpo", tmp_path, "--profile", options=options)
    assert outcome.code == 0, outcome.err
    (path,) = re.findall(r"^profile: (.*)$", outcome.out, re.M)
    text = Path(path).read_text()
    assert re.search(r"^## policy: \d+ steps?, \d\.\d\d s of \d+\.\d\d s$", text, re.M)
    for part in ("aten::addmm", "Python and dispatch", "outside stages", "FLOPs at most", "peak memory"):
        assert part in text and part in outcome.out
    again = tiny_run("dpo", tmp_path, "--profile", "--json", options=options)
    assert json.loads(again.out)["status"] == "ok" and f"profile: {path}" in again.err
    text = Path(path).read_text()
    assert "All stages were stored" in text and "aten::" not in text and "--runs-dir" in again.err
    assert text.count("| stored |") == 6 and "computed " not in text.split("All stages")[0]


def test_a_run_that_diverged_leaves_its_profile(tmp_path):
    options = ["aligner.iterations=3", "aligner.reward_epochs=1", "aligner.kl_limit=1e-9"]
    outcome = tiny_run("single_reward", tmp_path, "--profile", options=options)
    assert outcome.code == 3 and "profile: " in outcome.out
    text = profile_in(tmp_path)
    assert "diverged" in text and re.search(r"^\| policy .* computed in part ", text, re.M)


def test_each_seed_has_a_profile_and_quiet_says_nothing(tmp_path):
    outcome = typed(*BANDIT, "--seeds", 2, "--profile", "--quiet", "--runs-dir", tmp_path)
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert len(list(tmp_path.glob(f"*/{PROFILE_FILE}"))) == 2


def test_a_dry_run_has_no_profile(tmp_path):
    outcome = typed(*BANDIT, "--profile", "--dry-run", "--runs-dir", tmp_path)
    assert outcome.code == 2 and "--profile" in outcome.error and list(tmp_path.iterdir()) == []


def test_a_world_is_profiled_without_torch(tmp_path):
    code = (
        "import sys; sys.argv[0] = 'prefbench'; from prefbench.cli import main\n"
        "try: main()\nfinally: assert 'torch' not in sys.modules"
    )
    words = [*BANDIT, "--profile", "--runs-dir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = profile_in(tmp_path)
    assert re.search(r"^\| policy +\| \d+\.\d\d +\| \d+\.\d% +\| computed \|", text, re.M)
    assert "FLOPs" not in text and "operator" not in text and "Self CPU" not in text
