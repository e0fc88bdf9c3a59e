"""A reward that is adapted to few pairs: its head is fitted to them before all weights are trained."""

import numpy as np
import pytest
import torch

from prefbench.backbone.language.reward import fit_head
from prefbench.learn.em import LINEAR_PRIOR_VARIANCE
from prefbench.learn.interface import Pairs
from prefbench.learn.options import RewardOptions
from prefbench.learn.rewards import residual
from prefbench.store.stages import Work

JOY, DULL, LONG = " was a joy.", " was dull.", " was a joy from start to end."
PROMPTS = ["the film", "a film", "this"] * 4
AGREED = Pairs(PROMPTS, [JOY, LONG, JOY] * 4, [DULL, DULL, LONG] * 4)
OPPOSED = Pairs(PROMPTS[:6], [DULL] * 6, [JOY] * 6)


def sides(model, backbone, pairs):
    """What a reward is linear in, of the chosen and of the rejected responses, [pairs, width + 1] each."""
    texts = pairs.chosen, pairs.rejected
    return [backbone.measure(pairs.prompts, side, model.inputs, backbone.width + 1) for side in texts]


@pytest.mark.parametrize("pooling", ["sum", "last"])
def test_a_reward_is_its_head_on_its_inputs(tmp_path, tiny_backbone, pooling):
    backbone = tiny_backbone(folder=tmp_path, pooling=pooling)
    model = backbone.new_reward(0)
    model.head.bias.data.fill_(0.3)
    seen, _ = sides(model, backbone, AGREED)
    by_hand = seen @ np.append(model.head.weight.detach().numpy()[0], 0.3)
    assert by_hand == pytest.approx(backbone.measure(AGREED.prompts, AGREED.chosen, model), abs=1e-5)


@pytest.mark.parametrize("weights", [None, np.repeat([1.0, 3.0], 6)])
def test_the_fitted_head_is_where_the_penalised_likelihood_is_flat(tmp_path, tiny_backbone, weights):
    backbone = tiny_backbone(folder=tmp_path, pooling="sum")
    model = backbone.new_reward(0)
    pairs = Pairs(AGREED.prompts, AGREED.chosen, AGREED.rejected, weights=weights)
    chosen, rejected = sides(model, backbone, pairs)
    fit_head(backbone, model, pairs)
    scale = np.maximum(np.concatenate([chosen, rejected]).std(axis=0), 1e-6)
    difference = (chosen - rejected) / scale
    head = np.append(model.head.weight.detach().numpy()[0], model.head.bias.item()) * scale
    counts = np.ones(12) if weights is None else weights / weights.mean()
    # As many pairs as the weighted ones are worth: 12 of equal weight, 0.8 times as many of 1 and 3.
    penalty = len(head) / LINEAR_PRIOR_VARIANCE / (1.0 if weights is None else 0.8)
    slope = penalty * head - difference.T @ (counts * residual(difference @ head))
    assert np.abs(slope).max() < 1e-3 * np.abs(penalty * head).max()
    assert np.abs(head).max() > 0.01


def trained(backbone, pairs, name, rate, **more):
    options = RewardOptions(reward_epochs=4, reward_batch=4, reward_learning_rate=rate)
    folder = backbone.store.root / name
    folder.mkdir(parents=True)
    return backbone.at(Work("rewards", folder)).fit_reward(pairs, options, seed=0, name=name, **more)


def margin(reward):
    return float(reward.score(["the film"] * 2, [JOY, DULL]) @ [1, -1])


def test_few_pairs_turn_a_reward_before_its_first_step(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path)
    start = trained(backbone, AGREED, "start", 1e-3)
    assert margin(start) > 0
    warm = trained(backbone, OPPOSED, "warm", 1e-12, start=start)
    assert margin(warm) == pytest.approx(margin(start), abs=1e-6)
    assert margin(trained(backbone, OPPOSED, "adapted", 1e-12, start=start, adapts=True)) < 0


def test_everybodys_reward_may_begin_with_a_fitted_head(tmp_path, tiny_backbone):
    backbone = tiny_backbone(folder=tmp_path, reward_head="fitted")
    by_hand = backbone.new_reward(0)
    fit_head(backbone, by_hand, AGREED)
    start = trained(backbone, AGREED, "start", 1e-12)
    assert torch.allclose(start.model.head.weight, by_hand.head.weight, atol=1e-6)
    # What begins with another reward and does not adapt it keeps its head.
    warm = trained(backbone, OPPOSED, "warm", 1e-12, start=start)
    assert margin(warm) == pytest.approx(margin(start), abs=1e-6) and margin(start) > 0
