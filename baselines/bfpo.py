"""BFPO: how far a pair is driven apart hangs on what a minority can accept (Zhang et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import IPOOptions, RewardOptions
from prefbench.learn.rewards import fit_known_groups, group_among, log_likelihood, pairs_of, scores_of
from prefbench.search import LANGUAGE, Choice
from prefbench.work import Recipe

if TYPE_CHECKING:
    import torch

ACCEPTED = "chosen_accepted", "rejected_accepted"
"""Side columns: 1 where a group accepts the response of the pair, 0 where it does not."""


class BFPOOptions(RewardOptions, IPOOptions):
    """IPO with a target for each pair, by what one group accepts."""

    search = {"reward_group_epochs": Choice((1, 2, 4), LANGUAGE), "tolerated": Choice((0.5, 0.6, 0.75, 0.9))}

    group: str | None = None
    """Group that accepts a response or not; none is the smallest."""
    tolerated: float = Field(0.75, ge=0, le=1)
    """Largest chance, by its reward, that it prefers the other response of a pair at which it accepts one."""
    chosen_weight: float = Field(1.5, ge=0)
    """Target that an accepted chosen response adds; the paper's b1 b3."""
    rejected_weight: float = Field(0.5, ge=0)
    """Target that an accepted rejected response takes away; the paper's b3."""
    offset: float = 0.5
    """Target that is taken from every pair; the paper's a."""


@dataclass(frozen=True)
class BFPO:
    """(D - (b1 b3 s+ - b3 s- - a) / beta)^2, s 1 of a response that is accepted and 0 of another.

    Source: BFPO (Zhang et al. 2024, arXiv 2408.15313), with the constants of its repository.
    """

    beta: float
    chosen: float
    rejected: float
    offset: float
    needs = ACCEPTED

    def __call__(self, difference: torch.Tensor, side: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Losses [pairs]."""
        away: torch.Tensor = difference - self.target(side)
        return away**2

    def slopes(self, difference: np.ndarray, side: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Losses and their derivatives by D, [pairs] each."""
        away = difference - self.target(side)
        return away**2, 2 * away

    def target(self, side: Mapping[str, Any]) -> Any:
        """The D that each pair is driven to, [pairs]."""
        chosen, rejected = (side[name] for name in ACCEPTED)
        return (self.chosen * chosen - self.rejected * rejected - self.offset) / self.beta

    @staticmethod
    def turned(side: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of the pair with its responses exchanged."""
        return {name: side[other] for name, other in zip(ACCEPTED, reversed(ACCEPTED), strict=True)}


def rewards_and_policy(recipe: Recipe) -> None:
    """A reward for each group, one of them on all pairs, and a policy fitted to these."""
    recipe.known_groups()
    asked = 2 * (recipe.sizes.train + recipe.sizes.validation)
    recipe.score("accepted responses", asked, held=1 + recipe.rewards, vocabulary=False)
    recipe.pairwise("policy by pairs", held=1 + recipe.rewards)


@pb.aligner("bfpo", needs={"group"}, work=rewards_and_policy)
def bfpo(view: pb.View, backbone: pb.Backbone, options: BFPOOptions) -> pb.Aligned:
    """IPO that goes farther where the smallest group accepts what was chosen alone, and against other labels.

    The side label of the paper is a safety classifier's. Here a group accepts a response unless the reward
    learned from its labels says that it would rather have the other one: such a reward is known up to a
    constant for each prompt, so that no threshold of it means the same to all prompts.
    """
    group = group_among(view, options.group, smallest=True)
    rewards = fit_known_groups(view, backbone, options)
    place = rewards.names.index(group)

    def told(split: str) -> pb.Pairs:
        pairs = pairs_of(view.preferences[split])
        chosen, rejected = scores_of(rewards.models[place], pairs)
        prefers = np.exp(log_likelihood(np.stack([rejected - chosen, chosen - rejected])))
        accepted = (prefers <= options.tolerated).astype(np.float64)
        return replace(pairs, side=dict(zip(ACCEPTED, accepted, strict=True)))

    beta = options.beta or backbone.ipo_beta
    loss = BFPO(beta, options.chosen_weight, options.rejected_weight, options.offset)
    train, held_out = told("train"), told("validation")
    policy = backbone.fit_pairwise(train, loss, options, seed=view.seed, held_out=held_out)
    return pb.Aligned(policy, rewards)
