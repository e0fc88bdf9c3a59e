"""Figures of what language models learn, by every learner and aligner: losses, a gradient, outcomes."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import torch

from prefbench import registry, seeds
from prefbench.backbone.language import training
from prefbench.backbone.language.build import fit_language_model
from prefbench.backbone.language.nano import new_gpt2
from prefbench.backbone.language.networks import Pooling
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.backbone.options import NanoOptions
from prefbench.learn import em, pairwise
from prefbench.learn import options as learning
from prefbench.learn import rewards as bradley_terry
from prefbench.learn import welfare as welfares
from prefbench.learn.interface import PairwiseLoss, Rewards
from prefbench.store.stages import Work
from prefbench.text import text_digest
from support.figures.choices import FEW, few, label, variants
from support.figures.language import heard, held_out, labelled, language, language_bench, talk, tokenizer
from support.figures.numbers import flat, projected
from support.figures.sections import DESCENT, EXACT, SECTIONS, Figures, Section, entries, section
from support.tiny import SENTENCES


@dataclass
class Trace:
    """What was seen of training."""

    losses: list[float]
    gradient: list[float]
    """Of the first step, for each weight: its sum over a fixed direction."""


@contextlib.contextmanager
def traced() -> Iterator[Trace]:
    """Look on while something is trained."""
    trace = Trace([], [])
    step, clip = training.State.step, torch.nn.utils.clip_grad_norm_

    def stepped(self: Any, *args: Any, **kwargs: Any) -> Any:
        value = step(self, *args, **kwargs)
        trace.losses.append(value)
        return value

    def clipped(parameters: Any, *args: Any, **kwargs: Any) -> Any:
        weights = list(parameters)
        if not trace.gradient:
            trace.gradient = [projected(p.grad.numpy(), 1)[0] for p in weights if p.grad is not None]
        return clip(weights, *args, **kwargs)

    with (
        mock.patch.object(training.State, "step", stepped),
        mock.patch.object(torch.nn.utils, "clip_grad_norm_", clipped),
    ):
        yield trace


def trained(learn: Callable[[], Any]) -> Figures:
    """Losses, the first gradient and the outcome of a learner."""
    with traced() as trace:
        result = learn()
    figures: Figures = {"losses": trace.losses, "gradient": trace.gradient}
    if hasattr(result, "score"):
        return {**figures, "score": projected(result.score(*held_out()))}
    return {**figures, **heard(result)}


@section("learner/reference", DESCENT)
def reference(folder: Path) -> Figures:
    """The nano model: its tokenizer, its first weights and three steps on a corpus."""
    words = tokenizer()
    small = NanoOptions(width=16, layers=1, heads=2, context=32, vocabulary=300)
    model = new_gpt2(words, small, 0)
    ids = [[*row, words.eos_token_id] for row in words(list(SENTENCES) * 4)["input_ids"]]
    first = [projected(weight.detach().numpy(), 1)[0] for weight in model.parameters()]
    with traced() as trace:
        fit_language_model(model, ids, 32, 3, 8, small.learning_rate, 0, Work("figures", folder))
    last = [projected(weight.detach().numpy(), 1)[0] for weight in model.parameters()]
    vocabulary = sorted(words.get_vocab().items(), key=lambda item: item[1])
    return {
        "vocabulary": text_digest([word for word, _ in vocabulary]),
        "tokens": ids[0],
        "weights": first,
        "trained": last,
        "losses": trace.losses,
        "gradient": trace.gradient,
    }


def _reward(folder: Path, **model: Any) -> Figures:
    options = learning.RewardOptions(reward_epochs=1, reward_batch=12)
    backbone = language(folder, **model)
    return trained(lambda: backbone.fit_reward(labelled(), options, seed=0, name="figures"))


@section("learner/reward", DESCENT)
def reward(folder: Path) -> Figures:
    """Bradley-Terry rewards, both poolings."""
    return flat({pooling: _reward(_new(folder), pooling=pooling) for pooling in get_args(Pooling)})


@section("learner/weighted", DESCENT)
def weighted(folder: Path) -> Figures:
    """A reward of weighted pairs, which starts from another."""
    pairs, backbone = labelled(), language(folder)
    options = learning.RewardOptions(reward_epochs=1, reward_batch=12)
    start = backbone.fit_reward(pairs, options, seed=0, name="start")
    pairs = replace(pairs, weights=np.arange(1, len(pairs) + 1) / len(pairs))
    return trained(lambda: backbone.fit_reward(pairs, options, seed=0, name="next", start=start))


PAIRWISE: dict[str, tuple[PairwiseLoss, float | None]] = {
    "dpo": (pairwise.DPO(0.5), None),
    "smoothed": (pairwise.DPO(0.5, 0.1), None),
    "ipo": (pairwise.IPO(0.5), None),
    "robust": (pairwise.DPO(0.5), 0.5),
}


def _pairwise(kind: str, folder: Path, **model: Any) -> Figures:
    loss, group_step = PAIRWISE[kind]
    options = learning.PairTrainingOptions(epochs=1, batch=12)
    backbone = language(folder, **model)
    return trained(lambda: backbone.fit_pairwise(labelled(), loss, options, seed=0, group_step=group_step))


def wishes(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
    """Two rewards that depend on the letters of a response."""
    return np.array([[sum(map(ord, r)) % 7 / 3 - 1, len(r) / 9 - 1] for r in responses])


def _softest(values: np.ndarray) -> float:
    """A smooth minimum of the groups' values, concave and rising."""
    return -float(np.logaddexp.reduce(-values))


def _ppo(kind: Any, folder: Path, choice: Mapping[str, Any] | None = None, **model: Any) -> Figures:
    short = {"iterations": 3, "batch": 8, "minibatches": 2, "epochs": 1}
    options = learning.PPOOptions(**short | (choice or {}))
    backbone = language(folder, **model)
    shares = None if kind == "mean" else (0.7, 0.3)
    own = welfares.Welfare.of_values(_softest, lambda v: np.exp(-v) / np.exp(-v).sum(), concave=True)
    aim = own if kind == "of_values" else welfares.Welfare(kind, shares)
    prompts = talk()[0].prompts.train
    figures = trained(
        lambda: backbone.optimise(
            wishes, aim, options, prompts=prompts, seed=0, names=["one", "other"], held_out=[labelled()]
        )
    )
    history = json.loads((backbone.work.path / "history.json").read_text())
    return {**figures, "history": [value for row in history for value in row.values()]}


def _mixture(choice: Mapping[str, Any], folder: Path) -> Figures:
    some = {key: value for key, value in FEW.items() if key in learning.EMOptions.model_fields}
    options, backbone = learning.EMOptions(**some | choice), language(folder)
    return learned(em.fit_mixture(backbone, labelled(), options, 0, labelled()))


def _new(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


def _adapted(folder: Path, architecture: str, lora: dict[str, Any] | None) -> Figures:
    """Reward, DPO and PPO of another architecture, or with LoRA."""
    model: dict[str, Any] = {"architecture": architecture, "lora": lora, "pooling": "last"}
    return flat(
        {
            "reward": _reward(_new(folder), **model),
            "dpo": _pairwise("dpo", _new(folder), **model),
            "ppo": _ppo("population_min", _new(folder), **model),
        }
    )


@section("learner/combined", DESCENT)
def combined(folder: Path) -> Figures:
    """The product and the average of two policies."""
    backbone = language(folder)
    options = learning.PairTrainingOptions(epochs=1, batch=12)
    parts = [
        backbone.fit_pairwise(labelled(), pairwise.DPO(0.5), options, seed=seed, name=str(seed))
        for seed in (0, 1)
    ]
    product = backbone.log_linear(parts, [0.8, 0.4])
    said = product.sample(held_out()[0], 1, seeds.child(0, "figures"))
    return flat(
        {
            "log_linear": heard(product),
            "average": heard(backbone.average(parts, [0.8, 0.2])),
            "samples": text_digest([row[0] for row in said]),
        }
    )


@section("sampler", DESCENT)
def sampler(folder: Path) -> Figures:
    """Tokens for fixed numbers, and log-probabilities, of both architectures."""
    result: Figures = {}
    for architecture in ("gpt2", "llama"):
        backbone = language(_new(folder), architecture)
        codec = backbone.codec
        prompts = codec.prompts(held_out()[0])
        uniform = torch.from_numpy(np.random.default_rng(3).random((2 * len(prompts), codec.response_tokens)))
        drawn = sample_tokens(backbone.reference.model, codec, prompts, 2, uniform, backbone.limits.sampling)
        result |= flat({architecture: {"tokens": drawn, **heard(backbone.reference)}})
    return result


@section("learner/linear", EXACT)
def linear(folder: Path) -> Figures:
    """Linear rewards, and EM on them."""
    rng = np.random.default_rng(4)
    taste = np.array([[2.0, 0.0, 0.5, -1.0], [-2.0, 1.0, 0.0, 1.0]])
    user = np.repeat(np.arange(8), 12)
    difference = rng.normal(size=(len(user), 4))
    liked = rng.random(len(user)) < 1 / (1 + np.exp(-(difference * taste[user % 2]).sum(1)))
    difference = np.where(liked[:, None], difference, -difference)
    start = em.best_start(difference, user, 2, 2, seed=0)
    return {
        "weights": bradley_terry.fit_linear(difference, precise=True).tolist(),
        "loose": bradley_terry.fit_linear(difference, 2.0, rng.random(len(user))).tolist(),
        "together": (start.assignment == start.assignment[0]).tolist(),
        "likelihood": start.likelihood,
    }


def _aligner(name: str, choice: Mapping[str, Any], folder: Path) -> Figures:
    entry = registry.get("aligner", name)
    bench = language_bench(folder, several=3 if "votes" in entry.needs else 1)
    made = bench.align(entry, few(entry) | choice)
    said = bench.answers(entry, made, heard)
    return {**said, **({} if made.rewards is None else learned(made.rewards))}


def learned(rewards: Rewards) -> Figures:
    """What rewards say of fixed responses, and how annotators were placed."""
    figures: Figures = {"rewards": projected(rewards(*held_out()))}
    if rewards.em is not None:
        assert rewards.assignment is not None
        figures |= {
            "clusters": [cluster for _, cluster in sorted(rewards.assignment.items())],
            "likelihood": rewards.em["log_likelihood"],
        }
    return figures


LORA = {"r": 2, "lora_alpha": 4}
LEARNERS = (learning.EMOptions, learning.PPOOptions, learning.PairwiseOptions)
"""Whose choices have sections of their own, so that each aligner need not go through them."""


def fill() -> None:
    """Sections for every aligner of language models, and for every learner and its choices."""
    for entry in entries("aligner"):
        if "causal_lm" in entry.backbones:
            for choice in ({}, *variants(entry.options, LEARNERS)):
                SECTIONS[f"aligner/{entry.name}/{label(choice)}"] = Section(
                    functools.partial(_aligner, entry.name, choice), DESCENT
                )
    for kind in PAIRWISE:
        SECTIONS[f"learner/{kind}"] = Section(functools.partial(_pairwise, kind), DESCENT)
    for kind in get_args(welfares.WelfareKind):
        SECTIONS[f"learner/ppo {kind}"] = Section(functools.partial(_ppo, kind), DESCENT)
    for choice in variants(learning.PPOOptions):
        SECTIONS[f"learner/ppo {label(choice)}"] = Section(
            functools.partial(_ppo, "mean", choice=choice), DESCENT
        )
    for choice in ({}, *variants(learning.EMOptions)):
        SECTIONS[f"learner/em {label(choice)}"] = Section(functools.partial(_mixture, choice), DESCENT)
    for architecture, lora in (("llama", None), ("llama", LORA), ("gpt2", LORA)):
        name = f"learner/{architecture}{' lora' if lora else ''}"
        SECTIONS[name] = Section(functools.partial(_adapted, architecture=architecture, lora=lora), DESCENT)
