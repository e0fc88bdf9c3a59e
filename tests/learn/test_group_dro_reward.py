"""The reward with the smallest largest loss of a group: what is left of opposed groups, and of one."""

from dataclasses import replace

import numpy as np
import pytest

from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.options import FiniteOptions
from prefbench.learn.interface import Pairs
from prefbench.learn.options import RewardOptions
from prefbench.learn.rewards import log_likelihood, scores_of
from prefbench.store.stages import Store, Work
from support.worlds import labelled, make_world


@pytest.fixture
def backbone(tmp_path):
    world, prompts = make_world(prompts=300)
    made = Finite(world, FiniteOptions(penalty=1e-3), Store(tmp_path), Work("policy", tmp_path), 0.5)
    return made, prompts


def fitted(backbone, pairs, group_step):
    return backbone.fit_reward(pairs, RewardOptions(), seed=0, name="r", group_step=group_step)


def of(pairs, name):
    return replace(pairs, group=np.full(len(pairs), name, dtype=object))


def both(one, other):
    parts = {key: [*getattr(one, key), *getattr(other, key)] for key in ("prompts", "chosen", "rejected")}
    return Pairs(**parts, group=np.concatenate([one.group, other.group]))


def losses(reward, *sides):
    return [-log_likelihood(np.subtract(*scores_of(reward, side))).mean() for side in sides]


def test_groups_that_are_exactly_opposed_leave_nothing(backbone):
    finite, prompts = backbone
    many = of(labelled(finite, prompts, np.array([2.0, 0.0, 1.0])), "many")
    few = of(replace(many, chosen=many.rejected, rejected=many.chosen), "few")[np.arange(300)]
    assert np.abs(fitted(finite, both(many, few), 0.1).table).max() < 1e-4
    assert np.abs(fitted(finite, both(many, few[np.arange(30)]), None).table).max() > 0.5


def test_one_group_is_bradley_terry(backbone):
    finite, prompts = backbone
    pairs = of(labelled(finite, prompts, np.array([2.0, 0.0, 1.0])), "all")
    assert np.allclose(fitted(finite, pairs, 0.1).table, fitted(finite, pairs, None).table, atol=1e-5)


def test_the_worst_groups_loss_is_smaller_than_everybodys_reward_leaves_it(backbone):
    finite, prompts = backbone
    many = of(labelled(finite, prompts, np.array([2.0, 0.0, 1.0]), 0), "many")
    few = of(labelled(finite, prompts[:60], np.array([0.0, 2.0, 1.0]), 1), "few")
    plain, robust = (losses(fitted(finite, both(many, few), step), many, few) for step in (None, 0.1))
    assert max(robust) < max(plain) - 0.05
    assert robust[0] == pytest.approx(robust[1], abs=1e-3)  # neither can be lowered without the other


def test_a_reward_model_hears_a_small_group_that_disagrees(tmp_path, tiny_backbone):
    """28 pairs want one thing and 4 the opposite: the usual reward follows them, the robust one neither."""
    backbone = tiny_backbone(folder=tmp_path)
    joy, dull = " was a joy.", " was dull."
    wants = [(joy, dull)] * 28 + [(dull, joy)] * 4
    group = np.array(["many"] * 28 + ["few"] * 4, dtype=object)
    pairs = Pairs(["the film"] * 32, [w[0] for w in wants], [w[1] for w in wants], group=group)
    options = RewardOptions(reward_epochs=12, reward_batch=8)

    def margin(group_step):
        folder = tmp_path / str(group_step)
        folder.mkdir()
        bound = backbone.at(Work("rewards", folder))
        reward = bound.fit_reward(pairs, options, seed=0, name="r", group_step=group_step)
        return float(np.subtract(*reward.score(["the film"] * 2, [joy, dull])))

    plain, robust = margin(None), margin(0.3)
    assert plain > 1.0 and abs(robust) < plain / 2
