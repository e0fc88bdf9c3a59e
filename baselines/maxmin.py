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

    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    rewards = fit_mixture(backbone, train, options, view.seed, held_out)
    return _optimise_minimum(view, backbone, rewards, options)


@aligner("maxmin_known_groups", needs={"group"})
def maxmin_known_groups(view: View, backbone: Backbone, options: WelfareOptions) -> Aligned:
    """maxmin with the true groups in place of EM: what inferring the groups costs."""
    from prefbench.learn.bradley_terry import fit_known_groups

    return _optimise_minimum(view, backbone, fit_known_groups(view, backbone, options), options)


def _optimise_minimum(view: View, backbone: Backbone, rewards: Rewards, options: WelfareOptions) -> Aligned:
    from prefbench.learn.welfare import Welfare

    if not options.normalise:
        rewards = rewards.raw()
    welfare = Welfare(options.welfare, step=options.dual_step)
    policy = backbone.optimise(view.prompts, rewards, welfare, options, seed=view.seed, names=rewards.names)
    return Aligned(policy, rewards)
