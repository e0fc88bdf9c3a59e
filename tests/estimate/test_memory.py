"""Memory that a run is said to need, held against models that are built and trained."""

import dataclasses
from itertools import product

import numpy as np
import pytest
import torch

from prefbench import seeds
from prefbench.backbone.language import gpt2, memory, rows
from prefbench.backbone.shapes import SHAPES
from prefbench.estimate import memory as footprint
from prefbench.estimate import passes as workload
from prefbench.estimate.setting import ModelSetting
from prefbench.learn.options import PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.welfare import mean
from prefbench.work import Passes
from support.estimated import (
    PAIRS,
    PROMPTS,
    RANK,
    VOCABULARY,
    new_backbone,
    new_model,
    setting_of_backbone,
    sizes,
)
from support.tracker import Tracker


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_and_adapters_are_counted_exactly(tmp_path, architecture, dtype):
    from peft import LoraConfig, get_peft_model

    backbone = new_backbone(tmp_path, architecture, dtype)
    model, setting = backbone.reference.model, setting_of_backbone(backbone)
    assert setting.base_bytes == sum(weight.nbytes for weight in model.parameters())
    matrices = sum(layer.weight.numel() for layer in backbone.base.layers.values())
    assert setting.matrices == matrices
    ours = list(backbone.trainable_copy(0).parameters())
    assert setting.adapter == sum(weight.numel() for weight in ours)
    assert {weight.element_size() for weight in ours} == {setting.trained_bytes}
    theirs = get_peft_model(new_model(architecture), LoraConfig(target_modules="all-linear", r=RANK))
    assert setting.adapter == sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    quantised = dataclasses.replace(setting, quantised=True)
    saved = matrices * (dtype.itemsize - 0.5625)  # half a byte, and four for each block of 64
    assert quantised.base_bytes == setting.base_bytes - saved


def saved_bytes(model, reference, inputs) -> int:
    """Bytes that autograd keeps of a forward pass, weights and buffers left out."""
    held = [*model.parameters(), *model.buffers(), *reference.parameters(), *reference.buffers()]
    own = {tensor.untyped_storage().data_ptr() for tensor in held}
    seen = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = model(**inputs, use_cache=False).logits
    assert kept.requires_grad
    return sum(size for size, _ in seen.values())


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_what_autograd_keeps_follows_the_formula(tmp_path, architecture, dtype, lora, checkpointing):
    backbone = new_backbone(tmp_path, architecture, dtype, lora, checkpointing)
    rows, length = 8, 24
    ids = torch.arange(rows * length).reshape(rows, length) % VOCABULARY
    attention = torch.ones_like(ids)
    attention[0, 20:] = 0  # padding, as most batches have: its mask is kept as well
    inputs = {"input_ids": ids, "attention_mask": attention}
    measured = saved_bytes(backbone.trainable_copy(0), backbone.reference.model, inputs)
    setting = setting_of_backbone(backbone)
    kept, _ = setting.activations(rows * length, length, all_states=False)
    assert kept == pytest.approx(measured, rel=0.05)


def estimated(backbone, **work) -> float:
    """Bytes beyond the reference's weights and what is assumed of the allocator."""
    longest = max(map(len, backbone.codec.prompts(PROMPTS)))
    size = sizes(prompt=float(longest), longest_prompt=longest)
    parts = footprint.memory(Passes("x", rows=1, fewest=1, **work), setting_of_backbone(backbone), size)
    counted = {"weights of the reference", "context and fragments"}
    assert counted <= parts.keys()
    return sum(value for name, value in parts.items() if name not in counted)


def train_reward(backbone):
    backbone.fit_reward(PAIRS, RewardOptions(reward_epochs=1, reward_batch=12), seed=0, name="r")


def train_pairwise(backbone):
    backbone.fit_pairwise(PAIRS, DPO(0.1), PairwiseOptions(epochs=1, batch=12), seed=0)


def train_ppo(backbone):
    options = PPOOptions(iterations=2, batch=24, minibatches=1, epochs=1)
    backbone.optimise(
        lambda p, r: np.ones((len(p), 1)), mean(), options, prompts=PROMPTS, seed=0, names=["one"]
    )


PASSES = {
    "reward": (train_reward, {"vocabulary": False}),
    "pairwise": (train_pairwise, {}),
    "ppo": (train_ppo, {"all_states": True}),
}


@pytest.fixture
def as_transformers_does(monkeypatch):
    """What is estimated: the rectangle with its filler."""
    for way in (gpt2, rows):
        monkeypatch.setattr(way, "applies", lambda model: False)


@pytest.mark.usefixtures("as_transformers_does")
@pytest.mark.parametrize(
    ("kind", "architecture", "dtype", "lora", "checkpointing"),
    [
        *product(["ppo"], ["llama"], [torch.bfloat16], [True, False], [True, False]),
        *product(["reward"], ["llama"], [torch.bfloat16, torch.float32], [True], [False]),
        *product(["pairwise"], ["gpt2"], [torch.float32], [True, False], [True, False]),
    ],
)
def test_the_peak_of_training_is_within_a_tenth(tmp_path, kind, architecture, dtype, lora, checkpointing):
    """All of a fit: trained weights, their moments, and the largest pass, by the tensors that were alive."""
    backbone = new_backbone(tmp_path, architecture, dtype, lora, checkpointing)
    train, more = PASSES[kind]
    with Tracker() as tracker:
        train(backbone)
    said = estimated(backbone, kind="train", batch=24, held=1, optimised=True, **more)
    assert said == pytest.approx(tracker.peak, rel=0.1)


def peaks_without_training_are_near(backbone) -> None:
    """Of scoring and of sampling, as they are estimated."""
    backbone.codec = dataclasses.replace(backbone.codec, stops=frozenset())  # so that no row ends early
    with Tracker() as tracker:
        backbone.reference.logprob(PROMPTS, PAIRS.chosen)
    assert estimated(backbone, kind="score", batch=24) == pytest.approx(tracker.peak, rel=0.1)
    with Tracker() as tracker:
        backbone.reference.sample(PROMPTS, 2, seeds.child(0, "s"))
    assert estimated(backbone, kind="sample", batch=48, drawn=2) == pytest.approx(tracker.peak, rel=0.15)


@pytest.mark.usefixtures("as_transformers_does")
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_peaks_of_scoring_and_sampling_are_near(tmp_path, architecture, dtype):
    backbone = new_backbone(tmp_path, architecture, dtype)
    peaks_without_training_are_near(backbone)


@pytest.mark.usefixtures("as_transformers_does")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_a_large_vocabulary_only_the_response_tokens_count(tmp_path, dtype):
    """Logits are most of all here."""
    backbone = new_backbone(tmp_path, "llama", dtype, layers=1, vocabulary=4000)
    peaks_without_training_are_near(backbone)
    with Tracker() as tracker:
        train_pairwise(backbone)
    said = estimated(backbone, kind="train", batch=24, held=1, optimised=True)
    assert said == pytest.approx(tracker.peak, rel=0.1)


@pytest.mark.parametrize("kind", PASSES)
def test_without_padding_a_gpt2_needs_no_more(tmp_path, kind):
    """But for a tenth: attention's output is there twice, in the rectangle and without its padding."""
    backbone = new_backbone(tmp_path, "gpt2", torch.float32)
    train, more = PASSES[kind]
    with Tracker() as tracker:
        train(backbone)
    assert tracker.peak <= 1.1 * estimated(backbone, kind="train", batch=24, held=1, optimised=True, **more)


def test_fewer_rows_and_checkpointing_need_less():
    setting = ModelSetting(SHAPES["tulu2-7b"], 2, rank=16)
    work = Passes("x", "train", 1, 1, batch=64, held=1, optimised=True)
    whole = sum(footprint.memory(work, setting, sizes()).values())
    one = sum(footprint.memory(work, setting, sizes(), most=1).values())
    again = sum(footprint.memory(work, dataclasses.replace(setting, checkpointing=True), sizes()).values())
    assert setting.base_bytes < one < again < whole


def test_the_limits_are_those_of_the_training_loops():
    assert workload.ROWS_AT_ONCE == memory.ROWS_AT_ONCE
    assert footprint.TOKENS_AT_ONCE == memory.TOKENS_AT_ONCE
