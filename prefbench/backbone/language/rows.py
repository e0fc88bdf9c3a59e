"""Any decoder over the tokens that there are: no padding, no prompt read twice.

Transformers pads a batch to a rectangle. Here a model reads one row of all tokens: the prompts, each once
however many responses it has, and then the responses. Its modules are transformers' own; only attention,
through the interface that transformers has for kernels, sees the tokens laid out as the rectangle, and hands
them back in one row. Whatever is not read so (`applies`) is read padded.
"""

from __future__ import annotations

import weakref
from inspect import Parameter
from typing import Any

import torch
from torch.nn import functional

from prefbench.backbone.language.passes import inner_of, parameters_of
from prefbench.backbone.language.tokens import Batch, Packed, collate

NAME = "prefbench_rows"
"""The attention's name in transformers' table of them."""
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Share of a state's size by which the two ways may differ, by type; rounding is far below it."""
COARSE = 0.02
"""The same for types of 16 bits."""
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}
_UNKNOWN = ("softcap", "s_aux", "position_bias", "cache")
"""Wishes that attention may be called with and that are not computed here."""

_refused: weakref.WeakSet[Any] = weakref.WeakSet()


class Rows:
    """Tokens in one row, as attention needs to know of them."""

    def __init__(self, packed: Packed) -> None:
        self.packed = packed

    def lay_out(self, values: torch.Tensor) -> torch.Tensor:
        """[1, heads, n, size] as the rectangle, [rows, heads, length, size]."""
        rows, length = self.packed.rectangle.shape
        laid = values[0].index_select(1, self.packed.rectangle.flatten())
        return laid.view(len(laid), rows, length, -1).transpose(0, 1)

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        window: int | None,
        scale: float | None,
        dropout: float,
    ) -> torch.Tensor:
        """Values of the tokens that each token attends to in its row, mixed, [1, n, heads, size].

        `window`: number of tokens that one sees, itself and those just before it; None for all before it.
        """
        length = self.packed.rectangle.shape[1]
        mask = None
        if window is not None and window < length:
            far = torch.ones((length, length), dtype=torch.bool, device=query.device)
            mask = far.tril() & far.triu(1 - window)
        # Filler stands after a row's tokens, where no token of the row looks.
        mixed = functional.scaled_dot_product_attention(
            self.lay_out(query),
            self.lay_out(key),
            self.lay_out(value),
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=mask is None,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        flat = mixed.transpose(1, 2).flatten(0, 1)
        return flat.index_select(0, self.packed.seen_at)[None]


class _TrialRows(Rows):
    """Rows that keep what window each layer asked for."""

    def __init__(self, packed: Packed) -> None:
        super().__init__(packed)
        self.windows: list[int | None] = []

    def attend(self, query: Any, key: Any, value: Any, window: int | None, *more: Any) -> torch.Tensor:
        self.windows.append(window)
        return super().attend(query, key, value, window, *more)


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    rows: Rows | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it; without `rows` it is transformers' own.

    Raises:
        NotImplementedError: it is asked for something that is not computed here.
    """
    if rows is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **more
        )
        return found
    for name in _UNKNOWN:
        if more.get(name) is not None:
            raise NotImplementedError(name)
    given = (more.get("sliding_window"), more.get("scaling"), more.get("dropout", 0.0))
    return rows.attend(query, key, value, *given), None


def inputs_of(packed: Packed, rows: Rows | None = None) -> dict[str, Any]:
    """Arguments of a model's call. The mask only tells transformers to make none: it has four dimensions."""
    return {
        "input_ids": packed.ids[None],
        "position_ids": packed.positions[None],
        "attention_mask": torch.zeros((1, 1, 1, 1), device=packed.ids.device),
        "use_cache": False,
        "rows": Rows(packed) if rows is None else rows,
    }


def applies(model: Any) -> bool:
    """True if a causal language model, or its transformer without the output layer, can be run by this file.

    A new one is tried out on a few tokens, against transformers' padded pass.
    """
    trunk = getattr(inner_of(model), "base_model", None)
    if trunk is None:  # none of transformers' models
        return False
    if trunk.config._attn_implementation == NAME:
        return True
    if trunk in _refused:
        return False
    if _may(trunk) and _agrees(trunk):
        return True
    _refused.add(trunk)
    return False


def _may(trunk: Any) -> bool:
    """True if attention is all that mixes tokens, as far as transformers says so.

    Flash attention is told no more of a layer than is told here: a model that it can run needs nothing else.
    """
    config = trunk.config.get_text_config()
    named = parameters_of(trunk)
    takes = any(p.kind is Parameter.VAR_KEYWORD for p in named.values()) and "position_ids" in named
    kernels = trunk._supports_attention_backend and trunk._supports_flash_attn
    known = set(getattr(config, "layer_types", None) or ()) <= _KNOWN_LAYERS
    return bool(takes and kernels and known and config._attn_implementation == "sdpa")


@torch.no_grad()
def _agrees(trunk: Any) -> bool:
    """Try it out on a few tokens; the model keeps this attention where the two ways say the same."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    batch = _trial_batch(trunk)
    real = batch.inputs["attention_mask"].bool()
    padded = trunk(**batch.inputs, use_cache=False).last_hidden_state[real]
    trial = _TrialRows(batch.packed)
    trunk.set_attn_implementation(NAME)
    try:
        states = trunk(**inputs_of(batch.packed, trial)).last_hidden_state[0]
        error = (states[batch.packed.rectangle[real]] - padded).abs().mean() / padded.abs().mean()
    except (TypeError, ValueError, NotImplementedError):
        error = padded.new_tensor(torch.inf)
    if error <= TOLERANCE.get(padded.dtype, COARSE) and trial.windows == _windows(trunk, trial):
        return True
    trunk.set_attn_implementation("sdpa")
    return False


def _trial_batch(trunk: Any) -> Batch:
    """Rows that share a prompt, and one that does not."""
    vocabulary = trunk.get_input_embeddings().num_embeddings
    ids = [(7 * i + 3) % vocabulary for i in range(16)]
    prompts, responses = [ids[:5], ids[:5], ids[5:7]], [ids[7:10], ids[10:11], ids[11:]]
    return collate(prompts, responses, next(trunk.parameters()).device)


def _windows(trunk: Any, trial: _TrialRows) -> list[int | None]:
    """The window of each layer by the model's settings: tokens of the trial are too few to show it."""
    config = trunk.config.get_text_config()
    size = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        size = None
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [size] * len(trial.windows)
    return [size if kind == "sliding_attention" else None for kind in kinds]
