"""Gold for each person: the policy for her group's true utility, which no aligner could see."""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.learn.options import PersonalOptions
from prefbench.learn.rewards import pairs_of
from prefbench.learn.routers import by_group
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.weighted import TrueUtilities
from prefbench.work import Recipe, selection


def selection_alone(recipe: Recipe) -> None:
    """One of several samples by true utilities."""
    selection(recipe, 0)


@pb.aligner("gold_personal", needs={"oracle"}, sees={"group"}, role="ceiling", work=selection_alone)
def gold_personal(view: pb.View, backbone: pb.Backbone, options: PersonalOptions) -> pb.Aligned:
    """The true utility of each person's group; of whoever names none, all with the groups' shares as weights.

    Utilities are centred and scaled as learned rewards are, on the reference responses in the pairs.
    """
    assert view.utilities is not None and view.shares is not None
    experts = TrueUtilities.over(view.utilities, pairs_of(view.preferences["train"]))
    policy_of = policies_of(view, backbone, experts, options)
    return personal(policy_of, np.array(list(view.shares.values())), by_group(list(view.shares)))
