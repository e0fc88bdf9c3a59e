"""Policies and rewards of a world that can be listed: tables over its states and responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from prefbench.arrays import Floats
from prefbench.learn.interface import Policy, Reward
from prefbench.problem.world import World


@dataclass(frozen=True)
class FinitePolicy(Policy):
    """A table of log-probabilities."""

    world: World
    table: Floats
    """[S, R] log pi(y | x)."""

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt, by inverting the cumulative distribution."""
        rows = self.world.rows(prompts)
        cumulative = np.exp(self.table).cumsum(axis=1)
        uniform = np.random.default_rng(draw).random((len(rows), n))
        last = self.table.shape[1] - 1
        responses = self.world.responses
        result = []
        for row, target in zip(rows, uniform, strict=True):
            found = np.searchsorted(cumulative[row], target * cumulative[row, -1], side="right")
            texts = responses[row]
            result.append([texts[min(i, last)] for i in found.tolist()])
        return result

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> Floats:
        """log pi(response | prompt) in nats, [n]."""
        rows = self.world.rows(prompts)
        return self.table[rows, self.world.columns(rows, responses)]

    def save(self, folder: Path) -> None:
        """One safetensors file."""
        save_file({"logprob": np.ascontiguousarray(self.table)}, folder / "policy.safetensors")


@dataclass(frozen=True)
class FiniteReward(Reward):
    """A table of rewards with the parameters that it was made of."""

    world: World
    table: Floats
    """[S, R] r(x, y)."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> Floats:
        """Reward of each response, [n]."""
        rows = self.world.rows(prompts)
        return self.table[rows, self.world.columns(rows, responses)]

    def save(self, path: Path) -> None:
        """One safetensors file."""
        save_file({"reward": np.ascontiguousarray(self.table)}, path)
