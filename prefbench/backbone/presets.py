"""Model presets: what `--model` names and what its options are. Light to import; `loading` does the work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from prefbench.learn.interface import Backbone
from prefbench.registry import Options, model

if TYPE_CHECKING:
    from prefbench.problem.problem import Problem
    from prefbench.store.stages import Store


@dataclass(frozen=True)
class ModelRequest:
    """What a preset is built from."""

    name: str
    problem: Problem
    store: Store
    seed: int


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


class ModelOptions(Options):
    """Options that every language model has."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where tensors live; auto takes a GPU when there is one."""
    threads: int = Field(0, ge=0)
    """CPU threads for torch; 0 chooses: 1 for nano, else what `prefbench doctor` found, or every core."""


class NanoOptions(ModelOptions):
    """A small GPT-2 of our own, trained from the task's corpus."""

    width: int = Field(64, ge=8)
    """Size of the hidden state."""
    layers: int = Field(2, ge=1)
    """Transformer blocks."""
    heads: int = Field(4, ge=1)
    """Attention heads; must divide the width."""
    vocabulary: int = Field(1024, ge=300)
    """Byte-level BPE tokens at most; a small corpus gives fewer."""
    context: int = Field(64, ge=8)
    """Longest sequence; a longer prompt keeps its end."""
    steps: int = Field(500, ge=1)
    """Gradient steps of language-model training."""
    batch: int = Field(64, ge=1)
    """Texts per gradient step."""
    learning_rate: float = Field(3e-3, gt=0)
    """Peak learning rate of language-model training."""
    policy_learning_rate: float = Field(1e-3, gt=0)
    """Default for aligners that train the policy."""
    reward_learning_rate: float = Field(2e-3, gt=0)
    """Default for reward models."""
    reward_pooling: Literal["last", "sum"] = "sum"
    """What a reward model's head reads: the last token, or every response token, summed."""


class PretrainedOptions(ModelOptions):
    """Any causal language model that transformers loads, by folder or hub id."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights."""
    quantise: Literal["none", "4bit"] = "none"
    """Keep the weights under the adapters in 4 bits (NF4); needs a GPU and the `quant` extra."""
    gguf_file: str | None = None
    """Name of the GGUF file inside the folder; none finds a single one by itself."""
    lora: bool = True
    """Train low-rank adapters instead of every weight."""
    lora_rank: int = Field(16, ge=1)
    """Rank of the adapters."""
    lora_alpha: int = Field(32, ge=1)
    """Scale of the adapters, divided by the rank."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""
    context: int = Field(512, ge=8)
    """Longest sequence; a longer prompt keeps its end."""
    chat_template: Literal["auto", "model", "none"] = "auto"
    """How prompts are put: as messages in the model's template, as plain text, or as the task says."""
    sft_steps: int = Field(0, ge=0)
    """Steps of language-model training on the task's corpus before alignment; 0 aligns the model as it is."""
    sft_batch: int = Field(8, ge=1)
    """Texts per step of that."""
    sft_learning_rate: float = Field(2e-4, gt=0)
    """Peak learning rate of that."""
    policy_learning_rate: float = Field(1e-4, gt=0)
    """Default for aligners that train the policy."""
    reward_learning_rate: float = Field(2e-4, gt=0)
    """Default for reward models."""
    reward_pooling: Literal["last", "sum"] = "last"
    """What a reward model's head reads: the last token, or every response token, summed."""


class PresetOptions(PretrainedOptions):
    """A published model whose weights come from the hub, or from a folder where there is no network."""

    path: str | None = None
    """Folder or hub id to take instead of the preset's own id."""


class GPT2Options(PresetOptions):
    """GPT-2 as in the paper's small experiment: every weight is trained.

    The paper gives no learning rates for it; these are usual for a full fine-tuning of this size.
    """

    lora: bool = False
    """Train low-rank adapters instead of every weight."""
    chat_template: Literal["auto", "model", "none"] = "none"
    """How prompts are put; GPT-2 has no template, so as plain text."""
    sft_learning_rate: float = Field(5e-5, gt=0)
    """Peak learning rate of fine-tuning on the corpus."""
    policy_learning_rate: float = Field(1.4e-5, gt=0)
    """Default for aligners that train the policy."""
    reward_learning_rate: float = Field(2e-5, gt=0)
    """Default for reward models."""


TULU2_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' }}{{ '\\n' }}"
    "{% endfor %}"
    "{{ '<|assistant|>\\n' if add_generation_prompt }}"
)
"""The format that Tulu 2's model card describes, for copies of the model whose tokenizer leaves it out."""


class Tulu2Options(PresetOptions):
    """Tulu 2 as in the paper's large experiment: adapters of rank 16, its authors' learning rates."""

    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Type of the weights."""
    gradient_checkpointing: bool = True
    """Compute activations again in the backward pass: less memory, about a third more time."""
    context: int = Field(1024, ge=8)
    """Longest sequence; a longer prompt keeps its end."""
    policy_learning_rate: float = Field(1.4e-5, gt=0)
    """Default for aligners that train the policy."""
    reward_learning_rate: float = Field(2e-5, gt=0)
    """Default for reward models."""


class FiniteOptions(Options):
    """Worlds whose responses can be listed."""

    reward: Literal["linear", "tabular"] = "linear"
    """Rewards linear in the world's features, or with a parameter for each state and response."""
    policy: Literal["linear", "tabular"] = "linear"
    """The same for policies fitted to pairs; what is optimised against rewards is free of this."""
    penalty: float = Field(0.1, gt=0)
    """Ridge penalty of every fit: weight of |w|^2 / 2 beside the summed loss of the pairs."""
    optimiser: Literal["exact", "ppo"] = "exact"
    """How rewards are optimised: in closed form, or by PPO on samples."""
    policy_learning_rate: float = Field(0.05, gt=0)
    """Default of PPO."""


@model("nano")
def nano(request: ModelRequest, options: NanoOptions) -> Backbone:
    """GPT-2 architecture of about 0.1 M parameters, trained on the task's corpus on first use."""
    from prefbench.backbone.language.pretrained import build_nano

    return build_nano(request, options)


@model("pretrained")
def pretrained(request: ModelRequest, options: PretrainedOptions) -> Backbone:
    """Any causal LM by folder (safetensors or GGUF) or hub id: give the folder or id as --model."""
    from prefbench.backbone.language.pretrained import load_pretrained

    return load_pretrained(request, options, request.name)


@model("gpt2")
def gpt2(request: ModelRequest, options: GPT2Options) -> Backbone:
    """GPT-2 with 124 M parameters from the hub (or model.path), every weight trained; plain text.

    The paper first fine-tunes it on the reviews: model.sft_steps.
    """
    from prefbench.backbone.language.pretrained import load_pretrained

    return load_pretrained(request, options, options.path or "openai-community/gpt2", preset=True)


@model("tulu2-7b")
def tulu2_7b(request: ModelRequest, options: Tulu2Options) -> Backbone:
    """Tulu 2 with 7 B parameters from the hub (or model.path), with LoRA on bfloat16 weights."""
    from prefbench.backbone.language.pretrained import load_pretrained

    source = options.path or "allenai/tulu-2-7b"
    return load_pretrained(request, options, source, preset=True, template=TULU2_TEMPLATE)


@model("finite", backbone="finite")
def finite(request: ModelRequest, options: FiniteOptions) -> Backbone:
    """Tables in place of a language model, for tasks whose responses can be listed: every answer is exact."""
    from prefbench.backbone.finite.backbone import Finite
    from prefbench.store.stages import Work

    assert request.problem.world is not None, "a task for the finite backbone gives a world"
    work = Work("reference", request.store.root)
    return Finite(request.problem.world, options, request.store, work)
