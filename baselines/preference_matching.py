"""Preference matching (Xiao et al. 2024, arXiv 2405.16455)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import prefbench as pb
from prefbench.learn.options import PPOOptions, RewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of
from prefbench.learn.welfare import mean


@pb.aligner("preference_matching", backbones={"finite"})
def preference_matching(view: pb.View, backbone: pb.Backbone, options: RewardOptions) -> pb.Aligned:
    """The policy softmax(r) of a reward fitted to everybody: it answers as often as it is preferred.

    It maximises E[r - log pi], which is E[r - log pi_ref] - KL(pi || pi_ref): the usual problem with a KL
    weight of one and a reward less log pi_ref. The reward keeps its logits' scale. Responses must be
    listed: over all strings softmax(r) is mostly noise, and the paper's conditional variant for language
    models is not built.
    """
    rewards = fit_everybody(backbone, pairs_of(view.preferences["train"]), options, view.seed)

    def objective(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        reference = backbone.reference.logprob(prompts, responses)
        assert reference is not None
        return np.asarray(rewards.raw()(prompts, responses) - reference[:, None])

    policy = backbone.optimise(
        objective,
        mean(),
        PPOOptions.model_validate({"kl_coefficient": 1.0}),
        prompts=view.prompts,
        seed=view.seed,
        names=rewards.names,
    )
    return pb.Aligned(policy, rewards)
