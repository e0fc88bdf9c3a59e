"""The pessimistic median of annotators' rewards (Kleine Buening et al. 2025, arXiv 2503.09561)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.median import fit_each, median, pessimistic, reaches
from prefbench.learn.one_policy import policy_for
from prefbench.learn.options import SingleRewardOptions, kl_coefficient
from prefbench.learn.rewards import fit_everybody, pairs_of, strength_of
from prefbench.learn.weighted import Frozen, both_sides, spread
from prefbench.search import LISTED, LogUniform
from prefbench.work import Recipe


class MedianOptions(SingleRewardOptions):
    """A reward for each annotator, the box of their medians, and the policy for the worst reward in it."""

    search = {"person_ridge": LogUniform(0.1, 10.0), "radius": LogUniform(0.03, 3.0, LISTED)}

    person_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of each annotator's reward, in units of a usual one."""
    radius: float = Field(0.3, ge=0)
    """Radius f of each annotator's confidence set; where responses cannot be listed it plays no part, and is
    0."""
    normalise: bool = True
    """Divide rewards by the spread of the median one over reference responses, as other aligners do; without
    it they are in log odds of a label."""


def heads_and_policy(recipe: Recipe) -> None:
    """A reward for everybody, its features of every pair, and a policy by PPO on a head on those."""
    recipe.everybody()
    recipe.features("features", passes=2)
    recipe.optimise("policy by PPO", 1)


@pb.aligner("pessimistic_median", needs={"user_id"}, work=heads_and_policy)
def pessimistic_median(view: pb.View, backbone: pb.Backbone, options: MedianOptions) -> pb.Policy:
    """A linear reward for each annotator, and the policy for the least favourable median of what they may be.

    On frozen features of everybody's reward. Nobody can move a coordinate of the median beyond her
    neighbours in it, and where policies can choose every feature by itself nobody gains by a lie.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    assert train.user_id is not None
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0])
    chosen, rejected = both_sides(experts, train)
    user = np.unique(train.user_id, return_inverse=True)[1]
    ridge = options.person_ridge * experts.penalty
    labelled = chosen - rejected
    theta = fit_each(labelled, user, ridge, strength_of(train))
    scale = spread(median(theta), np.concatenate([chosen, rejected])) if options.normalise else 1.0
    head = median(theta) / scale
    if options.radius > 0:
        game = backbone.game(
            view.prompts, experts, kl_coefficient(options.kl_coefficient, backbone.kl_coefficient)
        )
        if game is not None:
            apart = options.radius * reaches(labelled, user, ridge)
            low, high = (median(ends) / scale for ends in (theta - apart, theta + apart))
            head = pessimistic(game, low, high).group_weights

    def reward(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.asarray(experts(prompts, responses) @ head)[:, None]

    return policy_for(view, backbone, reward, options, held_out, "median")
