"""One pass of a transformers model, with logits only where they are wanted.

The states are picked on their way into the output layer, so whatever a model does to its logits afterwards
(a scale, a soft cap) is done to those as well, and its vocabulary is never multiplied with the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from prefbench.backbone.language.adapters import Adapted

Wanted = Callable[[torch.Tensor], torch.Tensor]
"""Last hidden states [rows, length, width] to those whose logits are wanted."""

_signatures: dict[type, Mapping[str, inspect.Parameter]] = {}


def inner_of(model: Any) -> Any:
    """The transformers model itself, under an adapter or not."""
    return model.inner if isinstance(model, Adapted) else model


def parameters_of(model: Any) -> Mapping[str, inspect.Parameter]:
    """Parameters of a model's forward pass, by name."""
    kind = type(inner_of(model))
    if kind not in _signatures:
        _signatures[kind] = inspect.signature(kind.forward).parameters
    return _signatures[kind]


def call(model: nn.Module, inputs: Mapping[str, Any], **more: Any) -> Any:
    """Run a transformers model, leaving out position ids where its architecture has none (ALiBi)."""
    given = dict(inputs)
    if "position_ids" not in parameters_of(model):
        given.pop("position_ids")
    return model(**given, **more)


def run(model: Any, inputs: Mapping[str, Any], wanted: Wanted, **more: Any) -> tuple[Any, torch.Tensor]:
    """A causal language model's output, with the wanted logits alone, and the states under them."""
    seen: list[torch.Tensor] = []

    def choose(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        seen.append(wanted(given[0]))
        return (seen[0], *given[1:])

    hook = inner_of(model).get_output_embeddings().register_forward_pre_hook(choose)
    try:
        output = call(model, inputs, **more)
    finally:
        hook.remove()
    return output, seen[0]
