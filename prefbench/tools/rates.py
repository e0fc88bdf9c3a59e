"""Rates of this machine: matrix products, reading memory, and training layers with some threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from prefbench import seeds
from prefbench.backbone.language.adapters import Adapted, Adapter, Base
from prefbench.backbone.language.gpt2 import fuse_activations
from prefbench.estimate.hardware import ADAPTED_RANK

RATE_SECONDS = 0.4
"""Seconds that the measurement of one rate takes, warming up aside."""
LEAST_TIMES = 3
"""Times that go into a median, at least."""
READ_BYTES = 2**30
"""Read for the bandwidth: more than any cache holds."""


def gemm_rate(
    threads: int,
    device: str = "cpu",
    dtype: str = "float32",
    shape: tuple[int, int, int] | None = None,
) -> float:
    """The rate of a matrix product, counted as 2 m k n operations.

    Args:
        threads: CPU threads; torch has its own number again afterwards.
        device: as torch names it.
        dtype: likewise.
        shape: m, k and n of a product [m, k] x [k, n]; a square one large enough to be bound by
            arithmetic if missing.

    Returns:
        FLOP/s, by the median of several products after one that warms up.
    """
    m, k, n = shape or ((2048,) * 3 if device == "cpu" else (8192,) * 3)
    kind = {"device": device, "dtype": getattr(torch, dtype)}
    draws = torch.Generator(device).manual_seed(0)  # equal numbers would take less power than a model's do
    left, right = torch.rand(m, k, generator=draws, **kind), torch.rand(k, n, generator=draws, **kind)
    with _threads(threads):
        return 2 * m * k * n / _seconds(lambda: left @ right, device)


def memory_bandwidth(threads: int, device: str = "cpu", size: int = READ_BYTES) -> float:
    """The rate at which memory is read, as a decoder reads its weights for every token.

    Args:
        threads: CPU threads; torch has its own number again afterwards.
        device: as torch names it.
        size: bytes, more than the caches hold.

    Returns:
        Bytes/s of a sum over float32 numbers, each of which is read once and nothing of which is written,
        by the median of several.
    """
    with _threads(threads):
        numbers = torch.ones(max(1, size // 4), device=device)
        return numbers.nbytes / _seconds(numbers.sum, device)


@dataclass(frozen=True)
class Size:
    """Transformer blocks, and the rows that are trained on at once."""

    width: int
    heads: int
    layers: int
    rows: int
    tokens: int


SMALL = Size(width=64, heads=4, layers=2, rows=32, tokens=32)
"""Size of `nano`."""
LARGE = Size(width=768, heads=12, layers=1, rows=8, tokens=64)
"""One layer of GPT-2 with 124 M parameters."""


def scaling(size: Size, counts: Sequence[int], seconds: float) -> dict[int, float]:
    """Speed of training transformer blocks with different numbers of threads, without their optimiser.

    Args:
        size: of the blocks (attention, GELU, float32) and of the batch.
        counts: of threads. They take turns, so that whatever else the machine does meets all of them.
        seconds: to spend, at least `LEAST_TIMES` turns and one that warms up.

    Returns:
        Tokens/s of a forward and a backward pass, by the median over the turns.
    """
    with seeds.torch_seeded(0, "doctor"):
        blocks = [
            torch.nn.TransformerEncoderLayer(
                size.width,
                size.heads,
                dim_feedforward=4 * size.width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(size.layers)
        ]
        inputs = torch.rand(size.rows, size.tokens, size.width)
    model = torch.nn.Sequential(*blocks)
    return _trained(lambda: model(inputs), model, size, counts, seconds)


def adapted_scaling(size: Size, counts: Sequence[int], seconds: float) -> dict[int, float]:
    """Speed of training adapters on GPT-2's blocks in bfloat16, as `scaling` has that of whole blocks.

    The blocks are frozen; adapters are in float32, as always, of rank `ADAPTED_RANK` on every linear map.

    Args:
        size: of the blocks and of the batch.
        counts: of threads.
        seconds: to spend, as there.
    """
    none = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    config = GPT2Config(
        vocab_size=8,
        n_positions=size.tokens,
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        bos_token_id=0,
        eos_token_id=0,
        **none,
    )
    with seeds.torch_seeded(0, "doctor"):
        whole = fuse_activations(GPT2LMHeadModel(config).to(torch.bfloat16)).requires_grad_(False)
        inputs = torch.rand(size.rows, size.tokens, size.width).to(torch.bfloat16)
    base = Base(whole, digest="")
    model = Adapted(base, Adapter(base, ADAPTED_RANK, 2 * ADAPTED_RANK, seed=0), whole=False)

    def states() -> torch.Tensor:
        found: torch.Tensor = model(inputs_embeds=inputs, use_cache=False).last_hidden_state
        return found

    return _trained(states, model, size, counts, seconds)


def _trained(
    forward: Callable[[], torch.Tensor],
    model: torch.nn.Module,
    size: Size,
    counts: Sequence[int],
    seconds: float,
) -> dict[int, float]:
    """Tokens/s of a forward and a backward pass by number of threads, by the median over turns."""
    rows = torch.ones(size.rows, size.tokens)
    taken: dict[int, list[float]] = {count: [] for count in counts}
    until = time.perf_counter() + seconds
    with _threads(torch.get_num_threads()):
        while len(taken[counts[0]]) <= LEAST_TIMES or time.perf_counter() < until:
            for count in counts:
                torch.set_num_threads(count)
                rows.sum()  # starts the threads
                model.zero_grad()
                started = time.perf_counter()
                forward().sum().backward()  # type: ignore[no-untyped-call]
                taken[count].append(time.perf_counter() - started)
    return {count: size.rows * size.tokens / median(times[1:]) for count, times in taken.items()}


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch have so many threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(call: Callable[[], Any], device: str) -> float:
    """The median time of a call after one that warms up."""

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize(device)

    taken: list[float] = []
    until = float("inf")
    while len(taken) <= LEAST_TIMES or time.perf_counter() < until:
        started = time.perf_counter()
        call()
        wait()
        taken.append(time.perf_counter() - started)
        until = min(until, time.perf_counter() + RATE_SECONDS)
    return median(taken[1:])
