"""A reward for the group that it explains worst (group DRO: Sagawa et al. 2020, on Bradley-Terry's loss)."""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.options import GroupStepOptions, SingleRewardOptions
from prefbench.learn.rewards import fit_worst_group, pairs_by_group, pairs_of, say_what_was_not_learned
from prefbench.learn.welfare import mean
from prefbench.work import one_reward


class GroupDROOptions(GroupStepOptions, SingleRewardOptions):
    """One reward for the group with the largest loss, and PPO on it."""


@pb.aligner("group_dro_reward", needs={"group"}, work=one_reward)
def group_dro_reward(view: pb.View, backbone: pb.Backbone, options: GroupDROOptions) -> pb.Aligned:
    """One reward r for everybody, argmin_r max_g L_g(r) over known groups; then single_reward's policy.

    L_g is the Bradley-Terry loss of group g's pairs. Groups that want opposite things have no such reward but
    a constant: then nothing is learned, where gr_dpo learns no policy and maxmin has one.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    rewards = fit_worst_group(backbone, train, options, options.group_step, view.seed, held_out)
    say_what_was_not_learned(backbone, rewards)
    policy = backbone.optimise(
        rewards,
        mean(),
        options,
        prompts=view.prompts,
        seed=view.seed,
        held_out=list(pairs_by_group(view, "validation").values()),
    )
    return pb.Aligned(policy, rewards)
