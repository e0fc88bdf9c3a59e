"""The bench of `gpu_7b.py`: memory and time of a phase, beside what is estimated of it."""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from prefbench.backbone.language.memory import attempt
from prefbench.backbone.shapes import SHAPES, Shape
from prefbench.errors import PrefbenchError
from prefbench.estimate.hardware import HARDWARE, Hardware
from prefbench.estimate.memory import memory
from prefbench.estimate.setting import ModelSetting
from prefbench.estimate.time import flops, seconds
from prefbench.learn.options import PPOOptions
from prefbench.store.progress import Silent
from prefbench.store.stages import Work
from prefbench.work import Passes, Sizes

T = TypeVar("T")

SIZES: Mapping[str, Shape] = {
    "7b": SHAPES["tulu2-7b"],
    "1b": Shape(22, 2048, 32, 4, 5632, 32000, 2048, tied=False, gated=True, biases=False),
    "toy": Shape(2, 64, 4, 2, 172, 512, 512, tied=False, gated=True, biases=False),
}
DTYPE = torch.bfloat16
NEAR = 0.1
"""An estimate is near if the measured figure is within this share of it."""


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
