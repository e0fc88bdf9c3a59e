"""Sizes of decoders: those of presets whose weights lie elsewhere, and those that a config.json states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Counted:
    """Sums over the modules of a model that was built, in place of formulas."""

    parameters: int
    """Weights, tied ones once."""
    matrices: int
    """Weights of every linear map but the output layer."""
    ends: int
    """Inputs and outputs of those maps together: the weights of adapters of rank 1."""
    experts: int
    """Weights of experts that a token goes through."""
    normed: int
    """Numbers that a layer's norms read for each token."""


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
    counted: Counted | None = field(default=None, compare=False)
    """Sums over a model that was built; None leaves everything to formulas."""

    @property
    def parameters(self) -> int:
        """Exact number of weights, tied ones counted once."""
        return self.formula if self.counted is None else self.counted.parameters

    @property
    def formula(self) -> int:
        """The same of a GPT-2, Llama, Mistral or Qwen2 by its sizes."""
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


MOST_LAYERS = 1024
"""A settings file that asks for more is damaged, or meant to keep its reader busy."""


def shape_of_config(config: Mapping[str, Any]) -> Shape | None:
    """The shape of the decoder that a config.json describes, built without memory for weights and counted.

    None where transformers builds no decoder of it, or one without attention.
    """
    try:
        model = _built(config)
        return None if model is None else _shape_of(model)
    except Exception:  # a damaged file may break its reader anywhere: loading the model says what is wrong
        return None


def _built(config: Mapping[str, Any]) -> Any:
    """The model on torch's `meta` device."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    if config.get("model_type") not in CONFIG_MAPPING:
        return None
    kind = CONFIG_MAPPING[config["model_type"]]
    made = kind.from_dict(dict(config))
    if not hasattr(kind().get_text_config(), "num_attention_heads"):
        return None
    if _size(made.get_text_config().num_hidden_layers) > MOST_LAYERS:
        return None
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(made, trust_remote_code=False)


def _shape_of(model: Any) -> Shape:
    text, output = model.config.get_text_config(), model.get_output_embeddings()
    maps = _maps(model)
    hidden, heads = _size(text.hidden_size), _size(text.num_attention_heads)
    kv_heads, width = getattr(text, "num_key_value_heads", None), getattr(text, "head_dim", None)
    layers = _size(text.num_hidden_layers)
    named = (getattr(text, name, None) for name in ("intermediate_size", "n_inner", "ffn_dim"))
    # Of a block's maps the last of its MLP reads the widest state.
    inner = next((_size(size) for size in named if size), max(wide for wide, _, _ in maps.values()))
    down = [biased for wide, _, biased in maps.values() if wide == inner]
    shape = Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=heads if kv_heads is None else _size(kv_heads),
        intermediate=inner,
        vocabulary=_size(text.vocab_size),
        positions=_size(text.max_position_embeddings),
        tied=output.weight is model.get_input_embeddings().weight,
        gated=any("gate" in path.rpartition(".")[2] for path in maps),
        biases=any(down),
        qkv_biases=not any(down) and any(biased for _, _, biased in maps.values()),
        head_width=None if width in (None, hidden / heads) else _size(width),
    )
    experts = _in_experts(model)
    share = getattr(text, "num_experts_per_tok", 1) / max(1, _experts(text)) if experts else 0.0
    counted = Counted(
        parameters=sum(weight.numel() for weight in model.parameters()),
        matrices=sum(wide * tall for wide, tall, _ in maps.values()),
        ends=sum(wide + tall for wide, tall, _ in maps.values()),
        experts=round(share * experts),
        normed=_normed(model, shape) // layers,
    )
    return replace(shape, counted=counted)


def _maps(model: Any) -> dict[str, tuple[int, int, bool]]:
    """Inputs and outputs of every linear map but the output layer, and whether it has a bias, by path."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    output, found = model.get_output_embeddings(), {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and module is not output:
            tall, wide = module.weight.shape if isinstance(module, nn.Linear) else module.weight.T.shape
            found[path] = wide, tall, module.bias is not None
    return found


def _in_experts(model: Any) -> int:
    """Weights of experts, which transformers keeps in one tensor of three dimensions for each map."""
    return sum(weight.numel() for weight in model.parameters() if weight.dim() == 3)


def _experts(text: Any) -> int:
    """The number of experts of a layer, under one of the names that settings have for it."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    return next((_size(getattr(text, name)) for name in names if getattr(text, name, None)), 1)


def _normed(model: Any, shape: Shape) -> int:
    """Numbers that the norms of all layers read for each token; those of queries and keys read every head."""
    total = 0
    for path, module in model.named_modules():
        if type(module).__name__.endswith("Norm") and ".layers." in path:
            name, size = path.rpartition(".")[2], module.weight.numel()
            head = shape.head_width or shape.hidden // shape.heads
            times = {"q": shape.heads, "k": shape.kv_heads}.get(name[0], 1) if size == head else 1
            total += size * times
    return total


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is no size.")
    return value
