"""Arithmetic to the last digits: another processor differs by far less than the smallest change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch

from prefbench.backbone.language import adapters
from support.tiny import tiny_model

CLOSE = 1e-2
"""What a solver's answer may be from the exact one, which replaces it."""


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Run language models in float64, and with them every place that asks for float32 by name."""
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    before = torch.get_default_dtype()
    begun = adapters.Adapter.__init__

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        begun(self, *args, **kwargs)
        self.double()

    def norm(self: Any, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt((x**2).mean(-1, keepdim=True) + self.variance_epsilon)

    torch.set_default_dtype(torch.float64)
    try:
        with (
            mock.patch.object(torch.Tensor, "float", torch.Tensor.double),
            mock.patch.object(adapters.Adapter, "__init__", begin),
            mock.patch.object(LlamaRMSNorm, "forward", norm),
        ):
            yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def solved() -> Iterator[None]:
    """Let smooth fits go on to the last digits: a solver's stopping point depends on the processor."""
    from scipy import optimize

    begun = optimize.minimize

    def minimize(objective: Any, start: Any, *args: Any, **kwargs: Any) -> Any:
        found = begun(objective, start, *args, **kwargs)
        if kwargs.get("jac") is True:
            nearer = optimize.root(lambda x: objective(x)[1], found.x, tol=1e-15).x
            # Only the last digits: where the solver went astray the figure must show it.
            if np.allclose(nearer, found.x, rtol=CLOSE, atol=CLOSE):
                found.x = nearer
        return found

    with mock.patch.object(optimize, "minimize", minimize):
        yield


def small_model(architecture: str, vocabulary: int, context: int) -> Any:
    """A random model whose weights are float64 to the last digit."""
    model = tiny_model(architecture, vocabulary, context, seed=0).double()
    if architecture == "llama":
        rotary = model.model.rotary_emb
        power = torch.arange(len(rotary.inv_freq)) / len(rotary.inv_freq)
        rotary.inv_freq = 10000.0**-power  # was rounded to float32
    return model
