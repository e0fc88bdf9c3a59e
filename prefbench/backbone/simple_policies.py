"""Policies made of another policy, without training: fixed text, and selection among samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from prefbench.backbone.base import Policy
from prefbench.problem.utilities import count_words

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ConstantPolicy(Policy):
    """Answers every prompt with the same text."""

    text: str

    def sample(self, prompts: Sequence[str], n: int, generator: torch.Generator) -> list[list[str]]:
        """The text, whatever the prompt."""
        return [[self.text] * n for _ in prompts]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> None:
        """None: infinitely far from any reference."""

    def save(self, folder: Path) -> None:
        """A line of JSON."""
        _write(folder, {"kind": "constant", "text": self.text})


@dataclass(frozen=True)
class ExtremeLengthPolicy(Policy):
    """The longest or shortest (in words) of several samples of another policy."""

    base: Policy
    which: Literal["longest", "shortest"]
    candidates: int

    def sample(self, prompts: Sequence[str], n: int, generator: torch.Generator) -> list[list[str]]:
        """`n` independent selections per prompt; of equally long candidates the first."""
        pick = max if self.which == "longest" else min
        drawn = self.base.sample(prompts, n * self.candidates, generator)
        return [
            [pick(row[i * self.candidates : (i + 1) * self.candidates], key=count_words) for i in range(n)]
            for row in drawn
        ]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """None: the probability of a selection has no closed form."""
        return None

    def save(self, folder: Path) -> None:
        """A line of JSON."""
        _write(folder, {"kind": self.which, "candidates": self.candidates})


@dataclass(frozen=True)
class ReferencePolicy(Policy):
    """The reference itself, saved by name rather than by weight."""

    base: Policy

    def sample(self, prompts: Sequence[str], n: int, generator: torch.Generator) -> list[list[str]]:
        """The reference's samples."""
        return self.base.sample(prompts, n, generator)

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """The reference's log-probabilities."""
        return self.base.logprob(prompts, responses)

    def save(self, folder: Path) -> None:
        """A line of JSON."""
        _write(folder, {"kind": "reference"})


def _write(folder: Path, content: dict[str, object]) -> None:
    (folder / "policy.json").write_text(json.dumps(content))


def load_simple_policy(folder: Path, reference: Policy) -> Policy | None:
    """The policy of this module saved in `folder`, or None where another kind lies there."""
    path = folder / "policy.json"
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    if content["kind"] == "constant":
        return ConstantPolicy(content["text"])
    if content["kind"] == "reference":
        return ReferencePolicy(reference)
    return ExtremeLengthPolicy(reference, content["kind"], content["candidates"])
