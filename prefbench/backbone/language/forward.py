"""Passes through a model, whatever its architecture: what training and scoring need of one, and reading on.

GPT-2 goes through `gpt2.py`, which computes no padding; anything else as transformers runs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from prefbench.backbone.language import gpt2
from prefbench.backbone.language.adapters import Adapted
from prefbench.backbone.language.tokens import Batch, Ids, collate, pick, token_logprobs

_signatures: dict[type, frozenset[str]] = {}


def call(model: nn.Module, inputs: Mapping[str, torch.Tensor], **more: Any) -> Any:
    """Run a transformers model, leaving out position ids where its architecture has none (ALiBi)."""
    given = dict(inputs)
    if "position_ids" not in _parameters(model):
        given.pop("position_ids")
    return model(**given, **more)


def _parameters(model: Any) -> frozenset[str]:
    inner = model.inner if isinstance(model, Adapted) else model
    kind = type(inner)
    if kind not in _signatures:
        _signatures[kind] = frozenset(inspect.signature(inner.forward).parameters)
    return _signatures[kind]


def logprobs(model: Any, batch: Batch) -> torch.Tensor:
    """log pi of each response token, [rows, T], zero at padding, float32."""
    if gpt2.applies(model):
        return gpt2.logprobs(model, batch)
    return token_logprobs(call(model, batch.inputs, use_cache=False).logits, batch)


def logprobs_and_states(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """`logprobs`, and the last hidden states that predict the tokens, [rows, T, width], any at padding."""
    if gpt2.applies(model):
        return gpt2.logprobs_and_states(model, batch)
    output = call(model, batch.inputs, use_cache=False, output_hidden_states=True)
    return token_logprobs(output.logits, batch), pick(output.hidden_states[-1], batch.before)


def response_states(trunk: Any, batch: Batch) -> torch.Tensor:
    """Last hidden states at the response tokens, [rows, T, width], any at padding.

    `trunk` is a model without its output layer.
    """
    if gpt2.applies(trunk):
        return batch.spread(gpt2.states(trunk, batch.packed, batch.packed.response))
    return pick(call(trunk, batch.inputs, use_cache=False).last_hidden_state, batch.before + 1)


def last_states(trunk: Any, batch: Batch) -> torch.Tensor:
    """Last hidden state of each row's last token, [rows, width]."""
    if gpt2.applies(trunk):
        return gpt2.states(trunk, batch.packed, batch.packed.last)
    hidden = call(trunk, batch.inputs, use_cache=False).last_hidden_state
    return pick(hidden, batch.last[:, None])[:, 0]


class Reader:
    """Prompts that have been read, and responses that grow a token at a time, with transformers' cache."""

    def __init__(self, model: Any, prompts: Sequence[Ids], n: int, device: torch.device) -> None:
        """Read prompts; `n` responses to each share what was read."""
        batch = collate(prompts, [[]] * len(prompts), device, side="left")
        output = call(model, batch.inputs, use_cache=True)
        self.model = model
        self.logits = output.logits[:, -1]
        """[rows, vocabulary] of the next token."""
        self._cache = output.past_key_values
        self._attention = batch.inputs["attention_mask"]
        self._position = batch.inputs["position_ids"][:, -1:]
        if n > 1:
            self._cache.batch_repeat_interleave(n)
            self.logits, self._attention, self._position = (
                t.repeat_interleave(n, 0) for t in (self.logits, self._attention, self._position)
            )

    def read(self, token: torch.Tensor) -> None:
        """Go on with one more token of every response, [rows]."""
        self._attention = torch.cat([self._attention, self._attention.new_ones((len(token), 1))], 1)
        self._position = self._position + 1
        inputs = {
            "input_ids": token[:, None],
            "attention_mask": self._attention,
            "position_ids": self._position,
        }
        output = call(self.model, inputs, past_key_values=self._cache, use_cache=True)
        self.logits, self._cache = output.logits[:, -1], output.past_key_values

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone."""
        self._attention, self._position = self._attention[rows], self._position[rows]
        self._cache.batch_select_indices(rows)


def reader(
    model: Any, prompts: Sequence[Ids], n: int, tokens: int, device: torch.device
) -> Reader | gpt2.GPT2Reader:
    """Read prompts, for `n` responses of at most `tokens` tokens to each."""
    if gpt2.applies(model):
        return gpt2.GPT2Reader(model, prompts, n, tokens, device)
    return Reader(model, prompts, n, device)
