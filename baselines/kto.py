"""KTO: each response by itself good or bad, against the policy's divergence (Ethayarajh et al. 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import PairTrainingOptions
from prefbench.learn.rewards import pairs_of
from prefbench.search import Choice
from prefbench.work import LOOKS, Recipe

if TYPE_CHECKING:
    import torch


class KTOOptions(PairTrainingOptions):
    """The chosen response of each pair as a good one, the rejected as a bad one."""

    search = {"desirable_weight": Choice((0.75, 1.0, 1.33))}

    desirable_weight: float = Field(1.0, gt=0)
    """Weight of the loss of chosen responses."""
    undesirable_weight: float = Field(1.0, gt=0)
    """Weight of the loss of rejected responses."""


@dataclass(frozen=True)
class KTO:
    """(a (1 - sigmoid(beta (h+ - z))) + b (1 - sigmoid(beta (z - h-)))) / 2, z = KL(pi || pi_ref).

    No gradient goes through z. A pair is two single labels, so there are as many good ones as bad ones.

    Source: KTO (Ethayarajh et al. 2024, arXiv 2402.01306, eq. 7).
    """

    beta: float
    desirable: float
    undesirable: float
    ratios = True
    divergence = True

    def __call__(self, ratios: torch.Tensor, kl: torch.Tensor | float) -> torch.Tensor:
        """Losses [pairs] of the log-ratios of the chosen and the rejected response [2, pairs]."""
        ahead = self.beta * (ratios - kl)
        return (self.desirable * (-ahead[0]).sigmoid() + self.undesirable * ahead[1].sigmoid()) / 2

    def slopes(self, ratios: np.ndarray, kl: float) -> tuple[np.ndarray, np.ndarray]:
        """Losses [pairs] and their derivatives by the log-ratios [2, pairs]."""
        from scipy.special import expit

        weight = np.array([[self.desirable], [self.undesirable]]) / 2
        ahead = self.beta * (ratios - kl) * np.array([[-1.0], [1.0]])
        slope = weight * self.beta * expit(ahead) * expit(-ahead) * np.array([[-1.0], [1.0]])
        return (weight * expit(ahead)).sum(axis=0), slope


def policy_and_its_divergence(recipe: Recipe) -> None:
    """A policy fitted to the pairs; both models read each batch's responses to other prompts as well."""
    stage, options = "policy by pairs", recipe.options
    recipe.pairwise(stage)
    held = {"held": 2 if options["checkpoint"] == "best" else 1}
    recipe.score(stage, 2 * 2 * recipe.sizes.train * options["epochs"], **held)
    if options["checkpoint"] == "best":
        looks = 1 + LOOKS * options["epochs"] + 1
        recipe.score(stage, 2 * recipe.sizes.validation * looks, **held)


@pb.aligner("kto", work=policy_and_its_divergence)
def kto(view: pb.View, backbone: pb.Backbone, options: KTOOptions) -> pb.Policy:
    """A policy fitted to chosen responses as good ones and rejected ones as bad ones, each by itself."""
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    loss = KTO(options.beta or backbone.dpo_beta, options.desirable_weight, options.undesirable_weight)
    return backbone.fit_pairwise(train, loss, options, seed=view.seed, held_out=held_out)
