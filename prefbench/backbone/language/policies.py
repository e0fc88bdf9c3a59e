"""Policies and rewards of a language model, as aligners and the evaluator see them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefbench import seeds
from prefbench.backbone.language.adapters import write_tensors
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.log_linear import LogLinear
from prefbench.backbone.language.networks import RewardModel
from prefbench.backbone.language.protocol import LanguageModel
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.backbone.language.tokens import Batch
from prefbench.backbone.language.training import trainable_state
from prefbench.errors import PrefbenchError
from prefbench.learn.interface import Policy, Reward
from prefbench.learn.simple_policies import InstructedPolicy, ReferencePolicy
from prefbench.team import team


@dataclass
class LMReward(Reward):
    """A fitted reward model."""

    model: RewardModel
    backbone: LanguageModel

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Reward of each response, float64 [n]."""
        return self.backbone.measure(prompts, responses, self.model)

    def save(self, path: Path) -> None:
        """Write the trainable weights (all of them, or adapters and head)."""
        write_tensors(path, trainable_state(self.model), self.backbone.adapted_digest)


def model_of(policy: Policy) -> Any:
    """The language model of a policy.

    Raises:
        PrefbenchError: it has none, or reads more than its prompts.
    """
    if not isinstance(policy, LMPolicy):
        raise PrefbenchError(f"{type(policy).__name__} is no language model whose weights could be combined.")
    if policy.backbone.codec.instructions or policy.backbone.codec.prefix:
        raise PrefbenchError("a policy that reads instructions or soft tokens cannot be combined.")
    return policy.model


def instructed(policy: Policy) -> tuple[Policy, str]:
    """A policy and what it is told before every prompt, if it is told something; the reference as it is."""
    said = ""
    if isinstance(policy, InstructedPolicy):
        said = policy.instruction
        policy = policy.base
    if isinstance(policy, ReferencePolicy):
        policy = policy.base
    return policy, said


@dataclass
class LMPolicy(Policy):
    """A language model that answers prompts."""

    model: Any
    backbone: LanguageModel

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt."""
        if not prompts:
            return []
        codec = self.backbone.codec
        uniform = torch.rand(
            (len(prompts) * n, codec.response_tokens), generator=seeds.as_torch(draw), dtype=torch.float64
        )
        ids = sample_tokens(
            self.model, codec, codec.prompts(prompts), n, uniform, self.backbone.limits.sampling
        )
        texts = codec.decode(ids)
        return [texts[i * n : (i + 1) * n] for i in range(len(prompts))]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """log pi(response | prompt) in nats, [n]."""

        def logprob(batch: Batch) -> torch.Tensor:
            return logprobs(self.model, batch).double().sum(1)

        return self.backbone.measure(prompts, responses, logprob)

    def save(self, folder: Path) -> None:
        """A folder that transformers (or peft, for LoRA) loads; of a product, one for each factor."""
        if team().sharded and self.model is self.backbone.reference.model:
            ReferencePolicy(self).save(folder)  # no process has all of its weights
            return
        if isinstance(self.model, LogLinear):
            (folder / "log_linear.json").write_text(json.dumps(list(self.model.powers)))
            for k, part in enumerate(self.model.parts):
                (folder / f"part-{k}").mkdir(exist_ok=True)
                self._factor(k, part).save(folder / f"part-{k}")
            return
        self.model.save_pretrained(folder)
        self.backbone.codec.tokenizer.save_pretrained(folder)

    def _factor(self, number: int, model: Any) -> Policy:
        """A factor of a product, as it is saved."""
        alone, said = LMPolicy(model, self.backbone), self.backbone.codec.instructions
        if not said:
            return alone
        base = ReferencePolicy(alone) if model is self.backbone.reference.model else alone
        return InstructedPolicy(base, said[number])
