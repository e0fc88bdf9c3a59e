"""Randomness without global state: every stage draws from its own named child of the run's seed.

A child depends only on the seed and its name, never on what was drawn before it, so adding an
aligner or a step changes nobody else's numbers, and a resumed loop needs no saved generator state.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def child(seed: int, *names: str | int) -> np.random.SeedSequence:
    """The seed sequence of the stage called `names`, for example `child(0, "policy", "step", 3)`."""
    key = tuple(name if isinstance(name, int) else zlib.crc32(name.encode()) for name in names)
    return np.random.SeedSequence(seed, spawn_key=key)


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for the named child."""
    return np.random.default_rng(child(seed, *names))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU torch generator for the named child (CPU also on a GPU machine: same draws everywhere)."""
    return as_torch(child(seed, *names))


def as_torch(sequence: np.random.SeedSequence) -> torch.Generator:
    """A CPU torch generator that draws what this seed sequence says."""
    import torch

    return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def part(sequence: np.random.SeedSequence, index: int) -> np.random.SeedSequence:
    """The `index`-th child of a seed sequence; unlike `spawn` it does not depend on earlier calls."""
    return np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, index))


@contextlib.contextmanager
def torch_seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Run library code that initialises weights from torch's global generator, and put that back after."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(torch_generator(seed, *names).initial_seed())
        yield
