"""A product of language models as one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class LogLinear(nn.Module):
    """Several language models as one: pi(token) ~ prod_k pi_k(token) ** w_k at each step.

    The product over whole responses has no tractable normaliser; this one is normalised token by token, as
    decoding-time mixtures are.
    """

    def __init__(self, parts: Sequence[Any], powers: Sequence[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.powers = tuple(float(power) for power in powers)

    def mix(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits of the product, [..., vocabulary], from each model's."""
        pairs = zip(self.powers, logits, strict=True)
        return torch.stack([power * each.float().log_softmax(-1) for power, each in pairs]).sum(0)
