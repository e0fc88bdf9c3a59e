"""RLHF as usual: one Bradley-Terry reward for everybody, then PPO."""

from __future__ import annotations

from dataclasses import replace

from prefbench.backbone.base import Aligned, Backbone, Pairs
from prefbench.learn.options import SingleRewardOptions
from prefbench.problem.preferences import View
from prefbench.registry import aligner


@aligner("single_reward")
def single_reward(view: View, backbone: Backbone, options: SingleRewardOptions) -> Aligned:
    """One reward model fitted to everybody's labels, and PPO on it (conventional RLHF)."""
    from prefbench.learn.bradley_terry import pairs_of

    return _align(view, backbone, options, pairs_of(view.preferences["train"]))


@aligner("single_reward_balanced", needs={"group"})
def single_reward_balanced(view: View, backbone: Backbone, options: SingleRewardOptions) -> Aligned:
    """single_reward with every group drawn equally often: what balance alone achieves."""
    import numpy as np

    from prefbench.learn.bradley_terry import pairs_of

    pairs = pairs_of(view.preferences["train"])
    assert pairs.group is not None
    _, group, count = np.unique(pairs.group, return_inverse=True, return_counts=True)
    return _align(view, backbone, options, replace(pairs, weights=1 / count[group]))


def _align(view: View, backbone: Backbone, options: SingleRewardOptions, pairs: Pairs) -> Aligned:
    from prefbench.learn.bradley_terry import fit_everybody
    from prefbench.learn.welfare import mean

    rewards = fit_everybody(backbone, pairs, options, view.seed)
    policy = backbone.optimise(view.prompts, rewards, mean(), options, seed=view.seed, names=rewards.names)
    return Aligned(policy, rewards)
