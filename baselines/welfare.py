"""Social welfare over clusters of annotators: utilitarian, Nash, leximin and alpha-means."""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.learn.em import fit_mixture
from prefbench.learn.options import SocialWelfareOptions
from prefbench.learn.rewards import by_cluster, pairs_of
from prefbench.work import rewards_by_cluster


@pb.aligner("welfare", needs={"user_id"}, work=rewards_by_cluster)
def welfare(view: pb.View, backbone: pb.Backbone, options: SocialWelfareOptions) -> pb.Aligned:
    """A reward per cluster of annotators by EM, then PPO on a social welfare function of them.

    Mean, Nash (sum of log gains on the reference), leximin, or the alpha-mean of Park et al. 2024 (arXiv
    2405.00254), (1/alpha) log mean exp(alpha F).
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    rewards = fit_mixture(backbone, train, options, view.seed, held_out)
    assert rewards.assignment is not None
    sizes = np.bincount(list(rewards.assignment.values()), minlength=len(rewards.names))
    # A cluster that lost all its annotators keeps a reward but has nobody to speak for.
    shares = tuple(sizes / sizes.sum()) if options.weights == "shares" else None
    aim = pb.Welfare(options.welfare, shares=shares, alpha=options.alpha)
    policy = backbone.optimise(
        rewards,
        aim,
        options,
        prompts=view.prompts,
        seed=view.seed,
        held_out=by_cluster(held_out, rewards),
    )
    return pb.Aligned(policy, rewards)
