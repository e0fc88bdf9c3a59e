"""MaxMin-RLHF (Chakraborty et al., ICML 2024, arXiv 2402.08925)."""

from __future__ import annotations

from prefbench.backbone.base import Aligned, Backbone, Rewards
from prefbench.learn.options import MaxMinOptions, WelfareOptions
from prefbench.problem.preferences import View
from prefbench.registry import aligner


@aligner("maxmin", needs={"user_id"})
def maxmin(view: View, backbone: Backbone, options: MaxMinOptions) -> Aligned:
    """A reward per cluster of annotators by EM (Algorithm 2), then PPO for the worst off (Algorithm 1)."""
    from prefbench.learn.bradley_terry import pairs_of
    from prefbench.learn.em import fit_mixture

    rewards = fit_mixture(backbone, pairs_of(view.preferences["train"]), options, view.seed)
    return _optimise_minimum(view, backbone, rewards, options)


@aligner("maxmin_known_groups", needs={"group"})
def maxmin_known_groups(view: View, backbone: Backbone, options: WelfareOptions) -> Aligned:
    """maxmin with the true groups in place of EM: what inferring the groups costs."""
    import numpy as np

    from prefbench.learn.bradley_terry import fit_groups, pairs_of

    pairs = pairs_of(view.preferences["train"])
    assert view.shares is not None
    members = {name: pairs[np.flatnonzero(pairs.group == name)] for name in view.shares}
    rewards = fit_groups(backbone, members, options, view.seed)
    return _optimise_minimum(view, backbone, rewards, options)


def _optimise_minimum(view: View, backbone: Backbone, rewards: Rewards, options: WelfareOptions) -> Aligned:
    from prefbench.learn.welfare import WELFARES

    if not options.normalise:
        rewards = rewards.raw()
    welfare = WELFARES[options.welfare]
    policy = backbone.optimise(view.prompts, rewards, welfare, options, seed=view.seed, names=rewards.names)
    return Aligned(policy, rewards)
