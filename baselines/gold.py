"""Ceilings: the same optimiser on the groups' true utilities, which no aligner could see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefbench.backbone.base import Backbone, Policy
from prefbench.learn.options import PPOOptions
from prefbench.problem.preferences import View
from prefbench.registry import aligner

if TYPE_CHECKING:
    import numpy as np

    from prefbench.learn.welfare import Welfare


@aligner("gold_utilitarian", needs={"oracle"})
def gold_utilitarian(view: View, backbone: Backbone, options: PPOOptions) -> Policy:
    """PPO on the true utilities, averaged with the groups' shares as weights."""
    from prefbench.learn.welfare import mean

    assert view.shares is not None
    return _optimise(view, backbone, mean(list(view.shares.values())), options)


@aligner("gold_maxmin", needs={"oracle"})
def gold_maxmin(view: View, backbone: Backbone, options: PPOOptions) -> Policy:
    """PPO on the true utility of the group that is worst off: the ceiling for maxmin."""
    from prefbench.learn.welfare import population_min

    return _optimise(view, backbone, population_min, options)


def _optimise(view: View, backbone: Backbone, welfare: Welfare, options: PPOOptions) -> Policy:
    """Normalise as learned rewards are: centre and scale on the reference responses in the pairs."""
    import numpy as np

    utilities, shares = view.utilities, view.shares
    assert utilities is not None and shares is not None
    rows = view.preferences["train"][:]
    prompts = [*rows["prompt"], *rows["prompt"]]
    seen = utilities(prompts, [*rows["chosen"], *rows["rejected"]])
    shift, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-6)

    def rewards(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.asarray((utilities(prompts, responses) - shift) / scale)

    return backbone.optimise(view.prompts, rewards, welfare, options, seed=view.seed, names=list(shares))
