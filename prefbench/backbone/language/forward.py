"""Passes through a model, whatever its architecture: what training and scoring need of one, and reading on.

GPT-2 goes through `gpt2.py` and most others through `rows.py`, which compute no padding; what neither can
run goes through transformers' padded pass. Logits are computed where a token is predicted and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from prefbench.backbone.language import gpt2, rows
from prefbench.backbone.language.log_linear import LogLinear
from prefbench.backbone.language.passes import Wanted, call, run
from prefbench.backbone.language.tokens import Batch, Ids, Place, collate, version


def logprobs(model: Any, batch: Batch) -> torch.Tensor:
    """log pi of each response token, [rows, T], zero at padding, computed in float32."""
    return _of_tokens(predictions(model, batch)[0], batch)


def logprobs_and_states(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """`logprobs`, and the last hidden states that predict the tokens, [rows, T, width], zero at padding."""
    logits, states = predictions(model, batch)
    return _of_tokens(logits, batch), batch.spread(states)


def _of_tokens(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    each = logits.float().log_softmax(-1)
    return batch.spread(each.gather(1, batch.response[batch.mask][:, None])[:, 0])


def predictions(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that predict each response token, row after row, [m, vocabulary], and the states [m, width].

    Of a product of models the states are those of the last one.
    """
    if isinstance(model, LogLinear):
        parts = [predictions(part, batch.version(k)) for k, part in enumerate(model.parts)]
        return model.mix([logits for logits, _ in parts]), parts[-1][1]
    if gpt2.applies(model):
        before = gpt2.states(model.transformer, batch.packed, batch.packed.before)
        return model.lm_head(before), before
    inputs, wanted = _asked(model, batch, "before")
    output, states = run(model, inputs, wanted)
    return output.logits[0], states[0]


def response_states(trunk: Any, batch: Batch) -> torch.Tensor:
    """Last hidden states at the response tokens, [rows, T, width], zero at padding.

    `trunk` is a model without its output layer.
    """
    return batch.spread(_states(trunk, batch, "response"))


def last_states(trunk: Any, batch: Batch) -> torch.Tensor:
    """Last hidden state of each row's last token, [rows, width]."""
    return _states(trunk, batch, "last")


def _states(trunk: Any, batch: Batch, place: Place) -> torch.Tensor:
    if gpt2.applies(trunk):
        return gpt2.states(trunk, batch.packed, getattr(batch.packed, place))
    inputs, wanted = _asked(trunk, batch, place)
    return wanted(call(trunk, inputs).last_hidden_state)[0]


def _asked(model: Any, batch: Batch, place: Place) -> tuple[dict[str, Any], Wanted]:
    """A model's inputs, and what takes the states at a place, one after the other, from all of them."""
    if rows.applies(model):
        at = getattr(batch.packed, place)
        return rows.inputs_of(batch.packed), lambda hidden: hidden.index_select(1, at)
    row, column = batch.places(place)
    return {**batch.inputs, "use_cache": False}, lambda hidden: hidden[row, column][None]


class Reader:
    """Prompts that have been read, and responses that grow a token at a time, with transformers' cache."""

    def __init__(self, model: Any, prompts: Sequence[Ids], n: int, device: torch.device) -> None:
        """Read prompts; `n` responses to each share what was read."""
        batch = collate(prompts, [[]] * len(prompts), device, side="left")
        self.model = model
        self.logits: torch.Tensor
        self.logits, self._cache = _next(model, batch.inputs, None)
        """[rows, vocabulary] of the next token."""
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
        self.logits, self._cache = _next(self.model, inputs, self._cache)

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone."""
        self._attention, self._position = self._attention[rows], self._position[rows]
        self._cache.batch_select_indices(rows)


def _next(model: Any, inputs: dict[str, torch.Tensor], cache: Any) -> tuple[torch.Tensor, Any]:
    """Logits of the next token, [rows, vocabulary], and the cache that holds what was read."""
    # Contiguous: of a slice with gaps torch multiplies row by row, with a copy of the output layer for each.
    output, _ = run(
        model, inputs, lambda hidden: hidden[:, -1:].contiguous(), past_key_values=cache, use_cache=True
    )
    return output.logits[:, -1], output.past_key_values


class MixedReader:
    """The same of a product of models, each of which reads its own version of the prompts."""

    def __init__(self, model: LogLinear, prompts: Sequence[Ids], n: int, device: torch.device) -> None:
        """Read prompts; `n` responses to each share what was read."""
        self.model = model
        self.parts = [
            _part_reader(part, version(prompts, k), n, device) for k, part in enumerate(model.parts)
        ]
        self.logits: torch.Tensor = model.mix([part.logits for part in self.parts])
        """[rows, vocabulary] of the next token."""

    def read(self, token: torch.Tensor) -> None:
        """Go on with one more token of every response, [rows]."""
        for part in self.parts:
            part.read(token)
        self.logits = self.model.mix([part.logits for part in self.parts])

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone."""
        for part in self.parts:
            part.keep(rows)


def _part_reader(model: Any, prompts: Sequence[Ids], n: int, device: torch.device) -> Reader | MixedReader:
    kind = MixedReader if isinstance(model, LogLinear) else Reader
    return kind(model, prompts, n, device)


def reader(
    model: Any, prompts: Sequence[Ids], n: int, tokens: int, device: torch.device
) -> Reader | MixedReader | gpt2.GPT2Reader:
    """Read prompts, for `n` responses of at most `tokens` tokens to each."""
    if isinstance(model, LogLinear):
        return MixedReader(model, prompts, n, device)
    if gpt2.applies(model):
        return gpt2.GPT2Reader(model, prompts, n, tokens, device)
    return Reader(model, prompts, n, device)
