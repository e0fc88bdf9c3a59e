"""Gold: the same optimiser on the groups' true utilities, which no aligner could see.

Where responses can be listed it is exact, and a ceiling; on a language model it is gold PPO and no bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import prefbench as pb
from prefbench.learn.options import PPOOptions
from prefbench.learn.welfare import mean, population_min
from prefbench.work import Recipe


def policy_alone(recipe: Recipe) -> None:
    """A policy by PPO on true utilities, without a reward model."""
    recipe.optimise("policy by PPO", 0)


@pb.aligner("gold_utilitarian", needs={"oracle"}, role="ceiling", work=policy_alone)
def gold_utilitarian(view: pb.View, backbone: pb.Backbone, options: PPOOptions) -> pb.Policy:
    """PPO on the true utilities, averaged with the groups' shares as weights."""
    assert view.shares is not None
    return _optimise(view, backbone, mean(list(view.shares.values())), options)


@pb.aligner("gold_maxmin", needs={"oracle"}, role="ceiling", work=policy_alone, place=4)
def gold_maxmin(view: pb.View, backbone: pb.Backbone, options: PPOOptions) -> pb.Policy:
    """PPO on the true utility of the group that is worst off; exact where responses can be listed."""
    return _optimise(view, backbone, population_min, options)


def _optimise(view: pb.View, backbone: pb.Backbone, welfare: pb.Welfare, options: PPOOptions) -> pb.Policy:
    """Normalise as learned rewards are: centre and scale on the reference responses in the pairs."""
    utilities, shares = view.utilities, view.shares
    assert utilities is not None and shares is not None
    rows = view.preferences["train"][:]
    prompts = [*rows["prompt"], *rows["prompt"]]
    seen = utilities(prompts, [*rows["chosen"], *rows["rejected"]])
    shift, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-6)

    def rewards(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.asarray((utilities(prompts, responses) - shift) / scale)

    return backbone.optimise(
        rewards, welfare, options, prompts=view.prompts, seed=view.seed, names=list(shares)
    )
