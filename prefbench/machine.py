"""This computer: its usable cores and free memory, and the figures that `prefbench doctor` stored of it.

Stored figures count as long as the processor, the usable cores and torch are the same.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MACHINE = "this machine"
"""Name of the device where it is no GPU."""
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that say a number of threads; the first that does so counts."""


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fingerprint(_Figures):
    """The machine and the torch that figures were measured with; with any other they are not used."""

    processor: str
    cores: int
    """Cores that a process may use."""
    torch: str


class Recommended(_Figures):
    """Counts of threads and workers."""

    threads_small: int = Field(ge=1)
    """Threads with which a single run of `nano` is fastest. It takes one unless told otherwise."""
    threads_large: int = Field(ge=1)
    """Threads of a single run of a larger model."""
    workers_small: int = Field(ge=1)
    """Workers of a sweep of `nano`, one thread each."""
    sweep_threads_large: int = Field(ge=1)
    """Threads of each cell in a sweep of larger models."""
    workers_large: int = Field(ge=1)
    """Cells at a time in such a sweep."""


class Machine(_Figures):
    """Measured figures and the counts that follow from them, as they are stored."""

    version: Literal[1] = 1
    """Version of this format."""
    fingerprint: Fingerprint
    measured: str
    """Time of the measurement, as ISO 8601 in UTC."""
    load: float
    """Average number of busy processes in the minute before."""
    products: dict[str, float]
    """FLOP/s of a matrix product, by what it ran on."""
    reads: dict[str, float]
    """Bytes/s of reading memory, by what read it."""
    small: dict[int, float]
    """Trained tokens/s at `nano`'s size, by number of threads."""
    large: dict[int, float]
    """Trained tokens/s of one layer at GPT-2-small's size."""
    adapted: dict[int, float] = {}
    """Tokens/s of training adapters on such a layer in bfloat16; empty in a file that was stored before."""
    recommended: Recommended


def cores() -> int:
    """CPU cores that this process may use: those it is bound to, or what a container's limit comes to."""
    if sys.platform == "linux":
        bound = len(os.sched_getaffinity(0))
        return min(bound, _limit_of_container(Path("/")) or bound)
    return os.cpu_count() or 1


def _limit_of_container(root: Path) -> int | None:
    """Whole cores that a control group's quota of CPU time comes to, one at least; None without a limit."""
    try:
        quota, period = (root / "sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # `max` is no number
        return None


def threads_that_pay(cores: int) -> int:
    """Every core, or one where more are slower: measured on a product of a small transformer's size.

    For where `prefbench doctor` has stored nothing that was measured with more care.
    """
    if cores < 2:
        return cores
    import torch

    before = torch.get_num_threads()
    left, right = torch.ones(256, 768), torch.ones(768, 3072)
    best: dict[int, float] = {}
    try:
        for threads in (1, cores):
            torch.set_num_threads(threads)
            for _ in range(8):  # the least of several: the first one pays for starting the threads
                started = time.perf_counter()
                left @ right
                best[threads] = min(best.get(threads, float("inf")), time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return cores if best[cores] < best[1] else 1


def free_memory(device: str) -> tuple[str, float | None]:
    """The device that a run would take, and its free bytes; None where that cannot be known.

    Args:
        device: `auto`, `cpu` or `cuda`, as `model.device` has it.
    """
    if device != "cpu":
        import torch

        if torch.cuda.is_available():
            return torch.cuda.get_device_name(), float(torch.cuda.mem_get_info()[0])
        if device == "cuda":
            return "cuda", None  # loading says that there is none
    return MACHINE, _free_memory_of_machine(Path("/"))


def _free_memory_of_machine(root: Path) -> float | None:
    """Free bytes by /proc/meminfo, or what a container's limit leaves of its own where that is less."""
    available = kernel_fields(root / "proc/meminfo").get("MemAvailable")
    if available is None:
        return None
    free = float(available.split()[0]) * 1024
    try:
        limit = (root / "sys/fs/cgroup/memory.max").read_text().strip()
        used = (root / "sys/fs/cgroup/memory.current").read_text().strip()
    except OSError:
        return free
    return free if limit == "max" else min(free, max(0.0, float(limit) - float(used)))


def machine_file() -> Path:
    """The file of the figures: `machine.json` in `$PREFBENCH_CACHE`, else in the user's cache folder."""
    own, users = os.environ.get("PREFBENCH_CACHE"), os.environ.get("XDG_CACHE_HOME")
    folder = Path(own) if own else Path(users or "~/.cache") / "prefbench"
    return folder.expanduser() / "machine.json"


def stored() -> Machine | None:
    """The stored figures; None if there are none, or they cannot be read, or are not this machine's."""
    try:
        found = Machine.model_validate_json(machine_file().read_bytes())
    except (OSError, RuntimeError, ValueError):
        return None
    return found if found.fingerprint == fingerprint() else None


def fingerprint() -> Fingerprint:
    """The fingerprint of this machine."""
    return Fingerprint(processor=_processor(), cores=cores(), torch=metadata.version("torch"))


def _processor() -> str:
    fields = kernel_fields(Path("/proc/cpuinfo"))
    return fields.get("model name") or platform.processor() or platform.machine()


def kernel_fields(path: Path) -> dict[str, str]:
    """`name: value` lines of a file of the kernel's, the first of each name; empty where there is none."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in reversed(list(pairs))}


def threads_of_large() -> int:
    """CPU threads of a single run of a large model whose options do not say.

    The number in the environment, by which a sweep tells its workers; else the stored one; else every core.
    """
    said = said_threads()
    if said is not None:
        return said[1]
    found = stored()
    return cores() if found is None else found.recommended.threads_large


def said_threads() -> tuple[str, int] | None:
    """The environment variable that says a number of threads, and the number, no more than the cores."""
    for name in VARIABLES:
        text = os.environ.get(name, "").partition(",")[0].strip()  # the others are of nested loops
        if text.isdecimal() and int(text):
            return name, min(int(text), cores())
    return None
