"""Crowd-PrefRL: votes weighed by how far people are to be trusted (arXiv 2401.10941)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

import prefbench as pb
from prefbench.learn.crowd import Votes, merged, trust
from prefbench.learn.one_policy import aligned_to_everybody
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import pairs_of
from prefbench.search import Choice
from prefbench.work import Recipe, one_reward


class CrowdOptions(SingleRewardOptions):
    """One label of each pair by weighted votes, a reward model for these and PPO on it."""

    search = {"merge": Choice(("sign", "share"))}

    merge: Literal["sign", "share"] = "sign"
    """The label of a pair is certain, or as strong as its side's share of the weighted votes."""


def reward_of_votes(recipe: Recipe) -> None:
    """One reward for one label of each pair, one policy by PPO."""
    sizes = recipe.sizes
    recipe.sizes = replace(
        sizes, train=sizes.train // sizes.labels, validation=sizes.validation // sizes.labels
    )
    one_reward(recipe)
    recipe.sizes = sizes


@pb.aligner("crowd_pref", needs={"user_id", "votes"}, work=reward_of_votes)
def crowd_pref(view: pb.View, backbone: pb.Backbone, options: CrowdOptions) -> pb.Aligned:
    """Weigh people's votes on a pair by how far they agree with each other, then single_reward on the result.

    It knows one right answer, so that a minority with other wishes counts as people who err.
    """
    labels = {split: pairs_of(view.preferences[split]) for split in ("train", "validation")}
    assert labels["train"].user_id is not None
    people = np.unique(labels["train"].user_id)
    votes = {
        split: Votes.of(pairs, np.asarray(view.preferences[split]["pair"]), people)
        for split, pairs in labels.items()
    }
    weights = trust(votes["train"])
    train, held_out = (
        merged(labels[split], votes[split], weights, options.merge == "share") for split in labels
    )
    turned = int((weights < 0).sum())
    note = f"the votes of {turned} of {len(people)} annotators count the other way round"
    return aligned_to_everybody(view, backbone, options, train, held_out, [note])
