"""RLHF as usual: one Bradley-Terry reward for everybody, then PPO."""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import balanced, fit_everybody, pairs_of, say_what_was_not_learned
from prefbench.learn.welfare import mean
from prefbench.work import one_reward

SPLITS = ("train", "validation")


@pb.aligner("single_reward", work=one_reward, place=2)
def single_reward(view: pb.View, backbone: pb.Backbone, options: SingleRewardOptions) -> pb.Aligned:
    """One reward model fitted to everybody's labels, and PPO on it (conventional RLHF)."""
    return _align(view, backbone, options, *(pairs_of(view.preferences[split]) for split in SPLITS))


@pb.aligner("single_reward_balanced", needs={"group"}, work=one_reward)
def single_reward_balanced(view: pb.View, backbone: pb.Backbone, options: SingleRewardOptions) -> pb.Aligned:
    """single_reward with every group weighed alike: what balance alone achieves."""
    return _align(view, backbone, options, *(balanced(pairs_of(view.preferences[split])) for split in SPLITS))


def _align(
    view: pb.View,
    backbone: pb.Backbone,
    options: SingleRewardOptions,
    train: pb.Pairs,
    held_out: pb.Pairs,
) -> pb.Aligned:
    rewards = fit_everybody(backbone, train, options, view.seed, held_out)
    say_what_was_not_learned(backbone, rewards)
    policy = backbone.optimise(
        rewards, mean(), options, prompts=view.prompts, seed=view.seed, held_out=[held_out]
    )
    return pb.Aligned(policy, rewards)
