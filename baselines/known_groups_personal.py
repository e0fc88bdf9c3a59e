"""A reward for each known group, and for each person her group's: what to be told the group is worth."""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.learn.options import GroupPersonalOptions
from prefbench.learn.rewards import fit_known_groups
from prefbench.learn.routers import by_group
from prefbench.learn.routing import personal, policies_of, weights_for_worst_off
from prefbench.work import Recipe, selection


def rewards_and_selection(recipe: Recipe) -> None:
    """A reward for each group, and one of several samples by one of them."""
    recipe.known_groups()
    selection(recipe, recipe.rewards, asks_prior=recipe.options["prior"] == "worst_off")


@pb.aligner("known_groups_personal", needs={"group"}, sees={"group"}, work=rewards_and_selection)
def known_groups_personal(view: pb.View, backbone: pb.Backbone, options: GroupPersonalOptions) -> pb.Aligned:
    """maxmin_known_groups' rewards, and for each person the policy for that of the group that she names."""
    assert view.shares is not None
    rewards = fit_known_groups(view, backbone, options)
    if options.prior == "worst_off":
        unknown = weights_for_worst_off(view, backbone, rewards, options)
    else:
        unknown = np.array([view.shares[name] for name in rewards.names])
    policy_of = policies_of(view, backbone, rewards, options)
    return personal(policy_of, unknown, by_group(rewards.names), rewards)
