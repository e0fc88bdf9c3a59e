"""Options of the models that `--model` names, and what a model is built from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from prefbench.registry import Options

if TYPE_CHECKING:
    from prefbench.problem.problem import Problem
    from prefbench.store.stages import Store


@dataclass(frozen=True)
class ModelRequest:
    """Everything that a preset is built from."""

    name: str
    problem: Problem
    store: Store
    seed: int


class ModelOptions(Options):
    """Options that every language model has."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that tensors live on; auto takes a GPU when there is one."""
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
    """Gradient steps of language-model training on the task's corpus."""
    batch: int = Field(64, ge=1)
    """Texts per gradient step."""
    learning_rate: float = Field(3e-3, gt=0)
    """Peak learning rate of language-model training."""
    policy_learning_rate: float = Field(1e-3, gt=0)
    """Default for aligners that train the policy."""
    reward_learning_rate: float = Field(2e-3, gt=0)
    """Default for reward models."""
    reward_pooling: Literal["last", "sum"] = "sum"
    """Tokens that a reward model's head reads: the last one, or every response token, summed."""


class PretrainedOptions(ModelOptions):
    """Any causal language model that transformers loads, by folder or hub id."""

    former = {"sft_steps": "steps", "sft_batch": "batch", "sft_learning_rate": "learning_rate"}

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
    """Form of prompts: messages in the model's template (model), plain text (none), or as the task says
    (auto)."""
    steps: int = Field(0, ge=0)
    """Gradient steps of language-model training on the task's corpus; 0 aligns the model as it is."""
    batch: int = Field(8, ge=1)
    """Texts per gradient step."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak learning rate of language-model training."""
    policy_learning_rate: float = Field(1e-4, gt=0)
    """Default for aligners that train the policy."""
    reward_learning_rate: float = Field(2e-4, gt=0)
    """Default for reward models."""
    reward_pooling: Literal["last", "sum"] = "last"
    """Tokens that a reward model's head reads: the last one, or every response token, summed."""
    reward_head: Literal["random", "fitted"] = "random"
    """Beginning of a reward model's head: random weights, or those fitted to the pairs on the model's own
    states."""


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
    """Form of prompts; GPT-2 has no template, so plain text."""
    learning_rate: float = Field(5e-5, gt=0)
    """Peak learning rate of language-model training."""
    policy_learning_rate: float = Field(1.4e-5, gt=0)
    """Default for aligners that train the policy."""
    reward_learning_rate: float = Field(2e-5, gt=0)
    """Default for reward models."""


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
    """Optimiser of rewards: in closed form (exact), or by PPO on samples."""
    policy_learning_rate: float = Field(0.05, gt=0)
    """Default of PPO."""
