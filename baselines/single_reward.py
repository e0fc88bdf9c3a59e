"""RLHF as usual: one Bradley-Terry reward for everybody, then PPO."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import prefbench as pb
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of
from prefbench.learn.welfare import mean
from prefbench.work import one_reward


@pb.aligner("single_reward", work=one_reward, place=2)
def single_reward(view: pb.View, backbone: pb.Backbone, options: SingleRewardOptions) -> pb.Aligned:
    """One reward model fitted to everybody's labels, and PPO on it (conventional RLHF)."""
    return _align(view, backbone, options, pairs_of(view.preferences["train"]))


@pb.aligner("single_reward_balanced", needs={"group"}, work=one_reward)
def single_reward_balanced(view: pb.View, backbone: pb.Backbone, options: SingleRewardOptions) -> pb.Aligned:
    """single_reward with every group drawn equally often: what balance alone achieves."""
    pairs = pairs_of(view.preferences["train"])
    assert pairs.group is not None
    _, group, count = np.unique(pairs.group, return_inverse=True, return_counts=True)
    return _align(view, backbone, options, replace(pairs, weights=1 / count[group]))


def _align(view: pb.View, backbone: pb.Backbone, options: SingleRewardOptions, pairs: pb.Pairs) -> pb.Aligned:
    rewards = fit_everybody(backbone, pairs, options, view.seed)
    policy = backbone.optimise(rewards, mean(), options, prompts=view.prompts, seed=view.seed)
    return pb.Aligned(policy, rewards)
