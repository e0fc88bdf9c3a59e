"""Model presets: what `--model` names and what its options are. Light to import; `loading` does the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from prefbench.backbone.base import Backbone
from prefbench.registry import Options, model

if TYPE_CHECKING:
    from prefbench.problem import Problem
    from prefbench.store import Store


@dataclass(frozen=True)
class ModelRequest:
    """What a preset is built from."""

    name: str
    problem: Problem
    store: Store
    seed: int


class ModelOptions(Options):
    """Options that every language model has."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where tensors live; auto takes a GPU when there is one."""
    threads: int = Field(0, ge=0)
    """CPU threads for torch; 0 chooses: 1 for nano, where more is slower, else every core."""


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
    gguf_file: str | None = None
    """Name of the GGUF file inside the folder; none finds a single one by itself."""
    lora: bool = True
    """Train low-rank adapters instead of every weight."""
    lora_rank: int = Field(16, ge=1)
    """Rank of the adapters."""
    lora_alpha: int = Field(32, ge=1)
    """Scale of the adapters, divided by the rank."""
    context: int = Field(512, ge=8)
    """Longest sequence; a longer prompt keeps its end."""
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
    from prefbench.backbone.loading import build_nano

    return build_nano(request, options)


@model("pretrained")
def pretrained(request: ModelRequest, options: PretrainedOptions) -> Backbone:
    """Any causal LM by folder (safetensors or GGUF) or hub id: give the folder or id as --model."""
    from prefbench.backbone.loading import load_pretrained

    return load_pretrained(request, options)


@model("finite", backbone="finite")
def finite(request: ModelRequest, options: FiniteOptions) -> Backbone:
    """Tables in place of a language model, for tasks whose responses can be listed: every answer is exact."""
    from prefbench.backbone.finite import Finite
    from prefbench.store import Work

    assert request.problem.world is not None, "a task for the finite backbone gives a world"
    work = Work("reference", request.store.root)
    return Finite(request.problem.world, options, request.store, work)
