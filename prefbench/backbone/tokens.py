"""Text to tokens and tokens to tensors, the same way everywhere.

Every number of a response, sampled or trained on, comes from the same mask and position ids: padding never has
a position, is never attended to and is never scored, whatever token it is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

Ids = list[int]


@dataclass(frozen=True)
class Codec:
    """Text to tokens and back, the same way everywhere."""

    tokenizer: Any
    stops: frozenset[int]
    """Tokens that end a response."""
    response_tokens: int
    context: int
    """Longest sequence the model takes."""

    def prompts(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of prompts, the last ones that leave room for a response; never empty."""
        room = self.context - self.response_tokens
        filler = self.tokenizer.bos_token_id
        if filler is None:
            filler = next(iter(self.stops), 0)
        result: list[Ids] = []
        for ids in self.tokenizer(list(texts))["input_ids"]:
            # Some tokenizers end every text; a prompt is meant to go on.
            body = ids[:-1] if ids and ids[-1] in self.stops and len(ids) > 1 else ids
            result.append(body[-room:] or [filler])
        return result

    def responses(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of responses, with the end token where the length limit did not cut them off."""
        end = [self.tokenizer.eos_token_id] if self.tokenizer.eos_token_id is not None else []
        encoded = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [(ids + end)[: self.response_tokens] for ids in encoded]

    def decode(self, responses: Sequence[Ids]) -> list[str]:
        """Text of sampled responses, without the end token."""
        bodies = [ids[:-1] if ids and ids[-1] in self.stops else ids for ids in responses]
        decoded: list[str] = self.tokenizer.batch_decode(
            bodies, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded


@dataclass
class Batch:
    """Token tensors of prompts with their responses."""

    inputs: dict[str, torch.Tensor]
    """`input_ids`, `attention_mask`, `position_ids`, each [rows, length]."""
    before: torch.Tensor
    """[rows, T] column of the token before each response token: where it is predicted from."""
    response: torch.Tensor
    """[rows, T] response tokens, zero where `mask` is false."""
    mask: torch.Tensor
    """[rows, T] which of them are real."""
    last: torch.Tensor
    """[rows] column of the last real token."""


def collate(
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    device: torch.device,
    *,
    filler: int = 0,
    side: Literal["left", "right"] = "right",
) -> Batch:
    """Pad rows to one length. The filler and the side change nothing that is computed from the batch."""
    lengths = [len(p) + len(r) for p, r in zip(prompts, responses, strict=True)]
    width = max(lengths)
    tall = max(1, max(len(r) for r in responses))
    rows = len(prompts)
    ids = np.full((rows, width), filler, dtype=np.int64)
    attention = np.zeros((rows, width), dtype=np.int64)
    before = np.zeros((rows, tall), dtype=np.int64)
    response = np.zeros((rows, tall), dtype=np.int64)
    mask = np.zeros((rows, tall), dtype=bool)
    last = np.zeros(rows, dtype=np.int64)
    for i, (p, r) in enumerate(zip(prompts, responses, strict=True)):
        offset = width - lengths[i] if side == "left" else 0
        ids[i, offset : offset + lengths[i]] = p + r
        attention[i, offset : offset + lengths[i]] = 1
        before[i, : len(r)] = offset + len(p) - 1 + np.arange(len(r))
        response[i, : len(r)] = r
        mask[i, : len(r)] = True
        last[i] = offset + lengths[i] - 1
    position = np.maximum(attention.cumsum(axis=1) - 1, 0)

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(device)

    inputs = {
        "input_ids": tensor(ids),
        "attention_mask": tensor(attention),
        "position_ids": tensor(position),
    }
    return Batch(inputs, tensor(before), tensor(response), tensor(mask), tensor(last))


def pick(values: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """`values[i, columns[i, t]]` for values [rows, length, ...] and columns [rows, T]."""
    return values[torch.arange(len(values), device=values.device)[:, None], columns]


def token_logprobs(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """log pi of each response token, [rows, T], zero at padding. Computed in float32."""
    chosen = pick(logits, batch.before).float().log_softmax(-1)
    logprobs = chosen.gather(-1, batch.response[..., None])[..., 0]
    return logprobs * batch.mask
