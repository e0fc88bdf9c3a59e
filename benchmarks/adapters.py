"""K reward adapters on one base against K copies of the model: `python benchmarks/adapters.py [--k 5]`.

Both score the same random batch and take the gradient of each reward on it, with the same adapters. The
columns: bytes of all weights, each storage counted once; on a GPU the most memory that was allocated while
they were made and used; the median time of scoring and of the gradients, all K together; and the largest
difference of any score from that on one base.
"""

from __future__ import annotations

import argparse
import copy
import gc
import time
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import torch
from tabulate import tabulate
from torch import nn

from prefbench import seeds
from prefbench.backbone.language.adapters import Adapted, Adapter, Base
from prefbench.backbone.language.networks import RewardModel
from prefbench.backbone.language.tokens import Batch, collate

VOCABULARY = 1000


def llama(hidden: int, layers: int, positions: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    with seeds.torch_seeded(0, "model"):
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=positions,
        )
        return LlamaForCausalLM(config).eval().requires_grad_(False)


def rewards_on(bases: Iterable[Base], rank: int, hidden: int, device: torch.device) -> list[RewardModel]:
    """One reward on each of these bases, its adapter moved away from zero."""
    found = []
    for k, base in enumerate(bases):
        adapter = Adapter(base, rank, 2 * rank, seed=k)
        with seeds.torch_seeded(k, "reward"), torch.no_grad():
            for weight in adapter.parameters():
                weight += 0.05 * torch.randn(weight.shape).to(weight.device)
            found.append(RewardModel(Adapted(base, adapter, whole=False), hidden, "last").to(device))
    return found


def weight_bytes(models: Iterable[nn.Module]) -> int:
    """Bytes of the weights, each storage counted once."""
    storages = {
        w.untyped_storage().data_ptr(): w.untyped_storage().nbytes() for m in models for w in weights(m)
    }
    return sum(storages.values())


def weights(model: nn.Module) -> Iterable[torch.Tensor]:
    yield from model.parameters()
    for part in model.modules():
        if isinstance(part, Adapted):
            yield from part.base.model.parameters()


def seconds(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - started)
    return median(taken[1:])  # the first is for warming up


def measured(
    make: Callable[[], list[RewardModel]], batch: Batch, repeats: int, device: torch.device
) -> tuple[list[Any], torch.Tensor]:
    """A row of the table, and the scores [K, rows]."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    models = make()

    @torch.no_grad()
    def score() -> torch.Tensor:
        return torch.stack([model(batch) for model in models])

    def differentiate() -> None:
        for model in models:
            model.zero_grad(set_to_none=True)
            model(batch).sum().backward()  # type: ignore[no-untyped-call]

    scores = score()
    times = [seconds(work, repeats, device) for work in (score, differentiate)]
    peak = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None
    row = [weight_bytes(models) / 2**20, peak, *(1000 * value for value in times)]
    return row, scores.cpu()


def main() -> None:
    parser = argparse.ArgumentParser(description="Reward adapters on one base against copies of the model.")
    for name, value in {
        "hidden": 64,
        "layers": 2,
        "k": 5,
        "rank": 16,
        "rows": 32,
        "length": 64,
        "repeats": 5,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    device = torch.device(options.device)
    model = llama(options.hidden, options.layers, options.length).to(getattr(torch, options.dtype))
    draw = seeds.rng(0, "batch")
    ids = draw.integers(1, VOCABULARY, (options.rows, options.length)).tolist()
    half = options.length // 2
    batch = collate([row[:half] for row in ids], [row[half:] for row in ids], device)

    def on_one_base() -> list[RewardModel]:
        base = Base(copy.deepcopy(model).to(device), "")
        return rewards_on([base] * options.k, options.rank, options.hidden, device)

    def on_copies() -> list[RewardModel]:
        bases = (Base(copy.deepcopy(model).to(device), "") for _ in range(options.k))
        return rewards_on(bases, options.rank, options.hidden, device)

    rows, expected = [], None
    for name, make in (("one base", on_one_base), ("copies", on_copies)):
        row, scores = measured(make, batch, options.repeats, device)
        expected = scores if expected is None else expected
        rows.append([f"{options.k} on {name}", *row, float((scores - expected).abs().max())])
    headers = ["rewards", "weights MiB", "peak MiB", "scoring ms", "gradients ms", "largest difference"]
    print(tabulate(rows, headers, tablefmt="github", floatfmt=("", ".2f", ".1f", ".1f", ".1f", ".2g")))


if __name__ == "__main__":
    main()
