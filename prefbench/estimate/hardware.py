"""GPUs as their vendors' data sheets have them, and a processor as `prefbench doctor` measured it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prefbench.errors import UserError
from prefbench.machine import Machine
from prefbench.registry import suggest

UTILISATION_SHARE = 0.35
"""Assumed share of the peak rate that training and scoring reach on a GPU."""
MEASURED_TOKEN = 3 * (24 * 768**2 + 4 * 768 * 64)
"""FLOPs of a token where `prefbench doctor` trains a layer of width 768 on rows of 64 tokens."""


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
    """Share of the rate that training and scoring reach."""


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


def processor(machine: Machine, memory: float) -> Hardware:
    """This machine's processor by what was measured of it.

    The share of a product's rate is that which training a layer reached, with the best number of threads.

    Args:
        machine: the stored figures.
        memory: free bytes.
    """

    def best(rates: Mapping[str, float], kind: str) -> float:
        return max(rate for on, rate in rates.items() if on.startswith(kind) and "thread" in on)

    float32 = best(machine.products, "float32")
    return Hardware(
        bfloat16=best(machine.products, "bfloat16"),
        float32=float32,
        bandwidth=best(machine.reads, ""),
        memory=memory,
        utilisation=min(1.0, max(machine.large.values()) * MEASURED_TOKEN / float32),
    )
