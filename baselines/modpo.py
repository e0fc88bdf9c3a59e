"""MODPO: labels of one group, the others' rewards as a margin (Zhou et al. 2023, arXiv 2310.03708)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import PairTrainingOptions, RewardOptions
from prefbench.learn.rewards import fit_known_groups, group_among, pairs_by_group, scores_of
from prefbench.search import LANGUAGE, Choice
from prefbench.work import Recipe

if TYPE_CHECKING:
    import torch


class MODPOOptions(RewardOptions, PairTrainingOptions):
    """DPO on one group's labels, with the learned rewards of the others as a margin."""

    search = {"reward_group_epochs": Choice((1, 2, 4), LANGUAGE), "own_weight": Choice((0.25, 0.5, 0.75))}

    group: str | None = None
    """Group whose labels the policy is fitted to; none is the largest."""
    own_weight: float | None = Field(None, gt=0, le=1)
    """Weight of that group's reward; none is its share of annotators. The others have the rest, by share."""


@dataclass(frozen=True)
class MODPO:
    """-log sigmoid((beta D - m) / w), m the side column `margin`: what the other rewards say for y+.

    Source: MODPO (arXiv 2310.03708), with w the weight of the labels' own reward.
    """

    beta: float
    own_weight: float
    needs = ("margin",)

    def __call__(self, difference: torch.Tensor, side: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Losses [pairs]."""
        from torch.nn import functional

        return -functional.logsigmoid((self.beta * difference - side["margin"]) / self.own_weight)

    def slopes(self, difference: np.ndarray, side: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Losses and their derivatives by D, [pairs] each."""
        margin = (self.beta * difference - side["margin"]) / self.own_weight
        return np.logaddexp(0, -margin), -self.beta / self.own_weight * np.exp(-np.logaddexp(0, margin))

    @staticmethod
    def turned(side: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The margin of the pair with its responses exchanged."""
        return {"margin": -side["margin"]}


def margins_and_policy(recipe: Recipe) -> None:
    """A reward for each group, those of the others on one group's pairs, and a policy fitted to these."""
    recipe.known_groups()
    # Nobody can tell how many labels a group that is named has; the largest has no less than its part.
    least = 1 / recipe.sizes.groups if recipe.options["group"] is None else 0.0
    asked = 2 * (recipe.sizes.train + recipe.sizes.validation) * (recipe.sizes.groups - 1)
    recipe.score("margins", asked, least, held=1 + recipe.rewards, vocabulary=False)
    recipe.pairwise("policy by pairs", held=1 + recipe.rewards, least=least)


@pb.aligner("modpo", needs={"group"}, work=margins_and_policy)
def modpo(view: pb.View, backbone: pb.Backbone, options: MODPOOptions) -> pb.Aligned:
    """A policy fitted to one group's pairs, with the weighted rewards of the other groups as a margin.

    With exact labels it ends at pi_ref exp(sum_g w_g r_g / beta), the optimum of the weighted rewards. They
    are taken as they were fitted, in log odds of a label, as DPO's is.
    """
    assert view.shares is not None
    group = group_among(view, options.group)
    rewards = fit_known_groups(view, backbone, options)
    others = {name: share for name, share in view.shares.items() if name != group}
    own = (options.own_weight or view.shares[group]) if others else 1.0
    rest = sum(others.values())

    def told(split: str) -> pb.Pairs:
        pairs = pairs_by_group(view, split)[group]
        margin = np.zeros(len(pairs))
        for name, share in others.items():
            chosen, rejected = scores_of(rewards.models[rewards.names.index(name)], pairs)
            margin += (1 - own) * share / rest * (chosen - rejected)
        return replace(pairs, side={"margin": margin})

    loss = MODPO(options.beta or backbone.dpo_beta, own)
    policy = backbone.fit_pairwise(told("train"), loss, options, seed=view.seed, held_out=told("validation"))
    return pb.Aligned(policy, rewards)
