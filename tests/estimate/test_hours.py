"""Operations that torch counts, and hours by hand."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from prefbench.backbone.shapes import Shape
from prefbench.estimate import time
from prefbench.estimate.hardware import Hardware
from prefbench.estimate.setting import ModelSetting
from prefbench.work import Passes
from support.estimated import VOCABULARY, new_backbone, setting_of_backbone, sizes


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_flops_are_those_that_torch_counts(tmp_path, architecture, lora, checkpointing):
    backbone = new_backbone(tmp_path, architecture, lora=lora, checkpointing=checkpointing, layers=6)
    backbone.reference.model.set_attn_implementation("eager")  # torch counts no fused attention on a CPU
    model, setting = backbone.trainable_copy(0), setting_of_backbone(backbone)
    rows, length = 3, 40
    ids = torch.arange(rows * length).reshape(rows, length) % VOCABULARY
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        model(input_ids=ids, use_cache=False)
    assert setting.forward(rows * length, length, rows * length) == forward.get_total_flops()
    with FlopCounterMode(display=False) as both:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    assert setting.training(rows * length, length, rows * length) == pytest.approx(
        both.get_total_flops(), rel=0.03
    )


def test_hours_by_hand():
    device = Hardware(bfloat16=1e12, float32=1e11, bandwidth=1e9, memory=1e9)
    setting = ModelSetting(Shape(2, 8, 2, 2, 16, 100, 64, tied=True, gated=True, biases=False), 4)
    train = Passes("x", "train", rows=100_000, fewest=50_000, batch=10)
    per_token = 2 * (2 * (4 * 64 + 3 * 128) + 4 * 8 * 32)
    flops = 3 * 100_000 * (32 * per_token + 12 * 2 * 100 * 8)
    assert time.flops(train, setting, sizes()) == flops
    # 30 GFLOP at 35 GFLOP/s last less than 10,000 steps whose 3 passes start 2 layers each.
    assert flops / 0.35e11 < 60
    assert time.seconds(train, setting, sizes(), device) == pytest.approx(10_000 * 3 * 2 * 1e-3)
    slow = dataclasses.replace(device, float32=1e9)
    assert time.seconds(train, setting, sizes(), slow) == pytest.approx(flops / 0.35e9)
    # Sampling reads the weights and the caches of half-grown rows for every token, at half the bandwidth.
    sample = Passes("x", "sample", rows=20, fewest=20, batch=10)
    narrow = dataclasses.replace(device, bandwidth=1e6)
    read = 4 * setting.shape.parameters + 10 * (20 + 6) * 2 * 2 * 8 * 4
    assert time.seconds(sample, setting, sizes(), narrow) == pytest.approx(2 * 12 * read / 0.5e6)
