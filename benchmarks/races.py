"""Races: a fast path beside the plain way of doing the same, on a model of nano's size with random weights.

Both sides have to agree before they are a race. `ratios.py` times them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from setting import SIZES, backbone_of, fresh, llama_of, pairs_of

from prefbench import seeds
from prefbench.backbone.language import gpt2, passes, ppo, reward, rows
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.policies import LMPolicy
from prefbench.backbone.language.sampling import draw, sample_tokens
from prefbench.backbone.language.tokens import Ids, collate
from prefbench.backbone.language.training import PairBatches, State, schedule
from prefbench.learn.interface import RewardRequest
from prefbench.learn.options import PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.stats import intervals

NANO = SIZES["nano"]
PAIRS = 256
ROWS = 32
"""Responses that are sampled together: so few that the way into an operator counts, not only the operator."""
BETA = 0.1
BATCH = 100
"""Resamples that SciPy holds at once: about where it is fastest."""

Side = Callable[[], Any]


class Apart(Exception):
    """The two sides of an entry do not do the same."""


@dataclass(frozen=True)
class Race:
    """A fast path beside the plain one; they have been seen to agree."""

    fast: Side
    plain: Side


def agree(ours: Any, plain: Any, tolerance: Any) -> None:
    """Compare numbers, each within its tolerance.

    Raises:
        Apart: they differ by more.
    """
    gap = np.abs(np.asarray(ours, dtype=float) - np.asarray(plain, dtype=float))
    if not (gap <= tolerance).all():
        raise Apart(f"the two sides differ by {gap.max():.2g}")


def padded(function: Side) -> Side:
    """The same with models run by transformers, over a padded rectangle."""

    def run() -> Any:
        with (
            patch.object(gpt2, "applies", lambda model: False),
            patch.object(rows, "applies", lambda model: False),
        ):
            return function()

    return run


# --------------------------------------------------------------------------------------------------- training


def dpo_packed(folder: Path) -> Race:
    """An epoch of DPO without padding, and with it."""
    backbone, pairs = backbone_of(NANO, folder), pairs_of(NANO, PAIRS)
    options = PairwiseOptions(epochs=1, batch=NANO.batch, beta=BETA)

    def fit() -> Any:
        return fresh(backbone).fit_pairwise(pairs, DPO(BETA), options, seed=0)

    race = Race(fit, padded(fit))
    agree(*(side().logprob(pairs.prompts, pairs.chosen) for side in (race.fast, race.plain)), 1e-2)
    return race


def reference_cached(folder: Path) -> Race:
    """Four epochs of DPO, against the textbook's loop that asks the reference in every step."""
    backbone, pairs = backbone_of(NANO, folder), pairs_of(NANO, PAIRS // 2)
    options = PairwiseOptions(epochs=4, batch=NANO.batch, beta=BETA)

    def ours() -> Any:
        return fresh(backbone).fit_pairwise(pairs, DPO(BETA), options, seed=0)

    def textbook() -> LMPolicy:
        order = PairBatches(backbone, pairs, options.batch, options.epochs, 0, "pairwise")
        model = backbone.trainable_copy(0)
        optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
        warmup = max(1, len(order) // 20)
        for step, taken in enumerate(order.rows):
            batch = order.batch(step, np.arange(len(taken)))
            with torch.no_grad():
                anchor = logprobs(backbone.reference.model, batch).sum(1)
            log_ratio = logprobs(model, batch).sum(1) - anchor
            optimiser.zero_grad()
            DPO(BETA)(log_ratio[: len(taken)] - log_ratio[len(taken) :]).mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.param_groups[0]["lr"] = NANO.learning_rate * schedule(step, len(order), warmup)
            optimiser.step()
        return LMPolicy(model, backbone)

    agree(*(side().logprob(pairs.prompts, pairs.chosen) for side in (ours, textbook)), 1e-2)
    return Race(ours, textbook)


def reward_packed(folder: Path) -> Race:
    """An epoch of reward training without padding, and with it."""
    backbone, pairs = backbone_of(NANO, folder), pairs_of(NANO, PAIRS)
    options = RewardOptions(reward_epochs=1, reward_batch=NANO.batch)

    def fit() -> Any:
        return reward.fit(fresh(backbone), RewardRequest(pairs, options, seed=0, name="r"))

    race = Race(fit, padded(fit))
    agree(*(side().score(pairs.prompts, pairs.chosen) for side in (race.fast, race.plain)), 1e-2)
    return race


def ppo_packed(folder: Path) -> Race:
    """PPO's update on one batch of responses without padding, and with it."""
    backbone = backbone_of(NANO, folder)
    options = PPOOptions(batch=NANO.rollouts, early_stop_kl=None)
    start, head = backbone.trainable_copy(0), ppo.ValueHead(backbone.width)
    prompts = backbone.codec.prompts(pairs_of(NANO, NANO.rollouts).prompts)
    rollout = ppo.sample(backbone, start, head, prompts, 0, 0)
    score = rollout.mask.sum(1).float() / NANO.response[1]  # longer is better
    rewards = ppo.kl_penalised(score, rollout.logprob - rollout.reference, rollout.mask, 0.1)

    def update() -> LMPolicy:
        model, values = copy.deepcopy(start), copy.deepcopy(head)
        state = State([model, values], NANO.learning_rate)
        ppo.update(backbone, model, values, state, rollout, rewards, options, 1.0, np.random.default_rng(0))
        return LMPolicy(model, backbone)

    race = Race(update, padded(update))
    texts = pairs_of(NANO, PAIRS)
    agree(*(side().logprob(texts.prompts, texts.chosen) for side in (race.fast, race.plain)), 1e-2)
    return race


# --------------------------------------------------------------------------------------- scoring and sampling


def scoring_packed(folder: Path) -> Race:
    """Log-probabilities of responses without padding, and with it."""
    backbone, pairs = backbone_of(NANO, folder), pairs_of(NANO, PAIRS)
    score = partial(backbone.reference.logprob, pairs.prompts, pairs.chosen)
    race = Race(score, padded(score))
    agree(race.fast(), race.plain(), 1e-3)
    return race


def llama_scoring_rows(folder: Path) -> Race:
    """Log-probabilities by a Llama without padding, and with it."""
    backbone, pairs = backbone_of(NANO, folder, build=llama_of), pairs_of(NANO, PAIRS)
    score = partial(backbone.reference.logprob, pairs.prompts, pairs.chosen)
    race = Race(score, padded(score))
    agree(race.fast(), race.plain(), 1e-3)
    return race


def llama_dpo_rows(folder: Path) -> Race:
    """An epoch of DPO of adapters on a Llama without padding, and with it."""
    backbone = backbone_of(NANO, folder, build=llama_of, lora={"r": 16, "lora_alpha": 32})
    pairs, options = pairs_of(NANO, PAIRS), PairwiseOptions(epochs=1, batch=NANO.batch, beta=BETA)

    def fit() -> Any:
        return fresh(backbone).fit_pairwise(pairs, DPO(BETA), options, seed=0)

    race = Race(fit, padded(fit))
    agree(*(side().logprob(pairs.prompts, pairs.chosen) for side in (race.fast, race.plain)), 1e-2)
    return race


def logits_picked(folder: Path) -> Race:
    """Log-probabilities by a padded Llama with the logits that predict tokens, and with all of them."""
    backbone, pairs = backbone_of(NANO, folder, build=llama_of), pairs_of(NANO, ROWS)
    codec, model = backbone.codec, backbone.reference.model
    texts = codec.prompts(pairs.prompts), codec.responses(pairs.chosen)

    @torch.no_grad()
    def score() -> torch.Tensor:
        return logprobs(model, collate(*texts, backbone.device))

    @torch.no_grad()
    def every() -> torch.Tensor:
        batch = collate(*texts, backbone.device)
        logits = passes.call(model, batch.inputs, use_cache=False).logits
        chosen = logits[batch.places("before")].float().log_softmax(-1)
        return batch.spread(chosen.gather(1, batch.response[batch.mask][:, None])[:, 0])

    race = Race(padded(score), every)
    agree(race.fast(), race.plain(), 1e-4)
    return race


def scoring_in_buckets(folder: Path) -> Race:
    """Log-probabilities in batches of like length, against a response at a time through transformers."""
    backbone, pairs = backbone_of(NANO, folder), pairs_of(NANO, PAIRS)
    codec, model = backbone.codec, backbone.reference.model

    @torch.no_grad()
    def one_by_one() -> list[float]:
        found = []
        for p, r in zip(codec.prompts(pairs.prompts), codec.responses(pairs.chosen), strict=True):
            logits = model(input_ids=torch.tensor([p + r]), use_cache=False).logits[0]
            each = logits[len(p) - 1 : -1].log_softmax(-1)
            found.append(float(each[torch.arange(len(r)), torch.tensor(r)].sum()))
        return found

    score = partial(backbone.reference.logprob, pairs.prompts, pairs.chosen)
    agree(score(), one_by_one(), 1e-3)
    return Race(score, one_by_one)


class Sampling:
    """A response to each prompt, drawn with one table of uniform numbers."""

    def __init__(self, folder: Path) -> None:
        self.backbone = backbone_of(NANO, folder)
        self.prompts = self.backbone.codec.prompts(pairs_of(NANO, ROWS).prompts)
        shape = len(self.prompts), self.backbone.codec.response_tokens
        self.uniform = torch.rand(shape, generator=seeds.torch_generator(0, "u"), dtype=torch.float64)

    def sample(self) -> list[Ids]:
        backbone = self.backbone
        model, limit = backbone.reference.model, backbone.limits.sampling
        return sample_tokens(model, backbone.codec, self.prompts, 1, self.uniform, limit)

    def generate(self, processors: Any = None) -> list[Ids]:
        """transformers' own sampling, its draws made by its own means unless a processor makes them."""
        codec = self.backbone.codec
        torch.manual_seed(0)
        inputs = codec.tokenizer.pad({"input_ids": self.prompts}, return_tensors="pt")
        with torch.no_grad():
            ids = self.backbone.reference.model.generate(
                **inputs,
                do_sample=True,
                top_k=0,
                temperature=1.0,
                max_new_tokens=codec.response_tokens,
                eos_token_id=sorted(codec.stops),
                pad_token_id=codec.tokenizer.pad_token_id,
                logits_processor=processors,
            )
        rows: list[Ids] = ids[:, inputs["input_ids"].shape[1] :].tolist()
        ends = [next((i for i, token in enumerate(row) if token in codec.stops), len(row)) for row in rows]
        return [row[: end + 1] for row, end in zip(rows, ends, strict=True)]

    def given(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """A logits processor that leaves only the token which the table of uniform numbers draws."""
        token = draw(scores, self.uniform[:, ids.shape[1] - max(map(len, self.prompts))])
        return torch.full_like(scores, -torch.inf).scatter(1, token[:, None], 0.0)


def same_responses(ours: Sequence[Ids], plain: Sequence[Ids]) -> None:
    """Rounding may move a draw across the border of a token, if hardly ever."""
    different = sum(a != b for a, b in zip(ours, plain, strict=True))
    if different > len(ours) / 10:
        raise Apart(f"{different} of {len(ours)} responses are not the same")


def sampling_reader(folder: Path) -> Race:
    """Sampling with our reading of GPT-2, against our loop around transformers' passes and cache."""
    sampling = Sampling(folder)
    race = Race(sampling.sample, padded(sampling.sample))
    same_responses(race.fast(), race.plain())
    return race


def sampling_generate(folder: Path) -> Race:
    """Sampling, against `generate` of transformers."""
    from transformers import LogitsProcessorList

    sampling = Sampling(folder)
    same_responses(sampling.sample(), sampling.generate(LogitsProcessorList([sampling.given])))
    return Race(sampling.sample, sampling.generate)


# -------------------------------------------------------------------------------------------------- bootstrap


def bootstrap(values: np.ndarray) -> Race:
    """Bootstrap intervals of group means, against SciPy's.

    An end of such an interval errs by sqrt(p (1 - p) / B) / f, with p the share of the B resamples beyond it
    and f the density there: 0.027 standard errors of the mean for 95% and 10,000 resamples. Two independent
    ends may differ by five times sqrt(2) as much.
    """
    from scipy import stats

    def ours() -> np.ndarray:
        means = intervals.resample_means([values], np.random.default_rng(0))
        return np.quantile(means, [0.025, 0.975], axis=0)

    def plain() -> np.ndarray:
        rng, n = np.random.default_rng(0), intervals.RESAMPLES
        found = stats.bootstrap(
            (values,), np.mean, axis=0, n_resamples=n, batch=BATCH, method="percentile", rng=rng
        )
        return np.stack(found.confidence_interval)

    end = stats.norm.ppf(0.975)
    error = np.sqrt(0.025 * 0.975 / intervals.RESAMPLES) / stats.norm.pdf(end)
    agree(ours(), plain(), 5 * np.sqrt(2) * error * values.std(axis=0) / np.sqrt(len(values)))
    return Race(ours, plain)


def bootstrap_outcomes(folder: Path) -> Race:
    """Of one comparison a prompt: a loss, a tie or a win for each of two groups."""
    return bootstrap(np.random.default_rng(0).choice([0.0, 0.5, 1.0], size=(800, 2), p=[0.3, 0.1, 0.6]))


def bootstrap_scores(folder: Path) -> Race:
    """Of scores that are all different."""
    return bootstrap(np.random.default_rng(0).beta(2, 1, size=(800, 2)))


RACES: Mapping[str, Callable[[Path], Race]] = {
    "dpo-packed": dpo_packed,
    "reward-packed": reward_packed,
    "ppo-packed": ppo_packed,
    "scoring-packed": scoring_packed,
    "llama-scoring-rows": llama_scoring_rows,
    "llama-dpo-rows": llama_dpo_rows,
    "logits-picked": logits_picked,
    "sampling-reader": sampling_reader,
    "sampling-generate": sampling_generate,
    "scoring-buckets": scoring_in_buckets,
    "reference-cached": reference_cached,
    "bootstrap-outcomes": bootstrap_outcomes,
    "bootstrap-scores": bootstrap_scores,
}
