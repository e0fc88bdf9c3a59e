"""A language model with a scalar head."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from prefbench.backbone.language.forward import last_states, response_states
from prefbench.backbone.language.tokens import Batch

Pooling = Literal["last", "sum"]
Head = Literal["random", "fitted"]


class RewardModel(nn.Module):
    """The reference's transformer, a copy or adapted, with a scalar head.

    With `last` pooling the head reads the last token's state, as is usual for large models. With `sum` it
    values every response token and the reward is their sum, as DPO's implicit reward is: a small
    model learns what accumulates far sooner that way.
    """

    def __init__(self, trunk: nn.Module, width: int, pooling: Pooling) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = pooling
        self.head = nn.Linear(width, 1)
        nn.init.normal_(self.head.weight, std=1 / (width + 1) ** 0.5)
        nn.init.zeros_(self.head.bias)

    def inputs(self, batch: Batch) -> torch.Tensor:
        """Numbers that a response's reward is linear in, float32 [rows, width + 1].

        These are its state, or the sum of its tokens' states, and how often the head's bias counts.
        """
        if self.pooling == "last":
            states = last_states(self.trunk, batch).float()
            return torch.cat([states, torch.ones_like(states[:, :1])], 1)
        total = (response_states(self.trunk, batch).float() * batch.mask[..., None]).sum(1)
        return torch.cat([total, batch.mask.sum(1, keepdim=True)], 1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Rewards of a batch, [rows], float32."""
        if self.pooling == "last":
            score: torch.Tensor = self.head(last_states(self.trunk, batch).float())[:, 0]
            return score
        each: torch.Tensor = self.head(response_states(self.trunk, batch).float())[..., 0]
        return (each * batch.mask).sum(1)
