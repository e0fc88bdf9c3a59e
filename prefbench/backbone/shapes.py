"""Sizes of decoders: those of presets whose weights lie elsewhere, and those that a config.json states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, from which its parameters and its memory follow without its weights."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    positions: int
    """Longest sequence it was trained for."""
    tied: bool
    """The output layer is the embedding."""
    gated: bool
    """Three matrices in a block's MLP (SwiGLU), else two."""
    biases: bool
    """GPT-2's way: every map and every norm has a bias, and positions have weights."""
    qkv_biases: bool = False
    """Qwen2's way: biases for queries, keys and values only."""
    head_width: int | None = None
    """Width of a head where it is not hidden / heads."""

    @property
    def parameters(self) -> int:
        """Exact number of weights, tied ones counted once."""
        width = self.head_width or self.hidden // self.heads
        queries, keys = self.heads * width, self.kv_heads * width
        matrices = 3 if self.gated else 2
        block = 2 * self.hidden * (queries + keys) + matrices * self.hidden * self.intermediate
        norm = 2 * self.hidden if self.biases else self.hidden
        if self.biases or self.qkv_biases:
            block += queries + 2 * keys
        if self.biases:
            block += self.hidden + (matrices - 1) * self.intermediate + self.hidden
        embedding = self.vocabulary * self.hidden
        outside = embedding if self.tied else 2 * embedding
        if self.biases:
            outside += self.positions * self.hidden
        return outside + norm + self.layers * (block + 2 * norm)


SHAPES: Mapping[str, Shape] = {
    "gpt2": Shape(12, 768, 12, 12, 3072, 50257, 1024, tied=True, gated=False, biases=True),
    "tulu2-7b": Shape(32, 4096, 32, 32, 11008, 32000, 8192, tied=False, gated=True, biases=False),
}
"""Shapes of the presets whose weights lie elsewhere."""


def shape_of_config(config: Mapping[str, Any]) -> Shape | None:
    """The shape that a model's config.json states; None for another family, or where a size is missing.

    Known are GPT-2, Llama, Mistral and Qwen2, each as transformers builds it.
    """
    family = config.get("model_type")
    try:
        if family == "gpt2":
            return _gpt2_shape(config)
        if family in ("llama", "mistral", "qwen2"):
            return _llama_shape(config)
    except (KeyError, TypeError, ValueError):
        pass  # a damaged file: loading the model says what is wrong with it
    return None


def _gpt2_shape(config: Mapping[str, Any]) -> Shape | None:
    if config.get("add_cross_attention"):
        return None
    hidden, heads = _size(config["n_embd"]), _size(config["n_head"])
    inner = config.get("n_inner")
    return Shape(
        layers=_size(config["n_layer"]),
        hidden=hidden,
        heads=heads,
        kv_heads=heads,
        intermediate=4 * hidden if inner is None else _size(inner),
        vocabulary=_size(config["vocab_size"]),
        positions=_size(config["n_positions"]),
        tied=bool(config.get("tie_word_embeddings", True)),
        gated=False,
        biases=True,
    )


def _llama_shape(config: Mapping[str, Any]) -> Shape | None:
    if config.get("attention_bias") or config.get("mlp_bias"):
        return None
    heads, kv_heads, width = (
        config["num_attention_heads"],
        config.get("num_key_value_heads"),
        config.get("head_dim"),
    )
    return Shape(
        layers=_size(config["num_hidden_layers"]),
        hidden=_size(config["hidden_size"]),
        heads=_size(heads),
        kv_heads=_size(heads if kv_heads is None else kv_heads),
        intermediate=_size(config["intermediate_size"]),
        vocabulary=_size(config["vocab_size"]),
        positions=_size(config["max_position_embeddings"]),
        tied=bool(config.get("tie_word_embeddings", False)),
        gated=True,
        biases=False,
        qkv_biases=config["model_type"] == "qwen2",
        head_width=None if width is None else _size(width),
    )


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is no size.")
    return value
