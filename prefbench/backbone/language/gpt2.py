"""GPT-2 over the tokens that there are: no padding, no prompt read twice, no state that nobody asks for.

Transformers pads a batch to a rectangle, and small models spend more time on filler and bookkeeping than on
tokens. Here everything but attention runs on one row of all tokens: the prompts, each once however many
responses it has, and then the responses. Attention sees them laid out as the rectangle. The last layer
goes on with the wanted positions alone. Weights and modules are transformers' own, so what is saved, copied
or trained is as before, and the tests hold every function here against transformers' forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from prefbench.backbone.language.tokens import Ids, Packed, pack
from prefbench.team import team


def applies(model: Any) -> bool:
    """True if a model, or its transformer without the output layer, can be run by this file."""
    from transformers import GPT2LMHeadModel, GPT2Model

    if type(model) not in (GPT2LMHeadModel, GPT2Model) or team().sharded:
        return False
    config = model.config
    silent = not model.training or config.resid_pdrop == config.embd_pdrop == config.attn_pdrop == 0
    plain = config.scale_attn_weights and not (
        config.scale_attn_by_inverse_layer_idx or config.reorder_and_upcast_attn or config.add_cross_attention
    )
    # Blocks that compute their activations again have a forward of their own.
    return silent and plain and not any("forward" in vars(block) for block in model.base_model.h)


def fuse_activations(model: nn.Module) -> nn.Module:
    """Put one kernel where transformers computes `gelu_new` in eight; the function is the same.

    The configuration keeps its name, so that a saved model is what it was.
    """
    from transformers.activations import NewGELUActivation

    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))
    return model


def states(trunk: Any, packed: Packed, wanted: torch.Tensor) -> torch.Tensor:
    """Last hidden states, after the last norm.

    Args:
        trunk: a `GPT2Model`.
        packed: the tokens.
        wanted: [n] places in `packed` whose states are returned.

    Returns:
        [n, width].
    """
    hidden = trunk.wte(packed.ids) + trunk.wpe(packed.positions)
    last = len(trunk.h) - 1
    for number, block in enumerate(trunk.h):
        mixed = _attend(block.attn.c_attn(block.ln_1(hidden)), block.attn.num_heads, packed)
        if number == last:
            mixed, hidden = mixed.index_select(0, packed.seen_at[wanted]), hidden.index_select(0, wanted)
        else:
            mixed = mixed.index_select(0, packed.seen_at)
        hidden = hidden + block.attn.c_proj(mixed)
        hidden = hidden + block.mlp(block.ln_2(hidden))
    normed: torch.Tensor = trunk.ln_f(hidden)
    return normed


def _attend(mapped: torch.Tensor, heads: int, packed: Packed) -> torch.Tensor:
    """Attention of each token of the rectangle to those before it, [rows * length, width].

    `mapped` are queries, keys and values, [n, 3 width].
    """
    width = mapped.shape[1] // 3
    laid_out = mapped.index_select(0, packed.rectangle.flatten())
    shape = (*packed.rectangle.shape, 3, heads, width // heads)
    query, key, value = laid_out.view(shape).permute(2, 0, 3, 1, 4)
    # Filler stands after a row's tokens, where no token of the row looks.
    mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    return mixed.transpose(1, 2).reshape(-1, width)


class GPT2Reader:
    """Prompts that have been read, and responses that grow by one token at a time."""

    def __init__(self, model: Any, prompts: Sequence[Ids], n: int, tokens: int, device: torch.device) -> None:
        """Read prompts.

        Args:
            model: a `GPT2LMHeadModel`.
            prompts: token ids.
            n: responses to each.
            tokens: that a response has at most.
            device: of the model.
        """
        self.model = model
        packed = pack(prompts, [[]] * len(prompts), device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.position = lengths.repeat_interleave(n)
        self.width = packed.rectangle.shape[1]
        room = self.width + tokens
        # Prompts end in the same column, so that all responses go on in the next one.
        column = torch.arange(self.width, device=device) - (self.width - lengths)[:, None]
        self._mask = torch.zeros((len(prompts), room), device=device, dtype=model.dtype)
        self._mask[:, : self.width].masked_fill_(column < 0, -torch.inf)
        turned = packed.rectangle.gather(1, column.clamp(min=0)).flatten()
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        trunk = model.transformer
        hidden = trunk.wte(packed.ids) + trunk.wpe(packed.positions)
        for block in trunk.h:
            heads = block.attn.num_heads
            mapped = block.attn.c_attn(block.ln_1(hidden))
            both = mapped[turned].view(len(prompts), self.width, 3, heads, -1)
            for cache, values in ((self._keys, both[:, :, 1]), (self._values, both[:, :, 2])):
                whole = values.new_zeros((len(prompts), heads, room, values.shape[-1]))
                whole[:, :, : self.width] = values.transpose(1, 2)
                cache.append(whole.repeat_interleave(n, 0))
            mixed = _attend(mapped, heads, packed).index_select(0, packed.seen_at)
            hidden = hidden + block.attn.c_proj(mixed)
            hidden = hidden + block.mlp(block.ln_2(hidden))
        self._mask = self._mask.repeat_interleave(n, 0)
        self.logits = model.lm_head(trunk.ln_f(hidden[packed.last])).repeat_interleave(n, 0)
        """[rows, vocabulary] of the next token."""

    def read(self, token: torch.Tensor) -> None:
        """Go on with one more token of every response, [rows]."""
        trunk = self.model.transformer
        hidden = trunk.wte(token) + trunk.wpe(self.position)
        mask = self._mask[:, None, None, : self.width + 1]
        for block, keys, values in zip(trunk.h, self._keys, self._values, strict=True):
            heads, size = keys.shape[1], keys.shape[3]
            query, key, value = block.attn.c_attn(block.ln_1(hidden)).view(-1, 3, heads, 1, size).unbind(1)
            keys[:, :, self.width] = key[:, :, 0]
            values[:, :, self.width] = value[:, :, 0]
            scores = query @ keys[:, :, : self.width + 1].transpose(2, 3) * size**-0.5 + mask
            mixed = (scores.softmax(-1) @ values[:, :, : self.width + 1]).flatten(1)
            hidden = hidden + block.attn.c_proj(mixed)
            hidden = hidden + block.mlp(block.ln_2(hidden))
        self.logits = self.model.lm_head(trunk.ln_f(hidden))
        self.width += 1
        self.position = self.position + 1

    def keep(self, rows: torch.Tensor) -> None:
        """Go on with these rows alone."""
        self.position, self._mask, self.logits = (x[rows] for x in (self.position, self._mask, self.logits))
        self._keys = [keys[rows] for keys in self._keys]
        self._values = [values[rows] for values in self._values]
