"""What the benchmarks share: models with random weights, texts of their tokens, and clocks.

Time and memory do not depend on what weights are worth, so nothing is trained first and nothing is fetched.
A token is a word, so that a sampled response and its text are the same tokens. Responses end at different
lengths: every `1 / ending`-th word of the vocabulary is an end.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, NoReturn

import numpy as np
import torch

from prefbench import seeds
from prefbench.backbone.language.backbone import CausalLM
from prefbench.backbone.language.codec import Codec
from prefbench.learn.interface import Pairs
from prefbench.store.stages import Store, Work


@dataclass(frozen=True)
class Size:
    """A model's size, and that of what goes through it."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    positions: int
    prompt: tuple[int, int]
    """Fewest and most tokens of a prompt."""
    response: tuple[int, int]
    pairs: int
    """Of a fit that is timed."""
    batch: int
    """Pairs of a gradient step."""
    rollouts: int
    """Responses of an iteration of PPO."""
    learning_rate: float
    pooling: str
    key_heads: int | None = None
    """Heads of keys and values of a Llama; none is a GPT-2."""


SIZES: Mapping[str, Size] = {
    "nano": Size(2, 64, 4, 1024, 256, (4, 12), (4, 24), 1024, 32, 128, 1e-3, "sum"),
    "gpt2": Size(12, 768, 12, 50257, 1024, (8, 32), (8, 64), 16, 8, 32, 1e-5, "last"),
    "smollm2": Size(30, 576, 9, 49152, 2048, (8, 32), (8, 64), 16, 8, 32, 1e-5, "last", 3),
}
"""`gpt2` is GPT-2-small, 124 million weights, and `smollm2` SmolLM2-135M, a Llama of 135 million."""
ENDING = 1 / 24
"""Chance that a sampled token ends a response, at random weights."""


def tokenizer_of(size: Size) -> Any:
    """A word for each token; the first ends a text and the second pads it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["<end>", "<pad>", *(f"w{i}" for i in range(2, size.vocabulary))]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<end>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", bos_token="<end>", pad_token="<pad>", padding_side="left"
    )


def llama_of(size: Size, seed: int = 0) -> Any:
    """A Llama of this size with random weights; without `key_heads` one of them for every two of queries."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size.vocabulary,
        max_position_embeddings=size.positions,
        hidden_size=size.width,
        intermediate_size=8 * size.width // 3,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads or size.heads // 2,
        tie_word_embeddings=size.key_heads is not None,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    with seeds.torch_seeded(seed, "benchmark"):
        return LlamaForCausalLM(config)


def model_of(size: Size, seed: int = 0) -> Any:
    """A model of this size with random weights and without dropout, of the kind that the size is of."""
    from transformers import GPT2Config, GPT2LMHeadModel

    if size.key_heads is not None:
        return llama_of(size, seed)

    config = GPT2Config(
        vocab_size=size.vocabulary,
        n_positions=size.positions,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    with seeds.torch_seeded(seed, "benchmark"):
        return GPT2LMHeadModel(config)


def endings(size: Size) -> frozenset[int]:
    """The tokens that end a response."""
    return frozenset(range(0, size.vocabulary, round(1 / ENDING)))


def backbone_of(
    size: Size,
    folder: Path,
    *,
    ends: bool = True,
    build: Callable[[Size], Any] = model_of,
    lora: Mapping[str, Any] | None = None,
) -> CausalLM:
    """The harness's backbone on such a model; without `ends` every response is as long as may be."""
    stops = endings(size) if ends else frozenset()
    return CausalLM(
        build(size),
        Codec(tokenizer_of(size), stops, size.response[1], size.prompt[1] + size.response[1]),
        digest="random",
        store=Store(folder),
        lora=lora,
        policy_learning_rate=size.learning_rate,
        reward_learning_rate=size.learning_rate,
        reward_pooling=size.pooling,  # type: ignore[arg-type]
        work=Work("benchmark", folder),
    )


def pairs_of(size: Size, n: int | None = None) -> Pairs:
    """Preference pairs with lengths drawn evenly between the size's bounds; prompts differ."""
    rng = np.random.default_rng(0)
    words = np.setdiff1d(np.arange(2, size.vocabulary), sorted(endings(size)))

    def text(bounds: tuple[int, int]) -> str:
        length = rng.integers(bounds[0], bounds[1] + 1)
        return " ".join(f"w{i}" for i in rng.choice(words, length))

    rows = range(n or size.pairs)
    return Pairs(
        [text(size.prompt) for _ in rows],
        [" " + text((size.response[0], size.response[1] - 1)) for _ in rows],
        [" " + text((size.response[0], size.response[1] - 1)) for _ in rows],
    )


@dataclass
class Unkept(Work):
    """Work whose checkpoints are never written, so that rounds do not continue each other."""

    def due(self) -> bool:
        return False

    def save(self, name: str, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
        """Nothing."""


def fresh(backbone: CausalLM) -> CausalLM:
    """The backbone with nothing to continue and nothing to write."""
    return backbone.at(Unkept("benchmark", backbone.work.path))


def seconds_of(function: Callable[[], Any]) -> float:
    """How long a call takes, the collector's leftovers of what was before it not counted."""
    gc.collect()
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def interleaved(sides: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """Seconds of each side in each round, in alternating order, after a round that does not count.

    Speed drifts on shared machines; what is compared must be measured side by side.
    """
    for side in sides:
        side()
    found: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        places = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        for place in places:
            found[place].append(sides[place]())
    return found


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Median over rounds of how many times faster `fast` was in the same round."""
    return median(a / b for a, b in zip(slow, fast, strict=True))


def peak_memory() -> float:
    """Bytes that this process held at the most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def forward_flops(
    size: Size,
    prompts: Sequence[int],
    responses: Sequence[Sequence[int]],
    wanted: Literal["predictions", "tokens", "last"],
) -> float:
    """The least arithmetic of a pass over texts: two operations for each weight and token, and attention's.

    No padding, every prompt once however many responses it has, no token attends to a later one, and of the
    last layer only the wanted positions beyond their keys and values. Norms, activations and softmaxes do not
    count.

    Args:
        size: of the model.
        prompts: tokens of each.
        responses: tokens of each prompt's responses.
        wanted: the `predictions` of response tokens, with the output layer's numbers where they are made and
            without the last token, which predicts nothing; or one number from the state of each of the
            response's `tokens`, or of its `last` one.
    """
    width, read, asked = size.width, [], []
    for prompt, lengths in zip(prompts, responses, strict=True):
        rows = [np.arange(prompt, prompt + length - (wanted == "predictions")) for length in lengths]
        read += [np.arange(prompt), *rows]
        asked += [row[-1:] for row in rows] if wanted == "last" else rows
        if wanted == "predictions":
            asked.append(np.array([prompt - 1]))
    seen, ends = (np.concatenate(places) + 1 for places in (read, asked))  # tokens that each attends to
    outputs = size.vocabulary if wanted == "predictions" else 1
    lower = 24 * width**2 * len(seen) + 4 * width * float(seen.sum())
    last = 4 * width**2 * len(seen) + 20 * width**2 * len(ends) + 4 * width * float(ends.sum())
    return (size.layers - 1) * lower + last + 2 * width * outputs * len(ends)


def decoding_bytes(size: Size, prompts: Sequence[int], responses: Sequence[int]) -> float:
    """The least that drawing responses side by side reads: the weights once for all of them in every step.

    Each token also reads the keys and values of those before it, once. In float32, as the models are.

    Args:
        size: of the model.
        prompts: tokens of each.
        responses: tokens drawn for each.
    """
    weights = 12 * size.layers * size.width**2 + size.vocabulary * size.width
    pairs = zip(prompts, responses, strict=True)
    cached = sum(float(np.arange(prompt, prompt + drawn - 1).sum()) for prompt, drawn in pairs)
    return 4 * (weights * max(responses) + 2 * size.layers * size.width * cached)


class Parser(argparse.ArgumentParser):
    """One line on what is wrong, and exit code 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that is a whole number from `least` up."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is no number of at least {least}")
        return int(text)

    return number
