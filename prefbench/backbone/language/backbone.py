"""Causal language models as a backbone: any decoder that transformers loads, whole or with LoRA.

With LoRA the reference is the only copy of the model: policies and rewards are adapters on it
(`adapters.py`). Without, each of them is a model of its own.

Sampling is pure: temperature 1, no truncation, so the distribution sampled from is the one whose
log-probabilities are trained on. Row i uses row i of one table of uniform numbers by inverting the
cumulative distribution, so a sample does not depend on how rows are batched.
"""

from __future__ import annotations

import copy
import errno
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn import functional

from prefbench import seeds, weights
from prefbench.backbone.language import ppo
from prefbench.backbone.language.adapters import (
    Adapted,
    Adapter,
    Base,
    checkpoint_layers,
    load_adapter,
    read_json,
    read_tensors,
    write_tensors,
)
from prefbench.backbone.language.batches import deal
from prefbench.backbone.language.forward import call, last_states, logprobs, reader, response_states
from prefbench.backbone.language.gpt2 import fuse_activations
from prefbench.backbone.language.memory import (
    TOKENS_AT_ONCE,
    Limit,
    Limits,
    attempt,
    in_batches,
    is_out_of_memory,
)
from prefbench.backbone.language.tokens import Batch, Codec, Ids, collate
from prefbench.backbone.language.training import trainable_state
from prefbench.errors import PrefbenchError, UserError
from prefbench.learn import pairwise
from prefbench.learn import rewards as bradley_terry
from prefbench.learn.interface import Pairs, Policy, Reward, RewardFunction
from prefbench.learn.simple_policies import ReferencePolicy, load_simple_policy
from prefbench.team import team
from prefbench.text import message_line

if TYPE_CHECKING:
    from prefbench.learn.options import PairTrainingOptions, PPOOptions, RewardOptions
    from prefbench.learn.welfare import WelfareFunction
    from prefbench.store.stages import Store, Work

Pooling = Literal["last", "sum"]
STAY = 1 / 8
"""Share of the rows of a batch that may have ended before those leave it."""
BLOCK = 256
"""Tokens of the vocabulary whose probabilities are summed together."""


class RewardModel(nn.Module):
    """The reference's transformer, a copy or adapted, with a scalar head.

    With `last` pooling the head reads the last token's state, as is usual for large models. With `sum` it
    values every response token and the reward is their sum, as DPO's implicit reward is: a small
    model learns what accumulates far sooner that way.
    """

    def __init__(self, trunk: nn.Module, width: int, pooling: Pooling) -> None:
        super().__init__()
        self.trunk = trunk
        self.pooling = pooling
        self.head = nn.Linear(width, 1)
        nn.init.normal_(self.head.weight, std=1 / (width + 1) ** 0.5)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Rewards of a batch, [rows], float32."""
        if self.pooling == "last":
            score: torch.Tensor = self.head(last_states(self.trunk, batch).float())[:, 0]
            return score
        each: torch.Tensor = self.head(response_states(self.trunk, batch).float())[..., 0]
        return (each * batch.mask).sum(1)


@dataclass
class LMReward(Reward):
    """A fitted reward model."""

    model: RewardModel
    backbone: CausalLM

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Reward of each response, float64 [n]."""
        return self.backbone.measure(prompts, responses, self.model)

    def save(self, path: Path) -> None:
        """Write the trainable weights (all of them, or adapters and head)."""
        write_tensors(path, trainable_state(self.model), self.backbone.adapted_digest)


class LogLinear(nn.Module):
    """Several language models as one: pi(token) ~ prod_k pi_k(token) ** w_k at each step.

    The product over whole responses has no tractable normaliser; this one is normalised token by token, as
    decoding-time mixtures are.
    """

    def __init__(self, parts: Sequence[Any], powers: Sequence[float]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.powers = tuple(float(power) for power in powers)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        past_key_values: _Caches | None = None,
        use_cache: bool = False,
    ) -> Any:
        """Logits [rows, length, vocabulary] of the product, and every part's cache."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        pasts = [None] * len(self.parts) if past_key_values is None else past_key_values.parts
        outputs = [
            call(part, inputs, use_cache=use_cache, past_key_values=past)
            for part, past in zip(self.parts, pasts, strict=True)
        ]
        logits = torch.stack(
            [
                power * output.logits.float().log_softmax(-1)
                for power, output in zip(self.powers, outputs, strict=True)
            ]
        ).sum(0)
        caches = _Caches([output.past_key_values for output in outputs]) if use_cache else None
        return SimpleNamespace(logits=logits, past_key_values=caches)


@dataclass
class _Caches:
    """The caches of several models, cut and repeated together."""

    parts: list[Any]

    def batch_repeat_interleave(self, repeats: int) -> None:
        for part in self.parts:
            part.batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        for part in self.parts:
            part.batch_select_indices(indices)


def _model_of(policy: Policy) -> Any:
    if not isinstance(policy, LMPolicy):
        raise PrefbenchError(f"{type(policy).__name__} is no language model whose weights could be combined.")
    return policy.model


@dataclass
class LMPolicy(Policy):
    """A language model that answers prompts."""

    model: Any
    backbone: CausalLM

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
                LMPolicy(part, self.backbone).save(folder / f"part-{k}")
            return
        self.model.save_pretrained(folder)
        self.backbone.codec.tokenizer.save_pretrained(folder)


@torch.no_grad()
def sample_tokens(
    model: Any,
    codec: Codec,
    prompts: Sequence[Ids],
    n: int,
    uniform: torch.Tensor,
    limit: Limit,
) -> list[Ids]:
    """`n` responses for each prompt, as token ids including the end token; every process gets all of them.

    Args:
        model: a transformers causal language model in evaluation mode.
        codec: says what ends a response and how long it may be.
        prompts: token ids.
        n: samples per prompt.
        uniform: [len(prompts) * n, response_tokens] numbers in [0, 1), one row per sample.
        limit: responses in a batch.
    """
    share = deal([len(prompt) for prompt in prompts])
    mine = uniform.view(len(prompts), n, uniform.shape[1])[torch.from_numpy(share.rows)].flatten(0, 1)
    drawn = _drawn_here(model, codec, [prompts[i] for i in share.rows], n, mine, limit)
    if team().size == 1:
        return drawn
    table = torch.zeros((len(share.rows), n, uniform.shape[1]), dtype=torch.long)
    for row, ids in zip(table.flatten(0, 1), drawn, strict=True):
        row[: len(ids)] = torch.tensor(ids) + 1  # zero is where a response has ended
    return [[i - 1 for i in row if i] for row in share.whole(table).flatten(0, 1).tolist()]


def _drawn_here(
    model: Any, codec: Codec, prompts: Sequence[Ids], n: int, uniform: torch.Tensor, limit: Limit
) -> list[Ids]:
    """The part of `sample_tokens` that one process computes."""
    results: list[Ids] = [[] for _ in range(len(prompts) * n)]
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    order = torch.tensor([i * n + j for i in by_length for j in range(n)], dtype=torch.long)
    while len(order):
        begun = -len(order) % n  # samples of the first prompt that are there already
        whole = limit.size // n * n
        rows = order[: whole if whole and not begun else min(limit.size, n - begun)]
        chosen = rows[:1] // n if len(rows) < n else rows[::n] // n
        drawn = attempt(
            partial(
                _decode,
                model,
                codec,
                [prompts[i] for i in chosen.tolist()],
                len(rows) // len(chosen),
                uniform[rows],
            )
        )
        if drawn is None:
            limit.halve(len(rows), len(rows))
            continue
        for row, ids in zip(rows.tolist(), drawn, strict=True):
            results[row] = ids
        order = order[len(rows) :]
    return results


def _decode(model: Any, codec: Codec, prompts: Sequence[Ids], n: int, uniform: torch.Tensor) -> list[Ids]:
    """A batch of `sample_tokens`.

    Each prompt is read once and its cache shared by its samples; rows that have ended leave the batch. Where
    other processes need a pass and this one does not, its last row goes on for nothing.
    """
    device = next(model.parameters()).device
    stops = torch.tensor(sorted(codec.stops), device=device)
    text = reader(model, prompts, n, codec.response_tokens, device)
    draws = uniform.to(device)
    drawn = torch.full(draws.shape, -1, dtype=torch.long, device=device)
    alive = torch.arange(len(draws), device=device)  # rows still in the batch
    going = torch.ones(len(draws), dtype=torch.bool, device=device)  # those of them that have not ended
    for t in range(codec.response_tokens):
        token = draw(text.logits, draws[alive, t])
        drawn[alive[going], t] = token[going]
        going &= ~torch.isin(token, stops)
        ended = len(going) - int(going.sum())
        if t + 1 == codec.response_tokens or not team().anybody(ended < len(going)):
            break
        # Leaving costs a copy of the cache, so rows leave in company.
        if ended > len(going) * STAY:
            rows = torch.arange(1, device=device) if ended == len(going) else going.nonzero()[:, 0]
            alive, going, token = alive[rows], going[rows], token[rows]
            text.keep(rows)
        text.read(token)
    return [[i for i in ids if i >= 0] for ids in drawn.tolist()]


def draw(logits: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Tokens [rows] by inverting the cumulative distribution at numbers in [0, 1), float64 [rows].

    The sum over a large vocabulary is taken in two steps, over blocks of tokens and then inside one block, so
    that only the numbers that decide need float64.
    """
    rows, vocabulary = logits.shape
    width = min(BLOCK, vocabulary)
    each = functional.pad(logits.float().softmax(-1), (0, -vocabulary % width)).view(rows, -1, width)
    blocks = each.sum(-1, dtype=torch.float64).cumsum(-1)
    # Scaling by the last entry keeps a draw near 1 inside the vocabulary despite rounding.
    target = uniform[:, None] * blocks[:, -1:]
    block = torch.searchsorted(blocks, target, right=True).clamp_(max=blocks.shape[1] - 1)
    inside = each[torch.arange(rows, device=logits.device), block[:, 0]].double().cumsum(-1)
    left = target - blocks.gather(1, block) + inside[:, -1:]
    token = block * width + torch.searchsorted(inside, left, right=True).clamp_(max=width - 1)
    return token.clamp_(max=vocabulary - 1)[:, 0]


class CausalLM:
    """The backbone: a reference language model and everything trained from it."""

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
        self.training: Mapping[str, Any] = {
            "lora": lora,
            "policy_learning_rate": policy_learning_rate,
            "reward_learning_rate": reward_learning_rate,
            "reward_pooling": reward_pooling,
        }
        self.gradient_checkpointing = gradient_checkpointing
        self.notes: list[str] = []
        """What a reader of a run should know: where memory ran out, and what was made smaller."""
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

    def features(self, prompts: Sequence[str], responses: Sequence[str], reward: Reward) -> np.ndarray:
        """Mean and sum over response tokens of a reward model's last hidden state, float64 [n, 2 width].

        The sum sees what accumulates (length, summed valence), the mean what does not (tone).
        """
        assert isinstance(reward, LMReward)
        trunk = reward.model.trunk

        def seen(batch: Batch) -> torch.Tensor:
            total = (response_states(trunk, batch).float() * batch.mask[..., None]).sum(1)
            mean = total / batch.mask.sum(1, keepdim=True).clamp(min=1)
            return torch.cat([mean, total], 1)

        return self.measure(prompts, responses, seen, 2 * self.width)

    def trainable_copy(self, seed: int) -> Any:
        """What training starts from: a copy of the reference, or with LoRA a new adapter on it."""
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

    def fit_reward(
        self, pairs: Pairs, options: RewardOptions, *, seed: int, name: str, start: Reward | None = None
    ) -> Reward:
        """Maximum-likelihood Bradley-Terry reward (`learn/rewards.py`)."""
        assert start is None or isinstance(start, LMReward)
        return bradley_terry.fit(self, pairs, options, seed=seed, name=name, start=start)

    def load_reward(self, path: Path) -> Reward:
        """Read back what `LMReward.save` wrote."""
        model = self.new_reward(seed=0)
        read_tensors(path, trainable_state(model), self.adapted_digest)
        return LMReward(model, self)

    def optimise(
        self,
        prompts: Sequence[str],
        rewards: RewardFunction,
        welfare: WelfareFunction,
        options: PPOOptions,
        *,
        seed: int,
        names: Sequence[str],
    ) -> Policy:
        """A policy with high welfare, by PPO (`backbone/language/ppo.py`)."""
        return ppo.train(self, prompts, rewards, welfare, options, seed=seed, names=names)

    def fit_pairwise(
        self,
        pairs: Pairs,
        loss: pairwise.PairwiseLoss,
        options: PairTrainingOptions,
        *,
        seed: int,
        group_step: float | None = None,
        name: str = "policy",
    ) -> Policy:
        """A policy fitted to pairs (`learn/pairwise.py`)."""
        return pairwise.train(self, pairs, loss, options, seed=seed, group_step=group_step, name=name)

    def expect(
        self,
        policy: Policy,
        prompts: Sequence[str],
        function: RewardFunction,
        *,
        batch: int,
        seed: int,
        names: Sequence[str | int],
    ) -> np.ndarray:
        """Mean of a function over one sampled response to each of `batch` prompts, [K]."""
        rng = seeds.rng(seed, *names, "prompts")
        some = rng.choice(len(prompts), size=min(batch, len(prompts)), replace=False)
        asked = [prompts[i] for i in some]
        drawn = policy.sample(asked, 1, seeds.child(seed, *names))
        return np.asarray(function(asked, [row[0] for row in drawn]).mean(axis=0))

    @torch.no_grad()
    def average(self, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
        """The policy whose trained weights (all of them, or the adapters') are averaged."""
        models = [_model_of(policy) for policy in policies]
        soup = copy.deepcopy(models[0])
        states = [dict(model.named_parameters()) for model in models]
        for name, target in soup.named_parameters():
            parts = [weight * state[name].double() for weight, state in zip(weights, states, strict=True)]
            target.copy_(torch.stack(parts).sum(0))
        return LMPolicy(soup, self)

    def log_linear(self, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
        """The product of the policies' next-token distributions to these powers, normalised at each token."""
        product = LogLinear([_model_of(policy) for policy in policies], weights)
        return LMPolicy(product.eval().requires_grad_(False), self)

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
        return LMPolicy(model.eval().requires_grad_(False), self)

    def _whole_model(self, folder: Path) -> Any:
        """A model of the reference's architecture and sizes from a folder."""
        weights.check_alike(folder, self.reference.model)
        try:
            kind = type(self.reference.model)
            model, wrong = weights.load(kind, folder, use_safetensors=True)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            if is_out_of_memory(error) or getattr(error, "errno", None) not in (None, errno.ENOENT):
                raise
            raise UserError(f"'{folder}' could not be loaded as a policy: {message_line(error)}") from None
        if wrong is not None:
            raise UserError(f"policy '{folder}': {wrong}: use it with the model that it was trained from.")
        return model
