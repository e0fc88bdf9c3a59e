"""MaxMin-RLHF (Chakraborty et al., ICML 2024, arXiv 2402.08925)."""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.em import fit_mixture
from prefbench.learn.options import MaxMinOptions, WelfareOptions
from prefbench.learn.rewards import by_cluster, fit_known_groups, pairs_by_group, pairs_of
from prefbench.work import Recipe, rewards_by_cluster


@pb.aligner("maxmin", needs={"user_id"}, work=rewards_by_cluster, place=1)
def maxmin(view: pb.View, backbone: pb.Backbone, options: MaxMinOptions) -> pb.Aligned:
    """A reward per cluster of annotators by EM (Algorithm 2), then PPO for the worst off (Algorithm 1)."""
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    rewards = fit_mixture(backbone, train, options, view.seed, held_out)
    return _optimise_minimum(view, backbone, rewards, options, by_cluster(held_out, rewards))


def groups_and_policy(recipe: Recipe) -> None:
    """A reward for each group, and a policy for all of them by PPO."""
    recipe.known_groups()
    recipe.optimise("policy by PPO", recipe.rewards)


@pb.aligner("maxmin_known_groups", needs={"group"}, work=groups_and_policy, place=5)
def maxmin_known_groups(view: pb.View, backbone: pb.Backbone, options: WelfareOptions) -> pb.Aligned:
    """maxmin with the true groups in place of EM: what inferring the groups costs."""
    rewards = fit_known_groups(view, backbone, options)
    held_out = list(pairs_by_group(view, "validation").values())
    return _optimise_minimum(view, backbone, rewards, options, held_out)


def _optimise_minimum(
    view: pb.View,
    backbone: pb.Backbone,
    rewards: pb.Rewards,
    options: WelfareOptions,
    held_out: list[pb.Pairs],
) -> pb.Aligned:
    if not options.normalise:
        rewards = rewards.raw()
    welfare = pb.Welfare(options.welfare, step=options.dual_step)
    policy = backbone.optimise(
        rewards, welfare, options, prompts=view.prompts, seed=view.seed, held_out=held_out
    )
    return pb.Aligned(policy, rewards)
