"""Causal language models as a backbone: any decoder that transformers loads, whole or with LoRA.

With LoRA the reference is the only copy of the model: policies and rewards are adapters on it
(`adapters.py`). Without, each of them is a model of its own.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError

from prefbench import seeds, weights
from prefbench.backbone.language import pairwise, personal, ppo, soft_tokens
from prefbench.backbone.language import reward as bradley_terry
from prefbench.backbone.language.adapters import (
    Adapted,
    Adapter,
    Base,
    checkpoint_layers,
    load_adapter,
    read_json,
    read_tensors,
)
from prefbench.backbone.language.batches import deal
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.forward import response_states
from prefbench.backbone.language.gpt2 import fuse_activations
from prefbench.backbone.language.log_linear import LogLinear
from prefbench.backbone.language.memory import TOKENS_AT_ONCE, Limits, in_batches, is_out_of_memory
from prefbench.backbone.language.networks import Head, Pooling, RewardModel
from prefbench.backbone.language.policies import LMPolicy, LMReward, instructed, model_of
from prefbench.backbone.language.tokens import Batch, collate
from prefbench.backbone.language.training import trainable_state
from prefbench.errors import UserError
from prefbench.learn.interface import (
    ExpectationRequest,
    OptimiseRequest,
    PairwiseRequest,
    Policy,
    Reward,
    RewardFunction,
    RewardRequest,
    SoftTokensRequest,
    called_with,
)
from prefbench.learn.simple_policies import load_simple_policy
from prefbench.text import message_line

if TYPE_CHECKING:
    from prefbench.store.stages import Store, Work


class CausalLM:
    """The backbone: a reference language model and everything trained from it."""

    dpo_beta = 0.1
    """Usual beta of DPO (Rafailov et al. 2023)."""
    ipo_beta = 0.1
    kl_coefficient = 0.3
    """Half of it lets some rewards of few labels be followed for 50 nats, and the group meant loses."""

    def __init__(
        self,
        model: Any,
        codec: Codec,
        *,
        digest: str,
        store: Store,
        lora: Mapping[str, Any] | None = None,
        policy_learning_rate: float,
        reward_learning_rate: float,
        reward_pooling: Pooling,
        reward_head: Head = "random",
        gradient_checkpointing: bool = False,
        tokens_at_once: int = TOKENS_AT_ONCE,
        train_tokens_at_once: int = TOKENS_AT_ONCE,
        work: Work,
    ) -> None:
        """Make a model the reference; it is frozen.

        Args:
            model: a transformers causal language model.
            codec: text to its tokens and back.
            digest: identifies its weights.
            store: where stages are kept.
            lora: `r` and `lora_alpha` of adapters, or None to train every weight.
            policy_learning_rate: default of aligners that train the policy.
            reward_learning_rate: default of reward models.
            reward_pooling: what a reward model's head reads.
            reward_head: its beginning, where a reward does not begin with another.
            gradient_checkpointing: compute activations again in the backward pass rather than keep them.
            tokens_at_once: in a pass without gradients, padding included.
            train_tokens_at_once: in a pass with gradients; a larger batch goes through in parts.
            work: where progress and checkpoints go.
        """
        self.codec = codec
        self.digest = digest
        self.store = store
        self.work = work
        self.lora = lora
        self.policy_learning_rate = policy_learning_rate
        self.reward_learning_rate = reward_learning_rate
        self.reward_pooling: Pooling = reward_pooling
        self.reward_head: Head = reward_head
        self.training: Mapping[str, Any] = {
            "lora": lora,
            "policy_learning_rate": policy_learning_rate,
            "reward_learning_rate": reward_learning_rate,
            "reward_pooling": reward_pooling,
            "reward_head": reward_head,
        }
        self.gradient_checkpointing = gradient_checkpointing
        self.notes: list[str] = []
        """Remarks for a reader of the run: where memory ran out, and what was made smaller."""
        self.limits = Limits.of(self._note, tokens=tokens_at_once, train_tokens=train_tokens_at_once)
        self.device = next(model.parameters()).device
        model.eval()  # no dropout anywhere: the sampled distribution is the trained one
        model.requires_grad_(False)
        self.reference = LMPolicy(model, self)
        self.base = None if lora is None else Base(model, digest)
        if self.base is not None and gradient_checkpointing:
            checkpoint_layers(model, self.base.contexts)

    def _note(self, message: str) -> None:
        self.notes.append(message)
        self.say(message)

    def say(self, message: str) -> None:
        """Tell a sentence to whoever watches the run."""
        self.store.reporter.note(message)

    @property
    def adapted_digest(self) -> str | None:
        """Identifies the base that adapters belong to; None where every weight is trained."""
        return None if self.base is None else self.base.digest

    @property
    def width(self) -> int:
        """Size of the hidden state."""
        return int(self.reference.model.config.get_text_config().hidden_size)

    def at(self, work: Work) -> CausalLM:
        """This backbone with its progress and checkpoints going to `work`."""
        other = copy.copy(self)
        other.work = work
        other.reference = LMPolicy(self.reference.model, other)
        return other

    def with_codec(self, codec: Codec) -> CausalLM:
        """This backbone with another way from text to tokens."""
        other = copy.copy(self)
        other.codec = codec
        return other

    def cached(self, name: str, key: Mapping[str, Any], compute: Callable[[Work], None]) -> Path:
        """The folder of a stage; see `prefbench.store.stages.Store.stage`."""
        return self.store.stage(name, key, compute)

    @torch.no_grad()
    def measure(
        self,
        prompts: Sequence[str],
        responses: Sequence[str],
        function: Callable[[Batch], torch.Tensor],
        *shape: int,
    ) -> np.ndarray:
        """A function of each response, float64 [n, *shape], computed in batches of similar length."""
        if not prompts:
            return np.empty((0, *shape))
        p, r = self.codec.prompts(prompts), self.codec.responses(responses)
        share = deal([len(a) + len(b) for a, b in zip(p, r, strict=True)])

        def compute(places: np.ndarray) -> torch.Tensor:
            rows = share.rows[places]
            return function(collate([p[i] for i in rows], [r[i] for i in rows], self.device))

        found = np.empty((len(share.rows), *shape))
        for places, values in in_batches(share.lengths, self.limits.scoring, compute):
            found[places] = values.double().cpu().numpy()
        return share.whole(torch.from_numpy(found)).numpy()

    def tokens(self, responses: Sequence[str]) -> np.ndarray:
        """Length of responses in tokens, cut as the model reads them and with their end, [n]."""
        return np.array([len(ids) for ids in self.codec.responses(responses)], dtype=np.int64)

    def features(
        self, prompts: Sequence[str], responses: Sequence[str], reward: Reward | None = None
    ) -> np.ndarray:
        """Mean and sum over response tokens of the last hidden state, float64 [n, 2 width].

        The sum sees what accumulates (length, summed valence), the mean what does not (tone). The state is
        that of a reward model, or of the reference.
        """
        assert reward is None or isinstance(reward, LMReward)
        trunk = self.reference.model.base_model if reward is None else reward.model.trunk

        def seen(batch: Batch) -> torch.Tensor:
            total = (response_states(trunk, batch).float() * batch.mask[..., None]).sum(1)
            mean = total / batch.mask.sum(1, keepdim=True).clamp(min=1)
            return torch.cat([mean, total], 1)

        return self.measure(prompts, responses, seen, 2 * self.width)

    def trainable_copy(self, seed: int) -> Any:
        """A model to train: a copy of the reference, or with LoRA a new adapter on it."""
        if self.base is not None:
            assert self.lora is not None
            return Adapted(self.base, Adapter(self.base, self.lora["r"], self.lora["lora_alpha"], seed))
        model = copy.deepcopy(self.reference.model).requires_grad_(True)
        if self.gradient_checkpointing:
            checkpoint_layers(model)
        return model

    def new_reward(self, seed: int) -> RewardModel:
        """A reward model that starts as the reference with a random head."""
        trunk = self.trainable_copy(seed).base_model
        with seeds.torch_seeded(seed, "head"):
            return RewardModel(trunk, self.width, self.reward_pooling).to(self.device)

    @called_with(RewardRequest)
    def fit_reward(self, request: RewardRequest) -> Reward:
        """Maximum-likelihood Bradley-Terry reward (`backbone/language/reward.py`)."""
        return bradley_terry.fit(self, request)

    def load_reward(self, path: Path) -> Reward:
        """Read back what `LMReward.save` wrote."""
        model = self.new_reward(seed=0)
        read_tensors(path, trainable_state(model), self.adapted_digest)
        return LMReward(model, self)

    @called_with(OptimiseRequest)
    def optimise(self, request: OptimiseRequest) -> Policy:
        """A policy with high welfare, by PPO (`backbone/language/ppo.py`)."""
        return ppo.train(self, request)

    @called_with(PairwiseRequest)
    def fit_pairwise(self, request: PairwiseRequest) -> Policy:
        """A policy fitted to pairs (`backbone/language/pairwise.py`)."""
        return pairwise.train(self, request)

    @called_with(SoftTokensRequest)
    def fit_soft_tokens(self, request: SoftTokensRequest) -> Callable[[int | str | None], Policy]:
        """A policy for each person, told by soft tokens who asks (`backbone/language/personal.py`)."""
        return personal.fit(self, request)

    @called_with(ExpectationRequest)
    def expect(self, request: ExpectationRequest) -> np.ndarray:
        """Mean of a function over one sampled response to each of `batch` prompts, [K]."""
        prompts, names = request.prompts, request.names
        rng = seeds.rng(request.seed, *names, "prompts")
        some = rng.choice(len(prompts), size=min(request.batch, len(prompts)), replace=False)
        asked = [prompts[i] for i in some]
        drawn = request.policy.sample(asked, 1, seeds.child(request.seed, *names))
        return np.asarray(request.function(asked, [row[0] for row in drawn]).mean(axis=0))

    @torch.no_grad()
    def average(self, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
        """The policy whose trained weights (all of them, or the adapters') are averaged."""
        models = [model_of(policy) for policy in policies]
        soup = copy.deepcopy(models[0])
        states = [dict(model.named_parameters()) for model in models]
        for name, target in soup.named_parameters():
            parts = [weight * state[name].double() for weight, state in zip(weights, states, strict=True)]
            target.copy_(torch.stack(parts).sum(0))
        return LMPolicy(soup, self)

    def log_linear(self, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
        """The product of the policies' next-token distributions to these powers, normalised at each token.

        What an `InstructedPolicy` is told, its own model reads and no other.
        """
        each = [instructed(policy) for policy in policies]
        product = LogLinear([model_of(policy) for policy, _ in each], weights).eval().requires_grad_(False)
        told = tuple(instruction for _, instruction in each)
        each_reads = replace(self.codec, instructions=told)
        return LMPolicy(product, self.with_codec(each_reads) if any(told) else self)

    def game(self, prompts: Sequence[str], rewards: RewardFunction, beta: float) -> None:
        """None: the responses of a language model cannot be listed."""

    def distribution(self, policy: Policy, prompts: Sequence[str]) -> None:
        """None: the responses of a language model cannot be listed."""

    def load_policy(self, folder: Path) -> Policy:
        """Read back a policy of any kind that this backbone makes.

        Raises:
            UserError: it is of another model, or its files are damaged.
        """
        simple = load_simple_policy(folder, self)
        if simple is not None:
            return simple
        if (folder / "log_linear.json").exists():
            powers = read_json(folder / "log_linear.json")
            return self.log_linear(
                [self.load_policy(folder / f"part-{k}") for k in range(len(powers))], powers
            )
        model: Any
        if not (folder / "adapter_config.json").exists():
            model = fuse_activations(self._whole_model(folder).to(self.device))
        elif self.base is None:
            raise UserError(f"'{folder}' holds an adapter, but model.lora=false: set it to true.")
        else:
            model = load_adapter(self.base, folder)
        model = model.eval().requires_grad_(False)
        return soft_tokens.load(model, folder, self) or LMPolicy(model, self)

    def _whole_model(self, folder: Path) -> Any:
        """A model of the reference's architecture and sizes from a folder."""
        weights.check_alike(folder, self.reference.model)
        try:
            kind = type(self.reference.model)
            model, wrong = weights.load(kind, folder, use_safetensors=True)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            if is_out_of_memory(error) or getattr(error, "errno", None) not in (None, errno.ENOENT):
                raise
            raise UserError(
                f"'{folder}' could not be loaded as a policy, so save it again: {message_line(error)}"
            ) from None
        if wrong is not None:
            raise UserError(f"policy '{folder}': {wrong}: use it with the model that it was trained from.")
        return model
