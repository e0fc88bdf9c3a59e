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
import itertools
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_bench import DTYPE, SIZES, Bench, Meter
from gpu_phases import (
    compare,
    iterate,
    iteration_of,
    load,
    measure_machine,
    parts_of_an_iteration,
    train_rewards,
)
from gpu_tables import decoding, in_all, tables
from setting import Parser, at_least

import prefbench
from prefbench.estimate.estimate import assumptions
from prefbench.estimate.hardware import known_hardware
from prefbench.text import show_bytes, show_count


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
