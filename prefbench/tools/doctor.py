"""Abilities of this machine: rates, the counts of threads and workers that follow, and what is wrong with it.

`prefbench doctor` stores what it found in the user's cache folder. `run` and `sweep` take their counts from
there as long as the processor, the usable cores and torch are the same. `nano` stays at one thread whatever
is found, as its numbers depend on the thread count.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from prefbench.errors import UserError
from prefbench.machine import (
    Fingerprint,
    Machine,
    Recommended,
    fingerprint,
    free_memory,
    kernel_fields,
    machine_file,
    said_threads,
)
from prefbench.store.files import write_atomically
from prefbench.text import show_bytes, show_count

PACKAGES = ("torch", "transformers", "datasets", "accelerate", "numpy", "scipy", "tokenizers")
OPTIONAL = ("trl", "peft", "openai", "ray", "bitsandbytes", "gguf")
NEAR_SHARE = 0.1
"""Rates within this share of the best are as good as the best."""
NANO_BYTES = 1.2e9
"""Memory of a process that runs `nano`, with some to spare; most of it is torch and other libraries."""
LOW_MEMORY, LOW_DISK = 2e9, 5e9


# ---------------------------------------------------------------------------------------- measuring


def measure(system: System) -> Machine:
    """Measure rates and scaling, in half a minute, and say which counts follow."""
    from prefbench.tools.rates import (
        LARGE,
        RATE_SECONDS,
        READ_BYTES,
        SMALL,
        adapted_scaling,
        gemm_rate,
        memory_bandwidth,
        scaling,
    )

    here, free = system.fingerprint.cores, system.memory_free
    size = READ_BYTES if free is None else min(READ_BYTES, int(free / 4))
    products, reads = {}, {}
    for threads in sorted({1, here}):
        on = _many(threads, "thread")
        products[f"float32, {on}"] = gemm_rate(threads)
        # Smaller, because a processor without instructions for it may be very slow.
        products[f"bfloat16, {on}"] = gemm_rate(threads, dtype="bfloat16", shape=(1024,) * 3)
        reads[on] = memory_bandwidth(threads, size=size)
    for number, gpu in enumerate(system.gpus):
        if gpu.error is None:
            device = f"cuda:{number}"
            products[f"bfloat16, {device}"] = gemm_rate(1, device, "bfloat16")
            reads[device] = memory_bandwidth(1, device)
    counts = sorted({*(2**i for i in range(here.bit_length())), here})
    small = scaling(SMALL, counts, 6 * RATE_SECONDS)
    large = scaling(LARGE, counts, 10 * RATE_SECONDS)
    return Machine(
        fingerprint=system.fingerprint,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        load=system.load,
        products=products,
        reads=reads,
        small=small,
        large=large,
        adapted=adapted_scaling(LARGE, counts, 6 * RATE_SECONDS),
        recommended=recommend(here, small, large, free),
    )


def recommend(
    cores: int, small: Mapping[int, float], large: Mapping[int, float], free: float | None
) -> Recommended:
    """The counts that follow from what was measured.

    A single run takes the number of threads with the most tokens/s, the least of those within `NEAR_SHARE`.
    A sweep takes the number t with the most of cores // t times tokens/s; there the largest of those within
    `NEAR_SHARE`, as every worker holds a model of its own.

    Args:
        cores: that a process may use.
        small: tokens/s at `nano`'s size by number of threads, none of them above the cores.
        large: the same at a larger model's size.
        free: bytes of memory, of which every worker takes `NANO_BYTES` at the least; None if not known.
    """
    whole = {threads: cores // threads * rate for threads, rate in large.items()}
    together = max(_near_best(whole))
    room = cores if free is None else max(1, int(free / NANO_BYTES))
    return Recommended(
        threads_small=min(_near_best(small)),
        threads_large=min(_near_best(large)),
        workers_small=min(cores, room),
        sweep_threads_large=together,
        workers_large=min(cores // together, room),
    )


def _near_best(rates: Mapping[int, float]) -> list[int]:
    return [threads for threads, rate in rates.items() if rate >= (1 - NEAR_SHARE) * max(rates.values())]


# ------------------------------------------------------------------------------------------ storing


def save(machine: Machine) -> Path:
    """Store the figures and say where.

    Raises:
        UserError: nothing can be written there.
    """
    path = None
    try:
        path = machine_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, machine.model_dump_json(indent=2) + "\n")
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        why = getattr(error, "strerror", None) or error
        where = f" in '{path.parent}'" if path is not None else ""
        raise UserError(
            f"nothing can be stored{where} ({why}): name a folder with PREFBENCH_CACHE, or say --no-store."
        ) from None
    return path


# ---------------------------------------------------------------------------------- looking around


@dataclass(frozen=True)
class Gpu:
    """A GPU that torch sees, and why it cannot be used if it cannot."""

    name: str
    memory_free: float = 0.0
    bfloat16: bool = False
    error: str | None = None


@dataclass(frozen=True)
class System:
    """The machine as found, without timing anything."""

    fingerprint: Fingerprint
    versions: Mapping[str, str | None]
    """Versions of Python, prefbench and packages; None for one that is not installed."""
    load: float
    memory_free: float | None
    disk_free: float
    """Bytes, in the current folder."""
    swap_used: float
    """Share of the swap space."""
    gpus: tuple[Gpu, ...]


def look() -> System:
    """Look around: versions, processor, memory, disk and GPUs."""
    load = os.getloadavg()[0]  # before loading torch adds to it
    memory = kernel_fields(Path("/proc/meminfo"))
    swap, unused = (float(memory.get(name, "0").split()[0]) for name in ("SwapTotal", "SwapFree"))
    return System(
        fingerprint=fingerprint(),
        versions={"python": platform.python_version()}
        | {name: _version(name) for name in ("prefbench", *PACKAGES, *OPTIONAL)},
        load=load,
        memory_free=free_memory("cpu")[1],
        disk_free=shutil.disk_usage(".").free,
        swap_used=1 - unused / swap if swap else 0.0,
        gpus=tuple(_gpus()),
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _gpus() -> Iterator[Gpu]:
    import torch

    for number in range(torch.cuda.device_count()):
        name = f"GPU {number}"
        try:
            name = torch.cuda.get_device_name(number)
            ones = torch.ones(8, 8, device=f"cuda:{number}")
            (ones @ ones).sum().item()
            with torch.cuda.device(number):
                bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
            yield Gpu(name, float(torch.cuda.mem_get_info(number)[0]), bfloat16)
        except (RuntimeError, AssertionError) as error:
            yield Gpu(name, error=str(error).strip().partition("\n")[0])


def problems(system: System, machine: Machine) -> list[str]:
    """Faults and possible improvements, each with how to mend it, in a line."""
    return [*_of_packages(system), *_of_threads(machine), *_of_room(system), *_of_gpus(system)]


def needed() -> dict[str, Requirement]:
    """Packages that the installed prefbench asks for, extras included, by their names."""
    try:
        lines = metadata.requires("prefbench") or []
    except metadata.PackageNotFoundError:  # it runs from a folder
        return {}
    return {canonicalize_name(found.name): found for found in map(Requirement, lines)}


def _of_packages(system: System) -> Iterator[str]:
    asked = needed()
    for name in (*PACKAGES, *OPTIONAL):
        version = system.versions[name]
        if name not in asked or (version is None and name in OPTIONAL):
            continue
        limits = asked[name].specifier
        if version is None or not limits.contains(version, prereleases=True):
            has = f"{name} is not installed" if version is None else f"{name} {version} is installed"
            yield f"{has}, and prefbench needs {limits}: pip install '{name}{limits}'"


def _of_threads(machine: Machine) -> Iterator[str]:
    wanted, said = machine.recommended.threads_large, said_threads()
    if said is not None and said[1] != wanted:
        yield (
            f"{said[0]} gives a run of a large model {_many(said[1], 'thread')}, and {wanted} would be "
            f"better here: unset it, or say --set model.threads={wanted}"
        )
    here = os.cpu_count() or 1  # the load is that of them all, also where only some may be used
    if machine.load > here / 2:
        yield (
            f"measured while the machine was busy (load {machine.load:.1f}, {_many(here, 'core')}): run it "
            "again when it is idle"
        )


def _of_room(system: System) -> Iterator[str]:
    if system.memory_free is not None and system.memory_free < LOW_MEMORY:
        yield (
            f"{show_bytes(system.memory_free)} of memory are free, and a run of nano takes about "
            f"{show_bytes(NANO_BYTES)}: end other programs, or give --workers 1 to a sweep"
        )
    if system.swap_used > 0.5:
        yield (
            f"{system.swap_used:.0%} of the swap space are in use, and a run that is swapped out crawls: end "
            "other programs, or lower --workers"
        )
    if system.disk_free < LOW_DISK:
        yield (
            f"{show_bytes(system.disk_free)} of disk are free in this folder: free some, with `prefbench "
            "cache gc` perhaps, or give another --runs-dir"
        )


def _of_gpus(system: System) -> Iterator[str]:
    import torch

    for gpu in system.gpus:
        if gpu.error is not None:
            yield (
                f"{gpu.name} cannot be used ({gpu.error}): bring its driver and torch together, or say --set "
                "model.device=cpu"
            )
    driver = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None
    version = system.versions["torch"]
    if driver and torch.version.cuda is None:
        yield f"there is an NVIDIA driver, but torch {version} has no CUDA: install a build that has it"
    elif driver and not system.gpus:
        yield f"there is an NVIDIA driver, but torch {version} sees no GPU: update the driver"


# -------------------------------------------------------------------------------------- for a reader


def tables(system: System, machine: Machine) -> list[tuple[list[str], list[list[str]]]]:
    """Versions, what is here, rates and scaling: a header and rows of each."""
    asked, free = needed(), system.memory_free
    versions = [
        [name, version or "not installed", str(asked[name].specifier) if name in asked else ""]
        for name, version in system.versions.items()
    ]
    here = [
        ["processor", system.fingerprint.processor],
        ["cores to use", str(system.fingerprint.cores)],
        ["memory free", "not known" if free is None else show_bytes(free)],
        ["disk free here", show_bytes(system.disk_free)],
    ]
    for gpu in system.gpus:
        kinds = "float32, bfloat16" if gpu.bfloat16 else "float32"
        here.append(["GPU", f"{gpu.name}, {show_bytes(gpu.memory_free)} free, {gpu.error or kinds}"])
    rates = [
        *(["matrix product", on, f"{show_count(rate)}FLOP/s"] for on, rate in machine.products.items()),
        *(["reading memory", on, f"{show_bytes(rate)}/s"] for on, rate in machine.reads.items()),
    ]
    scales = [
        [str(threads), *(f"{show_count(rate[threads])} (x{rate[threads] / rate[1]:.2f})" for rate in each)]
        for each in [tuple(filter(None, (machine.small, machine.large, machine.adapted)))]
        for threads in machine.small
    ]
    return [
        (["package", "version", "needed"], versions),
        (["machine", ""], here),
        (["rate", "on", ""], rates),
        (["threads", "nano, tokens/s trained", "a layer of GPT-2", "adapters on one in bfloat16"], scales),
    ]


def advice(machine: Machine) -> list[str]:
    """The recommendation, in sentences."""
    counts = machine.recommended
    lines = [
        f"One run: 1 thread for nano, {counts.threads_large} for a larger model. A sweep: "
        f"{_many(counts.workers_small, 'worker')} of 1 thread for nano, {counts.workers_large} of "
        f"{_many(counts.sweep_threads_large, 'thread')} for larger models."
    ]
    if counts.threads_small > 1:
        gain = machine.small[counts.threads_small] / machine.small[1]
        lines.append(
            f"nano is {gain:.1f} times as fast with {counts.threads_small} threads, but its numbers depend "
            f"on their count: it stays at one unless you say --set model.threads={counts.threads_small}."
        )
    every = _many(machine.fingerprint.cores, "thread")
    rates = machine.products
    faster = rates.get(f"bfloat16, {every}", 0.0) / rates.get(f"float32, {every}", math.inf)
    if faster > 1:
        lines.append(
            f"Weights in bfloat16 multiply {faster:.1f} times as fast as in float32: larger models gain by "
            "--set model.dtype=bfloat16, which leaves adapters and heads in float32."
        )
    return lines


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"
