"""Proximal policy optimisation of a language model against any welfare of rewards.

Each iteration samples a batch of responses, scores them ([batch, groups]), lets the welfare make one number
of each row, charges a per-token KL penalty against the reference, and takes clipped policy and
value steps on generalised advantages. `PPOOptions` explains every option.

A response is a trajectory: its tokens are the actions, the score arrives with the last one, and
log-probabilities are those of the distribution sampled from (temperature 1, nothing truncated).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn

from prefbench import seeds
from prefbench.backbone.language.batches import deal
from prefbench.backbone.language.best import best_of
from prefbench.backbone.language.forward import logprobs, logprobs_and_states
from prefbench.backbone.language.held_out import ppo_score
from prefbench.backbone.language.memory import in_batches
from prefbench.backbone.language.policies import LMPolicy
from prefbench.backbone.language.protocol import LanguageModel
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.backbone.language.tokens import collate
from prefbench.backbone.language.training import Parts, State, descend, schedule
from prefbench.errors import Diverged
from prefbench.learn.interface import OptimiseRequest
from prefbench.learn.options import PPOOptions, kl_coefficient
from prefbench.learn.welfare import scores_of
from prefbench.team import Once, team
from prefbench.work import PPO_LOOKS


def kl_penalised(
    score: torch.Tensor, kl: torch.Tensor, mask: torch.Tensor, coefficient: float
) -> torch.Tensor:
    """Per-token rewards [rows, T]: -beta (log pi - log pi_ref), plus the score on the last real token.

    Summed over a response this is score - beta KL-estimate, so maximising its expectation maximises
    E[r] - beta KL(pi || pi_ref). A row without tokens has nowhere to put a score and gets none.
    """
    rewards = -coefficient * kl * mask
    lengths = mask.sum(1)
    rows = torch.nonzero(lengths)[:, 0]
    rewards[rows, lengths[rows] - 1] += score[rows]
    return rewards


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, discount: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation over the real tokens of each row.

    delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lambda A_{t+1}; V and A are zero past the end.
    Source: Schulman et al. 2016, eq. 16. All arguments [rows, T]; returns advantages and returns A + V.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros(len(rewards), dtype=rewards.dtype, device=rewards.device)
    next_value = torch.zeros_like(following)
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + discount * next_value - values[:, t]
        following = (delta + discount * lam * following) * mask[:, t]
        advantages[:, t] = following
        next_value = values[:, t] * mask[:, t]
    return advantages, (advantages + values) * mask


def masked_mean(values: torch.Tensor, mask: torch.Tensor, total: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over real tokens; of a part of a batch that has `total` of them, the part's share of that mean."""
    return (values * mask).sum() / (mask.sum() if total is None else total).clamp(min=1)


def whiten(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance over real tokens; zero at padding."""
    centred = (values - masked_mean(values, mask)) * mask
    variance = masked_mean(centred**2, mask)
    return centred / (variance.sqrt() + 1e-8)


def policy_loss(
    logprob: torch.Tensor,
    old: torch.Tensor,
    advantage: torch.Tensor,
    mask: torch.Tensor,
    clip: float,
    total: torch.Tensor | None = None,
) -> torch.Tensor:
    """Clipped surrogate -E[min(rho A, clip(rho, 1 - e, 1 + e) A)], rho = pi / pi_old.

    Source: Schulman et al. 2017, eq. 7. `total` as in `masked_mean`.
    """
    ratio = (logprob - old).exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -masked_mean(torch.min(ratio * advantage, clipped * advantage), mask, total)


def value_loss(
    value: torch.Tensor,
    old: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    clip: float,
    total: torch.Tensor | None = None,
) -> torch.Tensor:
    """Half the larger of the squared errors of the value and of the value clipped near the old one.

    `total` as in `masked_mean`.
    """
    clipped = old + (value - old).clamp(-clip, clip)
    return 0.5 * masked_mean(torch.max((value - returns) ** 2, (clipped - returns) ** 2), mask, total)


def adapt(coefficient: float, kl: float, target: float, samples: int, horizon: float) -> float:
    """Proportional control of beta towards a KL target (Ziegler et al. 2019, section 2.2)."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * samples / horizon)


@dataclass
class Rollout:
    """A batch of sampled responses and everything known of them before the update."""

    prompts: list[list[int]]
    responses: list[list[int]]
    texts: list[str]
    logprob: torch.Tensor
    value: torch.Tensor
    reference: torch.Tensor
    mask: torch.Tensor

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row, prompt and response."""
        return [len(p) + len(r) for p, r in zip(self.prompts, self.responses, strict=True)]


class ValueHead(nn.Module):
    """State values from the policy's last hidden state; zero at first, so early advantages are returns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Without the usual draw from the global generator: the weights are zero anyway.
        self.linear = nn.utils.skip_init(nn.Linear, width, 1)  # type: ignore[no-untyped-call]
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[rows, T, width] to [rows, T]."""
        value: torch.Tensor = self.linear(hidden.float())[..., 0]
        return value


def train(backbone: LanguageModel, request: OptimiseRequest) -> LMPolicy:
    """Optimise the welfare of rewards from the reference policy, which is the start and the anchor.

    Raises:
        Diverged: a loss is not finite, or the policy is further from the reference than `kl_limit`.
    """
    work, options, seed = backbone.work, request.options, request.seed
    prompts, names = request.prompts, request.names
    model = backbone.trainable_copy(seed)
    head = ValueHead(backbone.width).to(backbone.device)
    state = State([model, head], options.learning_rate or backbone.policy_learning_rate)
    encoded = backbone.codec.prompts(prompts)
    coefficient = kl_coefficient(options.kl_coefficient, backbone.kl_coefficient)
    history: list[dict[str, float]] = []
    best = best_of(state.parameters, ppo_score(backbone, model, request), options.iterations, PPO_LOOKS)
    saved = work.load("ppo")
    if saved is None:
        best.look(0)
    else:
        tensors, meta = saved
        state.restore(tensors)
        best.restore(tensors, meta["scores"])
        coefficient, history = meta["coefficient"], list(meta["history"])
    for iteration in range(len(history), options.iterations):
        chosen = seeds.rng(seed, "ppo", "prompts", iteration).choice(
            len(prompts), size=options.batch, replace=options.batch > len(prompts)
        )
        rollout = sample(backbone, model, head, [encoded[i] for i in chosen], seed, iteration)
        matrix = request.rewards([prompts[i] for i in chosen], rollout.texts)
        if not np.isfinite(matrix).all():
            raise Diverged(f"a reward is not finite at iteration {iteration}: check the reward model.")
        per_token_kl = rollout.logprob - rollout.reference
        kl = float((per_token_kl * rollout.mask).sum(1).mean())
        if not math.isfinite(kl) or kl > options.kl_limit:
            raise Diverged(
                f"the policy is {kl:.3g} nats from the reference at iteration {iteration}: raise "
                "aligner.kl_coefficient or lower aligner.learning_rate."
            )
        past = np.array([[row[f"reward/{name}"] for name in names] for row in history]).reshape(
            -1, len(names)
        )
        scalar = scores_of(request.welfare, matrix, matrix.mean(axis=0) - coefficient * kl, past)
        score = torch.from_numpy(scalar.astype(np.float32)).to(backbone.device)
        losses = update(
            backbone,
            model,
            head,
            state,
            rollout,
            kl_penalised(score, per_token_kl, rollout.mask, coefficient),
            options,
            schedule(iteration, options.iterations, 1),
            seeds.rng(seed, "ppo", "minibatches", iteration),
        )
        if options.kl_target is not None:
            coefficient = adapt(coefficient, kl, options.kl_target, options.batch, options.kl_horizon)
        means = {f"reward/{name}": float(value) for name, value in zip(names, matrix.mean(0), strict=True)}
        lengths = rollout.mask.sum(1).float()
        row = {**means, "kl": kl, "tokens": float(lengths.mean()), "coefficient": coefficient, **losses}
        history.append(row)
        best.look(iteration + 1)
        work.report(iteration + 1, options.iterations, **means, kl=kl)
        if work.due():
            meta = {"coefficient": coefficient, "history": history, "scores": best.scores}
            work.save("ppo", state.tensors() | best.tensors(), meta)
    best.take()
    state.optimiser.zero_grad(set_to_none=True)
    (work.path / "history.json").write_text(json.dumps(history, indent=0))
    return LMPolicy(model.requires_grad_(False), backbone)


@torch.no_grad()
def sample(
    backbone: LanguageModel,
    model: nn.Module,
    head: nn.Module,
    prompts: list[list[int]],
    seed: int,
    iteration: int,
) -> Rollout:
    """Sample a response to each prompt; log-probabilities and values as training will see them."""
    codec = backbone.codec
    generator = seeds.torch_generator(seed, "ppo", "tokens", iteration)
    uniform = torch.rand((len(prompts), codec.response_tokens), generator=generator, dtype=torch.float64)
    responses = sample_tokens(model, codec, prompts, 1, uniform, backbone.limits.sampling)
    share = deal([len(p) + len(r) for p, r in zip(prompts, responses, strict=True)])
    shape = (len(share.rows), max(len(r) for r in responses))
    measured = [torch.zeros(shape, device=backbone.device) for _ in range(4)]

    def measure(places: np.ndarray) -> tuple[torch.Tensor, ...]:
        rows = share.rows[places]
        batch = collate([prompts[i] for i in rows], [responses[i] for i in rows], backbone.device)
        ours, states = logprobs_and_states(model, batch)
        return (
            ours,
            head(states) * batch.mask,
            logprobs(backbone.reference.model, batch),
            batch.mask.float(),
        )

    for places, found in in_batches(share.lengths, backbone.limits.scoring, measure):
        index, wide = torch.from_numpy(places.copy()).to(backbone.device), found[0].shape[1]
        for target, values in zip(measured, found, strict=True):
            target[index, :wide] = values
    logprob, value, reference, mask = (share.whole(table) for table in measured)
    return Rollout(prompts, responses, codec.decode(responses), logprob, value, reference, mask.bool())


def update(
    backbone: LanguageModel,
    model: nn.Module,
    head: nn.Module,
    state: State,
    rollout: Rollout,
    rewards: torch.Tensor,
    options: PPOOptions,
    rate: float,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Epochs of clipped minibatch steps on one rollout, ended early when the policy has moved enough.

    Advantages are whitened over the whole batch; a mean is over the whole minibatch, whatever parts it takes.
    """
    advantages, returns = gae(rewards, rollout.value, rollout.mask, options.discount, options.gae_lambda)
    if options.whiten_advantages:
        advantages = whiten(advantages, rollout.mask)
    lengths = rollout.lengths
    sums = _Sums()
    done: list[_Sums] = []
    once = Once()

    def share(rows: np.ndarray, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """KL of old to new, policy loss and value loss: shares of rows in a minibatch of `total` tokens."""
        batch = collate(
            [rollout.prompts[i] for i in rows], [rollout.responses[i] for i in rows], backbone.device
        )
        index, wide = torch.from_numpy(rows).to(backbone.device), batch.mask.shape[1]
        logprob, states = logprobs_and_states(model, batch)
        old = rollout.logprob[index, :wide]
        with torch.no_grad():
            difference = logprob - old
            # Low-variance, never negative.
            moved = masked_mean(difference.exp() - 1 - difference, batch.mask, total)
        surrogate = policy_loss(logprob, old, advantages[index, :wide], batch.mask, options.clip, total)
        value = head(states)
        old_value, target = rollout.value[index, :wide], returns[index, :wide]
        error = value_loss(value, old_value, target, batch.mask, options.value_clip, total)
        return moved, surrogate, error

    def losses(name: tuple[int, int], rows: np.ndarray, parts: Parts) -> Iterator[torch.Tensor]:
        nonlocal sums
        sums = _Sums()
        total = rollout.mask[torch.from_numpy(rows).to(backbone.device)].sum()
        for number, part in enumerate(parts, start=1):
            moved, surrogate, error = (part.weight * figure for figure in share(rows[part.rows], total))
            sums.moved += float(moved)
            if number == len(parts):
                sums.moved = float(once.sum(name, torch.tensor(sums.moved, dtype=torch.float64)))
                if sums.moved > (options.early_stop_kl or math.inf):
                    raise _MovedEnough
            yield surrogate + options.value_coefficient * error
            sums.policy += float(surrogate.detach())
            sums.value += float(error.detach())

    for epoch in range(options.epochs):
        # Sorting inside an epoch would make every minibatch one kind of response, so only the columns
        # past a minibatch's longest response are dropped.
        cut = np.array_split(rng.permutation(len(lengths)), min(options.minibatches, len(lengths)))
        for number, rows in enumerate(cut):
            try:
                descend(
                    state,
                    [lengths[i] for i in rows],
                    partial(losses, (epoch, number), rows),
                    backbone.limits.training,
                    rate,
                    options.max_grad_norm,
                )
            except _MovedEnough:
                return _summary(done, sums.moved)
            done.append(sums)
    return _summary(done, sums.moved)


class _MovedEnough(Exception):
    """The new policy is as far from the old one as one rollout can carry it."""


@dataclass
class _Sums:
    """Sums over the parts of a minibatch; of the losses, only over those of this process."""

    policy: float = 0.0
    value: float = 0.0
    moved: float = 0.0
    """Estimate of KL(old || new), nats per token."""


def _summary(done: list[_Sums], moved: float) -> dict[str, float]:
    losses = np.array([(sums.policy, sums.value) for sums in done]).reshape(-1, 2)
    means = team().sum(torch.from_numpy(losses.mean(axis=0) if done else np.zeros(2)))
    return {
        "policy_loss": float(means[0]),
        "value_loss": float(means[1]),
        "old_to_new_kl": moved,
        "updates": float(len(done)),
    }
