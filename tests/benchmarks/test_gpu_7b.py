"""The benchmark of large models, on a toy: that it measures what it says, and what it does out of memory."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from prefbench.backbone.language import ppo
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.shapes import SHAPES, shape_of_config
from prefbench.estimate.setting import ModelSetting
from support.tracker import Tracker

ROWS, PROMPT, RESPONSE, RANK, K = 4, 24, 12, 4, 2
TOY = ["--size", "toy", "--device", "cpu", "--repeats", "1", "--batch", str(ROWS), "--k", str(K)]
TOY += ["--prompt-tokens", str(PROMPT), "--response-tokens", str(RESPONSE), "--rank", str(RANK)]
TRAINING = ["reward step", "log-probabilities", "PPO update", "whole iteration"]
OTHERS = ["first token", "sampling", "scoring", "K rewards, one base", "K rewards, K models"]
PHASES = ["load", "reward step", *OTHERS[:2], "log-probabilities", "scoring", *TRAINING[2:], *OTHERS[3:]]


@pytest.fixture
def gpu_7b(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import gpu_7b

    return gpu_7b


@pytest.fixture
def gpu_bench(gpu_7b):
    import gpu_bench

    return gpu_bench


@pytest.fixture
def gpu_phases(gpu_7b):
    import gpu_phases

    return gpu_phases


@pytest.fixture
def bench(gpu_7b, tmp_path):
    """A toy of which nothing has been measured."""
    options, device = gpu_7b.parsed(TOY), torch.device("cpu")
    bench = gpu_7b.Bench(options, device, gpu_7b.Meter(device), tmp_path, gpu_7b.new_found(options, device))
    bench.found["machine"] = {"flops_per_second": 1e9, "bytes_per_second": 1e8}
    return bench


def measured(gpu_7b, path, meter=None):
    code = gpu_7b.main([*TOY, "--json", str(path)], meter)
    found = json.loads(path.read_text())
    return code, found, {entry["name"]: entry for entry in found["phases"]}


def test_every_phase_is_measured_beside_its_estimate(gpu_7b, tmp_path, capsys):
    """Memory by the tensors that are alive, in place of what CUDA's allocator counts."""

    class Live(gpu_7b.Meter):
        def __init__(self, tracker):
            self.tracker = tracker

        def start(self):
            self.tracker.peak = self.tracker.now

        def allocated(self):
            return self.tracker.peak

        def reserved(self):
            return 2 * self.tracker.peak

        def outside(self):
            return 1000

    with Tracker() as tracker:
        code, found, phases = measured(gpu_7b, tmp_path / "all.json", Live(tracker))
    assert code == 0
    assert list(phases) == PHASES
    for entry in phases.values():
        assert (entry["status"], entry["why"], entry["notes"]) == ("ok", None, [])
        assert len(entry["seconds_each"]) == {"load": 1, "reward step": K}.get(entry["name"], 1)
        assert 0 < entry["seconds"] < math.inf
        assert sum(entry["memory"]["estimated_parts"].values()) == entry["memory"]["estimated"] > 0
    for name in ("load", *TRAINING):
        # The estimate reads the prompt of a pair twice and pads its responses.
        least = 0.7 if name == "reward step" else 0.9
        assert least < phases[name]["memory"]["ratio"] < 1.1, (name, phases[name]["memory"])
    for name in OTHERS:
        assert phases[name]["memory"]["ratio"] == pytest.approx(1, abs=0.1), name
    row = PROMPT + RESPONSE
    tokens = [0, ROWS * row, ROWS * PROMPT, ROWS * RESPONSE, 2 * ROWS * row, K * ROWS * row, ROWS * row]
    assert [entry["tokens"] for entry in phases.values()] == [*tokens, ROWS * row, *[K * ROWS * row] * 2]
    work, seconds = phases["PPO update"]["arithmetic"], phases["PPO update"]["seconds"]
    setting = ModelSetting(gpu_7b.SIZES["toy"], 2, rank=RANK, checkpointing=True)
    assert work["flops"] == setting.training(ROWS * row, row, ROWS * RESPONSE)
    assert work["flops_without_recomputation"] < work["flops"]
    share = work["flops"] / seconds / found["machine"]["flops_per_second"]
    assert work["share_of_gemm"] == pytest.approx(share)
    assert found["rewards"]["same_scores"]
    assert min(found["rewards"]["spread"]) > 0
    peaks = [entry["memory"]["allocated"] for name, entry in phases.items() if name != PHASES[-1]]
    assert found["in_all"]["used"] == 2 * max(peaks) + 1000
    assert found["decode"]["seconds_per_step"] > 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in PHASES)
    assert "2 rewards on one base and on models of their own: the same scores" in printed


def test_a_phase_without_room_is_reported_and_the_others_are_measured(
    gpu_7b, gpu_phases, tmp_path, monkeypatch, capsys
):
    def no_room(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(ppo, "update", no_room)
    monkeypatch.setattr(gpu_phases, "free_memory", lambda device: ("a small device", 1e5))
    code, found, phases = measured(gpu_7b, tmp_path / "some.json")
    assert code == 3
    assert list(phases) == PHASES
    status = {name: phases[name].pop("status") for name in PHASES}
    assert {name for name in PHASES if status[name] != "ok"} == {*TRAINING[2:], PHASES[-1]}
    assert (status["PPO update"], status["whole iteration"]) == ("out of memory", "out of memory")
    assert status["K rewards, K models"] == "skipped"
    assert phases["PPO update"]["seconds"] is phases["PPO update"]["tokens_per_second"] is None
    assert found["rewards"] is None
    assert phases["load"]["memory"]["allocated"] is found["in_all"]["used"] is None
    printed = capsys.readouterr().out
    assert "PPO update: memory ran out" in printed
    assert re.search(r"K rewards, K models: needs \d+\.\d kB more, and 100\.0 kB are free", printed)
    assert "no memory figures: torch counts the memory of a GPU only" in printed


def test_without_room_for_the_model_there_is_nothing_to_measure(gpu_7b, gpu_phases, tmp_path, monkeypatch):
    def no_room(*given):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu_phases, "random_model", no_room)
    code, found, phases = measured(gpu_7b, tmp_path / "none.json")
    assert code == 3
    assert [(name, entry["status"]) for name, entry in phases.items()] == [("load", "out of memory")]
    assert found["decode"] is found["rewards"] is found["in_all"]["estimated"] is None


def test_other_rewards_are_seen_to_be_others(gpu_phases, bench, monkeypatch):
    backbone = gpu_phases.load(bench)
    models = [gpu_phases.LMReward(backbone.new_reward(k), backbone) for k in range(K)]
    rewards = gpu_phases.Rewards(models, ["0", "1"], gpu_phases.np.zeros(K), gpu_phases.np.ones(K))
    texts = gpu_phases.texts_of(backbone, gpu_phases.draw(bench, "responses", ROWS, RESPONSE))
    monkeypatch.setattr(gpu_phases, "moved", lambda bench, reward: models[0])
    gpu_phases.compare(bench, backbone, rewards, texts)
    assert not bench.found["rewards"]["same_scores"]
    assert bench.found["rewards"]["largest_difference"] > 0


def test_a_note_that_memory_ran_out_takes_the_ratio_away(gpu_7b, gpu_bench, bench, monkeypatch):
    monkeypatch.setattr(gpu_7b.Meter, "allocated", lambda self: 300)
    expected = gpu_bench.Expected({"weights of the reference": 100.0, "context and fragments": 1.0})
    bench.phase("whole", expected, 10, lambda: ([2.0, 4.0, 9.0], "a value"))
    bench.phase("in parts", expected, 10, lambda: (bench.found["notes"].append("in halves") or [1.0], 0))
    whole, parts = bench.found["phases"]
    assert (whole["seconds"], whole["tokens_per_second"], whole["memory"]["ratio"]) == (4.0, 2.5, 3.0)
    assert not whole["memory"]["near"]
    assert (parts["notes"], parts["memory"]["ratio"]) == (["in halves"], None)


def test_a_step_of_sampling_by_hand(gpu_7b, bench):
    bench.found["phases"] = [{"name": "first token", "seconds": 3.0}, {"name": "sampling", "seconds": 25.0}]
    shape = gpu_7b.SIZES["toy"]
    step = gpu_7b.decoding(bench)
    assert step["seconds_per_step"] == 2.0  # 22 s for the other eleven tokens
    assert step["tokens_per_second"] == ROWS / 2
    # Both maps of 64 to 64, both of 64 to 32 and three of 64 by 172, in two layers; rank 4; four bytes each.
    adapter = 4 * 2 * 4 * (2 * 128 + 2 * 96 + 3 * 236)
    assert step["bytes_of_weights"] == 2 * (shape.parameters - 512 * 64) + adapter
    assert step["share_of_bandwidth"] == step["bytes_of_weights"] / 2 / 1e8
    assert step["bytes_of_cache"] == ROWS * (PROMPT + RESPONSE / 2) * 2 * 2 * 32 * 2
    bench.found["phases"].pop()
    assert gpu_7b.decoding(bench) is None


def test_steps_are_timed_from_one_to_the_next(gpu_bench, tmp_path):
    stage = gpu_bench.Timed("x", tmp_path, clock=iter([1.0, 3.0, 7.0]).__next__)
    for step in range(3):
        stage.report(step + 1, 3)
    assert stage.seconds == [2.0, 4.0]
    stage.save("x", {}, {})
    assert not stage.due() and not list(tmp_path.iterdir())


def test_models_have_the_shapes_that_are_estimated(gpu_7b, gpu_phases):
    assert gpu_7b.SIZES["7b"] == SHAPES["tulu2-7b"]
    for shape in gpu_7b.SIZES.values():
        found = shape_of_config(gpu_phases.config_of(shape).to_dict())
        assert found is not None
        assert replace(found, head_width=None) == shape
        model = gpu_phases.random_model(shape, torch.device("meta"))
        assert sum(weight.numel() for weight in model.parameters()) == shape.parameters
        assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_any_tokens_are_a_text_and_the_same_tokens_again(gpu_phases):
    codec = Codec(gpu_phases.word_tokenizer(512), frozenset(), 4, 12)
    rows = [[0, 511, 7, 7], [300, 1, 2, 3]]
    assert codec.responses(codec.decode(rows)) == codec.prompts(codec.decode(rows)) == rows


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--size 7b --device cpu", "--size 7b needs a GPU: say --size toy"),
        ("--size toy --batch 3", "--batch 3 is odd, and rewards are trained on pairs"),
        ("--size toy --batch 0", "argument --batch: '0' is no number of at least 2"),
        ("--size toy --k two", "argument --k: 'two' is no number of at least 1"),
        ("--size toy --prompt-tokens 600", "prompt and response are longer than the model's 512 positions"),
        ("--size 13b", "invalid choice: '13b'"),
        ("--size toy --json nowhere/at/all.json", "--json nowhere/at/all.json: there is no such folder"),
    ],
)
def test_nonsense_is_one_line_and_code_two(gpu_7b, capsys, words, why):
    with pytest.raises(SystemExit) as ended:
        gpu_7b.main(words.split())
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert why in said and said.startswith("error: ") and said.count("\n") == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_on_a_gpu_is_within_a_tenth_of_the_estimate(gpu_7b, tmp_path):
    path = tmp_path / "1b.json"
    assert gpu_7b.main(["--size", "1b", "--device", "cuda", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    ratios = {entry["name"]: entry["memory"]["ratio"] for entry in found["phases"]}
    assert {name: ratio for name, ratio in ratios.items() if abs(ratio - 1) > 0.1} == {}
    assert found["in_all"]["near"], found["in_all"]
    assert found["rewards"]["same_scores"]
