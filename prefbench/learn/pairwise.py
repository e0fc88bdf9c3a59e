"""Losses of direct preference optimisation: a policy is fitted to pairs through its implicit reward.

With h(y) = log pi(y|x) / pi_ref(y|x), the implicit reward is beta h and a loss is a function of the
difference D = h(y+) - h(y-). Log-probabilities are sums over response tokens.

A loss is any function of torch differences (`learn.interface.PairwiseLoss`). With a method `slopes` as well,
worlds that can be enumerated are fitted without torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from prefbench.learn.interface import Backbone
    from prefbench.learn.options import PairTrainingOptions, PairwiseOptions


@dataclass(frozen=True)
class DPO:
    """-(1 - e) log sigmoid(beta D) - e log sigmoid(-beta D).

    Source: DPO (Rafailov et al. 2023, eq. 7); with label smoothing e > 0 conservative DPO.
    """

    beta: float
    label_smoothing: float = 0.0

    @classmethod
    def of(cls, options: PairwiseOptions, backbone: Backbone) -> DPO:
        """The loss that an aligner's options ask for, with the backbone's own beta where they name none."""
        return cls(options.beta or backbone.dpo_beta, options.label_smoothing)

    def __call__(self, difference: torch.Tensor) -> torch.Tensor:
        """Losses [pairs]."""
        from torch.nn import functional

        margin = self.beta * difference
        kept = -functional.logsigmoid(margin) * (1 - self.label_smoothing)
        return kept - functional.logsigmoid(-margin) * self.label_smoothing

    def slopes(self, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and their derivatives by D, [pairs] each."""
        margin, e = self.beta * difference, self.label_smoothing
        losses = (1 - e) * np.logaddexp(0, -margin) + e * np.logaddexp(0, margin)
        return losses, self.beta * (np.exp(-np.logaddexp(0, -margin)) - (1 - e))


@dataclass(frozen=True)
class IPO:
    """(D - 1 / (2 beta))^2: a margin to be met, not outgrown.

    Source: IPO (Azar et al. 2023, arXiv 2310.12036, eq. 17).
    """

    beta: float

    @classmethod
    def of(cls, options: PairTrainingOptions, backbone: Backbone) -> IPO:
        """The loss that an aligner's options ask for, with the backbone's own beta where they name none."""
        return cls(options.beta or backbone.ipo_beta)

    def __call__(self, difference: torch.Tensor) -> torch.Tensor:
        """Losses [pairs]."""
        return (difference - 1 / (2 * self.beta)) ** 2

    def slopes(self, difference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Losses and their derivatives by D, [pairs] each."""
        away = difference - 1 / (2 * self.beta)
        return away**2, 2 * away
