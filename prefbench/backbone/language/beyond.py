"""Tokens beyond a model's vocabulary: they have embeddings of their own, and any pass reads them as words.

Their numbers go on where the vocabulary ends. Hooks on the embedding layer put their rows in, so that nothing
else of a model knows of them: its output layer cannot say them.
"""

from __future__ import annotations

from typing import Any

import torch


class Beyond:
    """Embeddings of the tokens beyond a vocabulary."""

    def __init__(self, layer: Any) -> None:
        self.vocabulary = int(layer.num_embeddings)
        """Number of the first such token."""
        self.rows: torch.Tensor = layer.weight.new_zeros((0, layer.embedding_dim), dtype=torch.float32)
        """[n, width] of each in turn; gradients flow to what they were computed from."""
        self._over: torch.Tensor | None = None

    def before(self, layer: object, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The embedding layer's inputs, with some word in the place of each such token."""
        over = inputs[0] - self.vocabulary
        self._over = over if bool((over >= 0).any()) else None
        return None if self._over is None else (inputs[0].clamp(max=self.vocabulary - 1), *inputs[1:])

    def after(self, layer: object, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
        """The layer's output, with the rows in their places; None leaves it as it is."""
        if self._over is None:
            return None
        own = self.rows[self._over.clamp(min=0)].to(output.dtype)
        return torch.where((self._over >= 0)[..., None], own, output)

    def attach(self, layer: Any) -> None:
        """Have a layer embed these tokens from now on."""
        layer.register_forward_pre_hook(self.before)
        layer.register_forward_hook(self.after)
