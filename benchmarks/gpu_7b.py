"""What MaxMin-RLHF with 7 B parameters takes on one GPU: `python benchmarks/gpu_7b.py --json 7b.json`.

The model has the shape of Tulu2-7B (`--size 7b`) and random weights, drawn in bfloat16 where they stay:
memory and time do not depend on their values, and nothing is fetched. Its tokenizer has a word for each
token, so that a sampled response and its text are the same tokens. Everything that is measured is the
harness's own code: fits of K rewards, sampling, log-probabilities, scores, an update, whole iterations of
PPO, and last the same K rewards on K models. Rows are equally long, but for one that is padded, and none
ends early.

Beside each phase stands what `prefbench run --dry-run` would say of it. docs/large-models.md explains the
columns. On a CPU (`--size toy`) only that it runs is of interest, not how fast.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import torch
from setting import Parser, at_least
from tabulate import tabulate

import prefbench
from prefbench import seeds
from prefbench.backbone.language import ppo
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.memory import attempt
from prefbench.backbone.language.policies import LMReward
from prefbench.backbone.language.sampling import sample_tokens
from prefbench.backbone.language.tokens import Ids
from prefbench.backbone.language.training import State
from prefbench.backbone.options import Tulu2Options
from prefbench.backbone.shapes import SHAPES, Shape
from prefbench.errors import PrefbenchError
from prefbench.estimate.estimate import assumptions
from prefbench.estimate.hardware import HARDWARE, Hardware, known_hardware
from prefbench.estimate.memory import CONTEXT_BYTES, memory
from prefbench.estimate.setting import ModelSetting
from prefbench.estimate.time import flops, seconds
from prefbench.learn import rewards as bradley_terry
from prefbench.learn.interface import Pairs, Reward, Rewards
from prefbench.learn.options import PPOOptions, RewardOptions
from prefbench.learn.welfare import population_min
from prefbench.machine import free_memory
from prefbench.store.progress import Silent
from prefbench.store.stages import Store, Work
from prefbench.text import show_bytes, show_count
from prefbench.work import Passes, Recipe, Sizes

T = TypeVar("T")

SIZES: Mapping[str, Shape] = {
    "7b": SHAPES["tulu2-7b"],
    "1b": Shape(22, 2048, 32, 4, 5632, 32000, 2048, tied=False, gated=True, biases=False),
    "toy": Shape(2, 64, 4, 2, 172, 512, 512, tied=False, gated=True, biases=False),
}
DTYPE = torch.bfloat16
GEMM = {"cuda": 8192, "cpu": 128}
"""Side of the square matrices whose product measures the rate of arithmetic."""
COPY_BYTES = {"cuda": 4 * 2**30, "cpu": 2**22}
"""Bytes whose copy measures the bandwidth."""
LOOP = {"cuda": 20, "cpu": 2}
"""Products or copies in one measurement of either."""
APART = "K rewards, K models"
"""The phase that shows what one base saves."""
NEAR = 0.1
"""An estimate is near if the measured figure is within this share of it."""
REWARD_LEARNING_RATE = 1e-3
"""Large enough that a few steps move the adapters."""


# ------------------------------------------------------------------------------------ what is measured with


class Meter:
    """The most memory that a phase took."""

    unknown: str | None = None
    """Why there are no figures."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type != "cuda":
            self.unknown = "torch counts the memory of a GPU only"

    def start(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def allocated(self) -> int | None:
        """Bytes of tensors."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None

    def reserved(self) -> int | None:
        """Bytes that the allocator took from the device for them."""
        return torch.cuda.max_memory_reserved() if self.device.type == "cuda" else None

    def outside(self) -> int | None:
        """Bytes in use on the device that are not the allocator's: context, kernels, and other processes."""
        if self.device.type != "cuda":
            return None
        free, total = torch.cuda.mem_get_info()
        return total - free - torch.cuda.memory_reserved()


@dataclass
class Noting(Silent):
    """Keeps what a person should see."""

    notes: list[str]

    def note(self, message: str) -> None:
        self.notes.append(message)


@dataclass
class Timed(Work):
    """A stage that notes when each step was done, and keeps no checkpoints: writing them is not measured."""

    clock: Callable[[], float] = time.perf_counter
    marks: list[float] = field(default_factory=list)

    def report(self, done: int, total: int, **values: float) -> None:
        self.marks.append(self.clock())

    def due(self) -> bool:
        return False

    def save(self, name: str, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Nothing."""

    @property
    def seconds(self) -> list[float]:
        """Of each step but the first, which is for warming up."""
        return [after - before for before, after in itertools.pairwise(self.marks)]


@dataclass
class Expected:
    """What the estimate says of a phase."""

    memory: Mapping[str, float]
    """Bytes by part."""
    flops: float | None = None
    flops_without_recomputation: float | None = None
    seconds: float | None = None
    """On the hardware of the data sheets, by the assumptions of `estimate/time.py`; None elsewhere."""


@dataclass
class Bench:
    """What is measured, on what, and what was found."""

    options: argparse.Namespace
    device: torch.device
    meter: Meter
    folder: Path
    """For what the harness writes; thrown away."""
    found: dict[str, Any]

    @property
    def shape(self) -> Shape:
        return SIZES[self.options.size]

    @property
    def length(self) -> int:
        return int(self.options.prompt_tokens + self.options.response_tokens)

    @property
    def setting(self) -> ModelSetting:
        return ModelSetting(
            self.shape,
            DTYPE.itemsize,
            rank=self.options.rank,
            checkpointing=not self.options.no_checkpointing,
            context=self.length,
        )

    @property
    def sizes(self) -> Sizes:
        prompt = self.options.prompt_tokens
        return Sizes(
            train=self.options.batch,
            validation=0,
            test=0,
            groups=self.options.k,
            instructed=0,
            sampled=True,
            prompt=float(prompt),
            longest_prompt=prompt,
            text=0.0,
            response=self.options.response_tokens,
        )

    @property
    def hardware(self) -> Hardware | None:
        name = self.found["device"]["hardware"]
        return None if name is None else HARDWARE[name]

    @property
    def ppo_options(self) -> PPOOptions:
        rounds, batch = 1 + self.options.repeats, self.options.batch
        given = {"iterations": rounds, "batch": batch, "minibatches": 1, "epochs": 1, "early_stop_kl": None}
        return PPOOptions.model_validate(given)

    def clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, compute: Callable[[], T]) -> tuple[list[float], T]:
        """Seconds of each repetition after one for warming up, and the last value."""
        marks = []
        for _ in range(1 + self.options.repeats):
            started = self.clock()
            value = compute()
            marks.append(self.clock() - started)
        return marks[1:], value

    def expected(self, works: Sequence[Passes], sizes: Sizes | None = None) -> Expected:
        """What the estimate says of passes that follow each other."""
        setting, sizes = self.setting, sizes or self.sizes
        plain = replace(setting, checkpointing=False)
        each = [memory(work, setting, sizes) for work in works]
        return Expected(
            max(each, key=lambda parts: sum(parts.values())),
            sum(flops(work, setting, sizes) for work in works),
            sum(flops(work, plain, sizes) for work in works),
            None
            if self.hardware is None
            else sum(seconds(work, setting, sizes, self.hardware) for work in works),
        )

    def phase(
        self, name: str, expected: Expected, tokens: int, compute: Callable[[], tuple[list[float], T]]
    ) -> T | None:
        """Measure a phase and note it; its value, or None where it could not be done.

        Args:
            name: of the phase.
            expected: what the estimate says of it.
            tokens: that one repetition draws, or puts through the model, padding included.
            compute: gives the seconds of each repetition and a value.
        """
        print(f"  {name} ...", end="", flush=True)
        self.meter.start()
        notes = len(self.found["notes"])
        done, why = outcome(compute)
        seconds, value = done or ([], None)
        said = self.found["notes"][notes:]
        entry: dict[str, Any] = {
            "name": name,
            "status": "ok" if why is None else "out of memory" if "memory ran out" in why else "failed",
            "why": why,
            "notes": said,
            "seconds": median(seconds) if seconds else None,
            "seconds_each": seconds,
            "seconds_expected": expected.seconds,
            "tokens": tokens,
            "tokens_per_second": tokens / median(seconds) if seconds and tokens else None,
            "memory": self.memory(expected, whole=why is None and not said),
        }
        if expected.flops is not None:
            entry["arithmetic"] = self.arithmetic(expected, entry["seconds"])
        print(f" {entry['status']}" if entry["seconds"] is None else f" {entry['seconds']:.3g} s", flush=True)
        self.note(entry)
        return value

    def memory(self, expected: Expected, whole: bool) -> dict[str, Any]:
        """What a phase took against what the estimate says; no ratio where a batch went in parts."""
        parts = dict(expected.memory)
        allowance = parts.pop("context and fragments")
        said, allocated = sum(parts.values()), self.meter.allocated()
        ratio = None if allocated is None or not whole else allocated / said
        return {
            "allocated": allocated,
            "reserved": self.meter.reserved(),
            "unknown": self.meter.unknown,
            "estimated": said,
            "estimated_parts": parts,
            "estimated_with_allowance": said + allowance,
            "ratio": ratio,
            "near": near(ratio),
        }

    def arithmetic(self, expected: Expected, seconds: float | None) -> dict[str, float | None]:
        """Rates of a phase's arithmetic, and what share they are of what the device can do."""
        gemm = self.found["machine"]["flops_per_second"]
        peak = None if self.hardware is None else self.hardware.bfloat16
        rate = share(expected.flops, seconds)
        return {
            "flops": expected.flops,
            "flops_without_recomputation": expected.flops_without_recomputation,
            "flops_per_second": rate,
            "share_of_gemm": share(rate, gemm),
            "share_of_gemm_without_recomputation": share(
                share(expected.flops_without_recomputation, seconds), gemm
            ),
            "share_of_peak": share(rate, peak),
        }

    def note(self, entry: dict[str, Any]) -> None:
        """Add a phase to what was found, on the disk as well: time on a machine may end at any phase."""
        self.found["phases"].append(entry)
        self.write()

    def skip(self, name: str, why: str) -> None:
        print(f"  {name}: skipped, {why}", flush=True)
        self.note({"name": name, "status": "skipped", "why": why})

    def write(self) -> None:
        if self.options.json is not None:
            self.options.json.write_text(json.dumps(self.found, indent=1, allow_nan=False) + "\n")


def outcome(compute: Callable[[], T]) -> tuple[T | None, str | None]:
    """What `compute` returns, or None and why not; what it held is free by then."""
    try:
        value = attempt(compute)
    except PrefbenchError as error:
        return None, str(error)
    return value, "memory ran out" if value is None else None


def share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or whole is None else part / whole


def near(ratio: float | None) -> bool | None:
    return None if ratio is None else abs(ratio - 1) <= NEAR


# ------------------------------------------------------------------------------------------- what is run


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
    options = {**bench.ppo_options.model_dump(), "iterations": 1, "reward_batch": bench.options.batch // 2}
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
    given = ppo.kl_penalised(least, kl, rollout.mask, bench.ppo_options.kl_coefficient)

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


# ---------------------------------------------------------------------------------------- what is made of it


def decoding(bench: Bench) -> dict[str, float | None] | None:
    """One step of sampling: what it reads, and how near that comes to the bandwidth of a copy."""
    times = {entry["name"]: entry.get("seconds") for entry in bench.found["phases"]}
    first, whole = times.get("first token"), times.get("sampling")
    if first is None or whole is None:
        return None
    shape, setting, options = bench.shape, bench.setting, bench.options
    seconds = (whole - first) / (options.response_tokens - 1)
    # Of the embedding a row for each token is read, unless it is the output layer too.
    table = 0 if shape.tied else shape.vocabulary * shape.hidden * setting.bytes
    weights = setting.base_bytes - table + setting.trained * setting.trained_bytes
    cache = setting.cache(options.batch, options.prompt_tokens + options.response_tokens / 2)
    bandwidth = bench.found["machine"]["bytes_per_second"]
    return {
        "seconds_per_step": seconds,
        "tokens_per_second": options.batch / seconds,
        "bytes_of_weights": weights,
        "bytes_of_cache": cache,
        "weights_per_second": weights / seconds,
        "share_of_bandwidth": share(weights / seconds, bandwidth),
        "share_of_bandwidth_with_cache": share((weights + cache) / seconds, bandwidth),
    }


def in_all(bench: Bench) -> dict[str, Any]:
    """The most memory of the whole path, what is no tensor included, against the estimate."""
    done = [
        entry["memory"]
        for entry in bench.found["phases"]
        if entry["status"] == "ok" and entry["name"] != APART  # what a run does without
    ]
    reserved = [memory["reserved"] for memory in done if memory["reserved"] is not None]
    outside = bench.meter.outside()
    used = None if outside is None or not reserved else max(reserved) + outside
    said = max((memory["estimated_with_allowance"] for memory in done), default=None)
    ratio = share(used, said)
    return {
        "outside_the_allocator": outside,
        "used": used,
        "unknown": bench.meter.unknown,
        "estimated": said,
        "ratio": ratio,
        "near": near(ratio),
    }


def show(value: float | None, unit: float = 1.0, digits: int = 3) -> str:
    return "" if value is None else f"{value / unit:.{digits}g}"


def tables(found: dict[str, Any]) -> str:
    """The phases, then what is of the whole."""
    rows = []
    for entry in found["phases"]:
        memory, work = entry.get("memory", {}), entry.get("arithmetic", {})
        near = memory.get("near")
        rows.append(
            [
                entry["name"],
                entry["status"],
                show(entry.get("seconds")),
                show(entry.get("seconds_expected")),
                show(entry.get("tokens_per_second"), digits=4),
                show(work.get("flops_per_second"), 1e12),
                show(work.get("share_of_gemm"), 0.01),
                show(memory.get("allocated"), 1e9, 4),
                show(memory.get("reserved"), 1e9, 4),
                show(memory.get("estimated"), 1e9, 4),
                show(memory.get("ratio")),
                "" if near is None else "yes" if near else "no",
            ]
        )
    headers = ["phase", "status", "s", "said s", "tokens/s", "TFLOP/s", "% of GEMM", "allocated GB"]
    headers += ["reserved GB", "estimated GB", "ratio", "within 10%"]
    lines = [tabulate(rows, headers, tablefmt="github", disable_numparse=True), ""]
    return "\n".join([*lines, *summary(found)])


def summary(found: dict[str, Any]) -> list[str]:
    machine, step, rewards, peak = (found[name] for name in ("machine", "decode", "rewards", "in_all"))
    lines = [
        f"device: {found['device']['name']}; product of {machine['gemm']}^2 matrices "
        f"{show(machine['flops_per_second'], 1e12)} TFLOP/s, "
        f"copy {show(machine['bytes_per_second'], 1e9)} GB/s"
    ]
    if step is not None:
        lines.append(
            f"a step of sampling: {show(step['seconds_per_step'], 1e-3)} ms, "
            f"{show(step['weights_per_second'], 1e9)} GB/s of weights, "
            f"{show(step['share_of_bandwidth'], 0.01)}% of the copy's bandwidth"
        )
    if rewards is not None:
        same = "the same scores" if rewards["same_scores"] else "other scores"
        lines.append(
            f"{rewards['k']} rewards on one base and on models of their own: {same}, largest difference "
            f"{rewards['largest_difference']:.2g}; one base saves {show_bytes(rewards['bytes_saved'])}"
        )
    if peak["used"] is not None:
        lines.append(
            f"in all: {show_bytes(peak['used'])} of the device, estimated {show_bytes(peak['estimated'])}, "
            f"ratio {show(peak['ratio'])}"
        )
    elif peak["unknown"] is not None:
        lines.append(f"no memory figures: {peak['unknown']}")
    lines.extend(f"{entry['name']}: {entry['why']}" for entry in found["phases"] if entry["why"])
    return [*lines, *found["notes"]]


def plan(bench: Bench) -> str:
    """What will be done, in a few lines."""
    options = bench.options
    works = list(itertools.chain.from_iterable(iteration_of(bench).values()))
    said = sum(bench.expected(works).memory.values())
    return (
        f"{options.size}: {show_count(bench.shape.parameters)} random weights in bfloat16 on "
        f"{bench.found['device']['name']}; {options.k} rewards and a policy, "
        f"adapters of rank {options.rank}, "
        f"{'no checkpointing' if options.no_checkpointing else 'checkpointed'}\n"
        f"{options.batch} prompts of {options.prompt_tokens} tokens, responses of {options.response_tokens}, "
        f"{options.repeats} repetitions after one for warming up; an iteration needs about {show_bytes(said)}"
    )


def new_found(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    import transformers

    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    shape = SIZES[options.size]
    return {
        "options": {key: value for key, value in vars(options).items() if key != "json"},
        "device": {"name": name, "hardware": known_hardware(name)},
        "versions": {
            "prefbench": prefbench.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "transformers": transformers.__version__,
        },
        "model": {"parameters": shape.parameters, "dtype": str(DTYPE).removeprefix("torch.")},
        "assumed": assumptions(),
        "machine": {},
        "phases": [],
        "decode": None,
        "rewards": None,
        "in_all": None,
        "notes": [],
    }


def measure(bench: Bench) -> None:
    """Every phase, one after the other."""
    measure_machine(bench)
    backbone = load(bench)
    if backbone is not None:
        rewards = train_rewards(bench, backbone)
        texts = parts_of_an_iteration(bench, backbone, rewards)
        iterate(bench, backbone, rewards)
        compare(bench, backbone, rewards, texts)
    bench.found["decode"] = decoding(bench)
    bench.found["in_all"] = in_all(bench)
    bench.write()


# ---------------------------------------------------------------------------------------------- command line


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description="What MaxMin-RLHF on a large model takes on one GPU.")
    parser.add_argument("--size", choices=tuple(SIZES), default="7b")
    for name, least, value, what in (
        ("batch", 2, 16, "prompts, and rows of a training pass; even"),
        ("prompt-tokens", 2, 128, "tokens of a prompt"),
        ("response-tokens", 2, 128, "tokens of a response"),
        ("k", 1, 2, "reward adapters"),
        ("rank", 1, 16, "of the adapters"),
        ("repeats", 1, 3, "measurements, after one that is left out"),
    ):
        parser.add_argument(f"--{name}", type=at_least(least), default=value, help=f"{what}; default {value}")
    parser.add_argument("--no-checkpointing", action="store_true", help="keep activations")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args(arguments)
    positions = SIZES[options.size].positions
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device: say --device cpu --size toy")
    if options.device == "cpu" and options.size != "toy":
        parser.error(f"--size {options.size} needs a GPU: say --size toy")
    if options.batch % 2:
        parser.error(f"--batch {options.batch} is odd, and rewards are trained on pairs")
    if options.prompt_tokens + options.response_tokens > positions:
        parser.error(f"prompt and response are longer than the model's {positions} positions")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: there is no such folder")
    return options


def main(arguments: Sequence[str] | None = None, meter: Meter | None = None) -> int:
    """Exit code 3 where a phase could not be done."""
    options = parsed(arguments)
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        found = new_found(options, device)
        bench = Bench(options, device, meter or Meter(device), Path(folder), found)
        print(plan(bench), flush=True)
        measure(bench)
    print(f"\n{tables(found)}")
    return 0 if all(entry["status"] in ("ok", "skipped") for entry in found["phases"]) else 3


if __name__ == "__main__":
    sys.exit(main())
