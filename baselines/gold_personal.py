"""Gold for each person: the policy for her group's true utility, which no aligner could see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import prefbench as pb
from prefbench.learn.options import PersonalOptions
from prefbench.learn.rewards import pairs_of
from prefbench.learn.routers import by_group
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.weighted import both_sides
from prefbench.work import Recipe, selection


def selection_alone(recipe: Recipe) -> None:
    """One of several samples by true utilities."""
    selection(recipe, 0)


@pb.aligner("gold_personal", needs={"oracle"}, sees={"group"}, role="ceiling", work=selection_alone)
def gold_personal(view: pb.View, backbone: pb.Backbone, options: PersonalOptions) -> pb.Personal:
    """The true utility of each person's group; of whoever names none, all with the groups' shares as weights.

    Utilities are centred and scaled as learned rewards are, on the reference responses in the pairs.
    """
    utilities, shares = view.utilities, view.shares
    assert utilities is not None and shares is not None
    seen = np.concatenate(both_sides(utilities, pairs_of(view.preferences["train"])))
    shift, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-6)

    def experts(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.asarray((utilities(prompts, responses) - shift) / scale)

    policy_of = policies_of(view, backbone, experts, options)
    return personal(policy_of, np.array(list(shares.values())), by_group(list(shares)))
