"""RLHF as usual: one Bradley-Terry reward for everybody, then PPO."""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.one_policy import aligned_to_everybody
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import balanced, pairs_of
from prefbench.work import one_reward

SPLITS = ("train", "validation")


@pb.aligner("single_reward", work=one_reward, place=2)
def single_reward(view: pb.View, backbone: pb.Backbone, options: SingleRewardOptions) -> pb.Aligned:
    """One reward model fitted to everybody's labels, and PPO on it (conventional RLHF)."""
    train, held_out = (pairs_of(view.preferences[split]) for split in SPLITS)
    return aligned_to_everybody(view, backbone, options, train, held_out)


@pb.aligner("single_reward_balanced", needs={"group"}, work=one_reward)
def single_reward_balanced(view: pb.View, backbone: pb.Backbone, options: SingleRewardOptions) -> pb.Aligned:
    """single_reward with every group weighed alike: what balance alone achieves."""
    train, held_out = (balanced(pairs_of(view.preferences[split])) for split in SPLITS)
    return aligned_to_everybody(view, backbone, options, train, held_out)
