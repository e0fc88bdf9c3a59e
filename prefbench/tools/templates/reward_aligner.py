"""NAME: say here in a sentence what the method does, and where it comes from.

prefbench check NAME.py
prefbench run --plugin NAME.py --task imdb_two_group --aligner NAME
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_known_groups
from prefbench.search import Choice


class TITLEChoices(SingleRewardOptions):
    """Options of the rewards and of PPO, and one of its own."""

    # What `prefbench tune` draws the new option from; the others are searched as they declare themselves.
    search = {"care": Choice((0.0, 0.5, 1.0, 2.0))}

    care: float = Field(1.0, ge=0, le=10)
    """Weight of the least content group beside the mean of all: 0 is the mean alone."""


# needs: what it must see beyond the pairs: user_id, group, side (columns) or oracle. All else is removed.
@pb.aligner("NAME", needs={"group"})
def NAME(view: pb.View, backbone: pb.Backbone, options: TITLEChoices) -> pb.Aligned:
    """A reward for each group, however many, and a policy for responses that the least content like too."""
    rewards = fit_known_groups(view, backbone, options)  # of clusters: prefbench.learn.em.fit_mixture

    def worth(scores: np.ndarray) -> np.ndarray:
        """Rewards [n, groups] to one number per response, [n]: what PPO maximises, and worlds solve for."""
        liked: np.ndarray = scores.mean(axis=1) + options.care * scores.min(axis=1)
        return liked

    policy = backbone.optimise(rewards, worth, options, prompts=view.prompts, seed=view.seed)
    return pb.Aligned(policy, rewards)
