"""BAPO: DPO that keeps what the reference would say likely (Lee et al. 2024, arXiv 2407.00693)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of
from prefbench.search import LogUniform
from prefbench.work import policy_by_pairs

if TYPE_CHECKING:
    import torch

ROUNDED = 0.01
"""Stretch of beta h below nought on which the penalty's corner is rounded, so that it has a slope."""


class BAPOOptions(PairwiseOptions):
    """DPO with a penalty on what becomes less likely than it was."""

    search = {"anchor": LogUniform(0.01, 1.0)}

    anchor: float = Field(0.1, ge=0)
    """Weight of the penalty, in units of beta; 0 is DPO, and 1 all but keeps the reference."""


@dataclass(frozen=True)
class BAPO:
    """DPO's loss + anchor (max(0, -beta h+) + max(0, -beta h-)) / 2.

    In place of the reference's own answers stand both responses of the pair, which are draws of it where
    pairs are sampled.

    Source: BAPO (arXiv 2407.00693); the form of the penalty is from memory, and in units of beta.
    """

    dpo: DPO
    anchor: float
    ratios = True

    def __call__(self, ratios: torch.Tensor) -> torch.Tensor:
        """Losses [pairs] of the log-ratios of the chosen and the rejected response [2, pairs]."""
        lost = (-self.dpo.beta * ratios).clamp(min=0)
        rounded = lost.clamp(max=ROUNDED)
        penalty = lost - rounded + rounded**2 / (2 * ROUNDED)
        return self.dpo(ratios[0] - ratios[1]) + self.anchor * penalty.mean(0)

    def slopes(self, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses [pairs] and their derivatives by the log-ratios [2, pairs]."""
        losses, slope = self.dpo.slopes(ratios[0] - ratios[1])
        lost = np.maximum(-self.dpo.beta * ratios, 0)
        rounded = np.minimum(lost, ROUNDED)
        penalty = lost - rounded + rounded**2 / (2 * ROUNDED)
        pull = -self.dpo.beta * self.anchor / 2 * rounded / ROUNDED
        return losses + self.anchor * penalty.mean(axis=0), np.stack([slope, -slope]) + pull


@pb.aligner("bapo", work=policy_by_pairs)
def bapo(view: pb.View, backbone: pb.Backbone, options: BAPOOptions) -> pb.Policy:
    """DPO with a penalty on responses of the pairs that become less likely than the reference has them."""
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    loss = BAPO(DPO.of(options, backbone), options.anchor)
    return backbone.fit_pairwise(train, loss, options, seed=view.seed, held_out=held_out)
