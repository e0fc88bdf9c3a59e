"""The phases of `gpu_7b.py`: steps of MaxMin-RLHF on a model of random weights, apart and together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from gpu_bench import DTYPE, Bench, Expected, Noting, Timed, outcome

from prefbench import seeds
from prefbench.backbone.language import ppo
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.policies import LMReward
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.backbone.language.tokens import Ids
from prefbench.backbone.language.training import State
from prefbench.backbone.options import Tulu2Options
from prefbench.backbone.shapes import Shape
from prefbench.estimate.memory import CONTEXT_BYTES
from prefbench.learn import rewards as bradley_terry
from prefbench.learn.interface import Pairs, Reward, Rewards
from prefbench.learn.options import RewardOptions
from prefbench.learn.welfare import population_min
from prefbench.machine import free_memory
from prefbench.store.stages import Store
from prefbench.text import show_bytes
from prefbench.work import Passes, Recipe

GEMM = {"cuda": 8192, "cpu": 128}
"""Side of the square matrices whose product measures the rate of arithmetic."""
COPY_BYTES = {"cuda": 4 * 2**30, "cpu": 2**22}
"""Bytes whose copy measures the bandwidth."""
LOOP = {"cuda": 20, "cpu": 2}
"""Products or copies in one measurement of either."""
APART = "K rewards, K models"
"""The phase that shows what one base saves."""
REWARD_LEARNING_RATE = 1e-3
"""Large enough that a few steps move the adapters."""


def config_of(shape: Shape) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.positions,
        tie_word_embeddings=shape.tied,
    )


def random_model(shape: Shape, device: torch.device) -> Any:
    """A model whose weights are drawn one after the other, in their type, on the device."""
    from transformers import AutoModelForCausalLM

    with seeds.torch_seeded(0, "model"), device:
        return AutoModelForCausalLM.from_config(config_of(shape), dtype=DTYPE)


def word_tokenizer(vocabulary: int) -> Any:
    """A word for each token, none of them special: any tokens become a text and the same tokens again."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words)


def new_backbone(bench: Bench) -> CausalLM:
    """The reference and everything around it, as the preset has it."""
    options, preset = bench.options, Tulu2Options.model_validate({})
    tokenizer = word_tokenizer(bench.shape.vocabulary)
    # Nothing ends a response early.
    codec = Codec(tokenizer, frozenset(), options.response_tokens, bench.length)
    return CausalLM(
        random_model(bench.shape, bench.device),
        codec,
        digest="random",
        store=Store(bench.folder, Noting(bench.found["notes"])),
        lora={"r": options.rank, "lora_alpha": 2 * options.rank},
        policy_learning_rate=preset.policy_learning_rate,
        reward_learning_rate=REWARD_LEARNING_RATE,
        reward_pooling=preset.reward_pooling,
        gradient_checkpointing=not options.no_checkpointing,
        work=new_stage(bench),
    )


def new_stage(bench: Bench) -> Timed:
    return Timed("gpu_7b", bench.folder, clock=bench.clock)


def draw(bench: Bench, name: str, rows: int, length: int) -> list[Ids]:
    ids = seeds.rng(0, name).integers(0, bench.shape.vocabulary, (rows, length))
    return [[int(i) for i in row] for row in ids]


def draw_prompts(bench: Bench) -> list[Ids]:
    """A batch of prompts of which one is a token shorter, so that there is a mask as in most batches."""
    prompts = draw(bench, "prompts", bench.options.batch, bench.options.prompt_tokens)
    return [prompts[0][1:], *prompts[1:]]


def texts_of(backbone: CausalLM, rows: Sequence[Ids]) -> list[str]:
    return backbone.codec.decode(list(rows))


def recipe_of(bench: Bench) -> Recipe:
    """One iteration of PPO against K rewards, as the estimate counts it."""
    rewards = {"reward_batch": bench.options.batch // 2, "reward_checkpoint": "last"}
    options = {**bench.ppo_options.model_dump(), "iterations": 1, **rewards}
    return Recipe(options, bench.sizes, rewards=bench.options.k)


def iteration_of(bench: Bench) -> dict[str, list[Passes]]:
    """The passes of an iteration, by what they do."""
    recipe = recipe_of(bench)
    recipe.optimise("policy by PPO", bench.options.k)
    sample, policy, reference, rewards, train = recipe.works
    return {"sample": [sample], "logprob": [policy, reference], "score": [rewards], "train": [train]}


def before_a_step(works: Sequence[Passes]) -> list[Passes]:
    """The same passes while the optimiser has not made its moments."""
    return [replace(work, optimised=False) for work in works]


def measure_machine(bench: Bench) -> None:
    """The rate of arithmetic and the bandwidth that this device reaches at best."""
    kind = bench.device.type
    side, size, loop = GEMM[kind], COPY_BYTES[kind], LOOP[kind]
    found: dict[str, float | None] = {"gemm": side, "copied": size, "flops_per_second": None}
    bench.found["machine"] = found | {"bytes_per_second": None}

    def multiply() -> list[float]:
        generator = torch.Generator(bench.device).manual_seed(0)
        a = torch.randn(side, side, dtype=DTYPE, device=bench.device, generator=generator)
        result = torch.empty_like(a)
        return bench.timed(lambda: [torch.mm(a, a, out=result) for _ in range(loop)])[0]

    def copy() -> list[float]:
        source = torch.zeros(size, dtype=torch.uint8, device=bench.device)
        target = torch.empty_like(source)
        return bench.timed(lambda: [target.copy_(source) for _ in range(loop)])[0]

    # A copy reads as much as it writes.
    for name, work, amount in (("flops", multiply, 2 * side**3), ("bytes", copy, 2 * size)):
        times, _ = outcome(work)
        if times is not None:
            bench.found["machine"][f"{name}_per_second"] = amount * loop / median(times)


def load(bench: Bench) -> CausalLM | None:
    def compute() -> tuple[list[float], CausalLM]:
        started = bench.clock()
        backbone = new_backbone(bench)
        return [bench.clock() - started], backbone

    memory = {"weights of the reference": bench.setting.base_bytes, "context and fragments": CONTEXT_BYTES}
    backbone = bench.phase("load", Expected(memory), 0, compute)
    if backbone is not None:
        bench.found["model"]["attention"] = backbone.reference.model.config._attn_implementation
    return backbone


def train_rewards(bench: Bench, backbone: CausalLM) -> Rewards:
    """K rewards, each after as many steps as are measured; untrained ones where there is no room for that.

    They are neither centred nor scaled, which changes nothing that is measured.
    """
    options = bench.options
    pairs = options.batch // 2
    chosen, rejected = (
        texts_of(backbone, draw(bench, name, pairs, options.response_tokens))
        for name in ("chosen", "rejected")
    )
    data = Pairs(texts_of(backbone, draw_prompts(bench)[:pairs]), chosen, rejected)
    fit = RewardOptions.model_validate({"reward_epochs": 1 + options.repeats, "reward_batch": pairs})

    def compute() -> tuple[list[float], list[Reward]]:
        seconds: list[float] = []
        rewards: list[Reward] = []
        for k in range(options.k):
            stage = new_stage(bench)
            rewards.append(backbone.at(stage).fit_reward(data, fit, seed=k, name=str(k)))
            seconds.extend(stage.seconds)
        return seconds, rewards

    recipe = recipe_of(bench)
    recipe.fit_reward("rewards", pairs, 1, options.k)
    tokens = 2 * pairs * bench.length
    models = bench.phase("reward step", bench.expected(recipe.works[:1]), tokens, compute)
    models = models or [LMReward(backbone.new_reward(k), backbone) for k in range(options.k)]
    names = [str(k) for k in range(options.k)]
    rewards = Rewards(models, names, np.zeros(options.k), np.ones(options.k))
    # As in a run: what is used is read back from the disk.
    bradley_terry.save_rewards(bench.folder, rewards)
    return bradley_terry.load_rewards(backbone, bench.folder)


def parts_of_an_iteration(bench: Bench, backbone: CausalLM, rewards: Rewards) -> list[str]:
    """Each part of an iteration of PPO by itself; returns the responses."""
    options, works = bench.options, iteration_of(bench)
    prompts = draw_prompts(bench)
    rows, response = options.batch, options.response_tokens
    model = backbone.trainable_copy(0)
    head = ppo.ValueHead(backbone.width).to(backbone.device)
    state = State([model, head], backbone.policy_learning_rate)
    uniform = torch.rand((rows, response), generator=seeds.torch_generator(0, "tokens"), dtype=torch.float64)

    def sample(tokens: int) -> tuple[list[float], list[Ids]]:
        codec = replace(backbone.codec, response_tokens=tokens)
        given = (codec, prompts, 1, uniform[:, :tokens], backbone.limits.sampling)
        return bench.timed(partial(sample_tokens, model, *given))

    sampling = before_a_step(works["sample"])
    first = bench.expected(sampling, replace(bench.sizes, response=1))
    bench.phase("first token", first, rows * options.prompt_tokens, partial(sample, 1))
    drawn = bench.phase("sampling", bench.expected(sampling), rows * response, partial(sample, response))
    responses = drawn or draw(bench, "responses", rows, response)

    def logprob() -> tuple[list[float], ppo.Rollout]:
        with patch.object(ppo, "sample_tokens", lambda *_: responses):  # drawn already
            return bench.timed(partial(ppo.sample, backbone, model, head, prompts, 0, 0))

    expected = bench.expected(before_a_step(works["logprob"]))
    rollout = bench.phase("log-probabilities", expected, 2 * rows * bench.length, logprob)
    texts = texts_of(backbone, responses)
    if rollout is None:
        none = torch.zeros((rows, response), device=bench.device)
        rollout = ppo.Rollout(prompts, responses, texts, none, none, none, torch.ones_like(none).bool())

    def score() -> tuple[list[float], np.ndarray]:
        return bench.timed(partial(rewards, texts_of(backbone, prompts), texts))

    expected = bench.expected(before_a_step(works["score"]))
    matrix = bench.phase("scoring", expected, options.k * rows * bench.length, score)
    if matrix is None:
        matrix = seeds.rng(0, "rewards").standard_normal((rows, options.k))
    least = torch.from_numpy(population_min(matrix).astype(np.float32)).to(bench.device)
    kl = rollout.logprob - rollout.reference
    given = ppo.kl_penalised(least, kl, rollout.mask, backbone.kl_coefficient)

    def update() -> tuple[list[float], dict[str, float]]:
        return bench.timed(
            lambda: ppo.update(
                backbone,
                model,
                head,
                state,
                rollout,
                given,
                bench.ppo_options,
                1.0,
                seeds.rng(0, "minibatches"),
            )
        )

    bench.phase("PPO update", bench.expected(works["train"]), rows * bench.length, update)
    return texts


def iterate(bench: Bench, backbone: CausalLM, rewards: Rewards) -> None:
    """Whole iterations of MaxMin-RLHF's policy optimisation, as an aligner runs them."""

    def compute() -> tuple[list[float], bool]:
        stage = new_stage(bench)
        prompts = texts_of(backbone, draw_prompts(bench))
        bound = backbone.at(stage)
        bound.optimise(rewards, population_min, bench.ppo_options, prompts=prompts, seed=0)
        return stage.seconds, True

    works = list(itertools.chain.from_iterable(iteration_of(bench).values()))
    bench.phase("whole iteration", bench.expected(works), bench.options.batch * bench.length, compute)


def compare(bench: Bench, backbone: CausalLM, rewards: Rewards, texts: list[str]) -> None:
    """The K rewards on their one base, and then each on a model of its own."""
    k, rows = bench.options.k, bench.options.batch
    prompts = texts_of(backbone, draw_prompts(bench))

    work = Passes("rewards", "score", rows * k, rows * k, rows, held=k, vocabulary=False)
    expected = bench.expected([work])
    tokens = k * rows * bench.length
    score = partial(bench.timed, partial(rewards, prompts, texts))
    together = bench.phase("K rewards, one base", expected, tokens, score)
    more = (k - 1) * bench.setting.base_bytes
    base = expected.memory["weights of the reference"]
    separate = replace(expected, memory={**expected.memory, "weights of the reference": base + more})
    bench.meter.start()  # lets go of what it can, so that what is free is free
    free = free_memory(bench.device.type)[1]
    passing = expected.memory["activations"]
    if free is not None and more + passing > free:
        bench.skip(APART, f"needs {show_bytes(more + passing)} more, and {show_bytes(free)} are free")
        return

    def compute() -> tuple[list[float], np.ndarray]:
        first, *others = rewards.models
        models = [first, *(moved(bench, reward) for reward in others)]
        return bench.timed(partial(replace(rewards, models=models), prompts, texts))

    apart = bench.phase(APART, separate, tokens, compute)
    if together is None or apart is None:
        return
    difference = float(np.abs(together - apart).max())
    bench.found["rewards"] = {
        "k": k,
        "same_scores": difference == 0,
        "largest_difference": difference,
        "spread": [float(value) for value in together.std(axis=0)],
        "bytes_saved": more,
    }


def moved(bench: Bench, reward: Reward) -> Reward:
    """The same reward on another copy of the model."""
    file = bench.folder / "moved.safetensors"
    reward.save(file)
    return new_backbone(bench).load_reward(file)
