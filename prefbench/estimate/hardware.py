"""GPUs as their vendors' data sheets have them, and a processor as `prefbench doctor` measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from prefbench.errors import UserError
from prefbench.machine import Machine
from prefbench.registry import suggest

UTILISATION_SHARE = 0.35
"""Assumed share of the peak rate that training and scoring reach on a GPU."""
MEASURED_TOKEN = 3 * (24 * 768**2 + 4 * 768 * 64)
"""FLOPs of a token where `prefbench doctor` trains a layer of width 768 on rows of 64 tokens."""
ADAPTED_RANK = 16
"""Rank of the adapters that it trains on such a layer in bfloat16."""
ADAPTED_TOKEN = 2 * (24 * 768**2 + 4 * 768 * 64) + 4 * 768 * 64 + 6 * ADAPTED_RANK * 16 * 768
"""FLOPs of a token there; all maps together have 16 x 768 weights of adapters for each rank."""


@dataclass(frozen=True)
class Hardware:
    """A device: a GPU as its vendor's data sheet has it, or a processor as it was measured."""

    bfloat16: float
    """Dense tensor-core FLOP/s in bfloat16."""
    float32: float
    """FLOP/s in float32, without TF32, which torch does not use unless told to."""
    bandwidth: float
    """Bytes per second."""
    memory: float
    """Bytes, at 10^9 for a GB; the driver shows a little more."""
    utilisation: float = UTILISATION_SHARE
    """Share of the rate in float32 that training and scoring reach."""
    utilisation_bfloat16: float = UTILISATION_SHARE
    """The same of the rate in bfloat16."""

    def reached(self, bytes: int) -> float:
        """FLOP/s that training and scoring reach with weights of two bytes (bfloat16) or four (float32)."""
        if bytes == 2:
            return self.bfloat16 * self.utilisation_bfloat16
        return self.float32 * self.utilisation


# NVIDIA's data sheets: H200 and H100 (SXM), A100 (SXM, 40 and 80 GB), L40S, and the Ada architecture's
# white paper for the GeForce RTX 4090. Dense rates, without structured sparsity.
HARDWARE: Mapping[str, Hardware] = {
    "h200": Hardware(989e12, 67e12, 4.8e12, 141e9),
    "h100-80gb": Hardware(989e12, 67e12, 3.35e12, 80e9),
    "a100-80gb": Hardware(312e12, 19.5e12, 2.039e12, 80e9),
    "a100-40gb": Hardware(312e12, 19.5e12, 1.555e12, 40e9),
    "l40s": Hardware(362e12, 91.6e12, 0.864e12, 48e9),
    "rtx-4090": Hardware(165.2e12, 82.6e12, 1.008e12, 24e9),
}
"""Devices that `--hardware` names."""


def hardware_called(name: str) -> Hardware:
    """The hardware of a name on the command line.

    Raises:
        UserError: there is none of that name.
    """
    if name not in HARDWARE:
        raise UserError(f"unknown hardware '{name}'.{suggest(name, HARDWARE)}")
    return HARDWARE[name]


def known_hardware(device: str) -> str | None:
    """The name in `HARDWARE` of a device as its driver calls it, such as `NVIDIA H100 80GB HBM3`."""
    words = device.lower().replace("-", " ").split()
    return next((name for name in HARDWARE if set(name.split("-")) <= set(words)), None)


def processor(machine: Machine, memory: float, threads: int) -> Hardware:
    """This machine's processor by what was measured of it, as a run with some threads finds it.

    The share of a product's rate is that which training a layer reached with as many threads: of float32 all
    of a layer, of bfloat16 adapters on it. Between two measured numbers of threads figures lie on a line, and
    beyond the largest they stay. Where a file has no training in bfloat16, it is taken to be as fast as in
    float32, since products alone say nothing of adapters.

    Args:
        machine: the stored figures.
        memory: free bytes.
        threads: of the run.
    """

    def rate(rates: Mapping[int, float]) -> float:
        return float(np.interp(threads, sorted(rates), [rates[count] for count in sorted(rates)]))

    float32 = rate(_by_threads(machine.products, "float32, "))
    bfloat16 = rate(_by_threads(machine.products, "bfloat16, "))
    trained = rate(machine.large) * MEASURED_TOKEN
    adapted = rate(machine.adapted) * ADAPTED_TOKEN if machine.adapted else trained
    return Hardware(
        bfloat16=bfloat16,
        float32=float32,
        bandwidth=rate(_by_threads(machine.reads, "")),
        memory=memory,
        utilisation=min(1.0, trained / float32),
        utilisation_bfloat16=min(1.0, adapted / bfloat16),
    )


def _by_threads(rates: Mapping[str, float], kind: str) -> dict[int, float]:
    """Rates by number of threads, of those that `prefbench doctor` names `KIND, N threads`."""
    named = {on.removeprefix(kind): value for on, value in rates.items() if on.startswith(kind)}
    words = {on: on.split() for on in named}
    return {
        int(each[0]): named[on]
        for on, each in words.items()
        if len(each) == 2 and each[0].isdecimal() and each[1].startswith("thread")
    }
