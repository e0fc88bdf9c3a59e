"""Networks that are made of language models: a scalar head on one, and a product of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import torch
from torch import nn

from prefbench.backbone.language.forward import call, last_states, response_states
from prefbench.backbone.language.tokens import Batch

Pooling = Literal["last", "sum"]


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

    def forward(self, batch: Batch) -> torch.Tensor:
        """Rewards of a batch, [rows], float32."""
        if self.pooling == "last":
            score: torch.Tensor = self.head(last_states(self.trunk, batch).float())[:, 0]
            return score
        each: torch.Tensor = self.head(response_states(self.trunk, batch).float())[..., 0]
        return (each * batch.mask).sum(1)


class LogLinear(nn.Module):
    """Several language models as one: pi(token) ~ prod_k pi_k(token) ** w_k at each step.

    The product over whole responses has no tractable normaliser; this one is normalised token by token, as
    decoding-time mixtures are.
    """

    def __init__(self, parts: Sequence[Any], powers: Sequence[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.powers = tuple(float(power) for power in powers)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        past_key_values: _Caches | None = None,
        use_cache: bool = False,
    ) -> Any:
        """Logits [rows, length, vocabulary] of the product, and every part's cache."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        pasts = [None] * len(self.parts) if past_key_values is None else past_key_values.parts
        outputs = [
            call(part, inputs, use_cache=use_cache, past_key_values=past)
            for part, past in zip(self.parts, pasts, strict=True)
        ]
        logits = torch.stack(
            [
                power * output.logits.float().log_softmax(-1)
                for power, output in zip(self.powers, outputs, strict=True)
            ]
        ).sum(0)
        caches = _Caches([output.past_key_values for output in outputs]) if use_cache else None
        return SimpleNamespace(logits=logits, past_key_values=caches)


@dataclass
class _Caches:
    """The caches of several models, cut and repeated together."""

    parts: list[Any]

    def batch_repeat_interleave(self, repeats: int) -> None:
        for part in self.parts:
            part.batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        for part in self.parts:
            part.batch_select_indices(indices)
