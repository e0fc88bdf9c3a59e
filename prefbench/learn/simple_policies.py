"""Policies made of others, without training: fixed text, selection among samples, mixtures, instructions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from prefbench import seeds
from prefbench.errors import UserError
from prefbench.learn.by_prompt import load_resampled
from prefbench.learn.interface import Backbone, Policy
from prefbench.learn.selection import BestOfPolicy, load_criterion, write_policy
from prefbench.learn.weighted import load_selection
from prefbench.problem.problem import with_instruction
from prefbench.text import count_words


@dataclass(frozen=True)
class ConstantPolicy(Policy):
    """Answers every prompt with the same text."""

    text: str

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """The text, whatever the prompt."""
        return [[self.text] * n for _ in prompts]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> None:
        """None: infinitely far from any reference."""

    def save(self, folder: Path) -> None:
        """A line of JSON."""
        write_policy(folder, {"kind": "constant", "text": self.text})


@dataclass(frozen=True)
class ExtremeLengthPolicy(Policy):
    """The longest or shortest (in words) of several samples of another policy."""

    base: Policy
    which: Literal["longest", "shortest"]
    candidates: int

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` independent selections per prompt; of equally long candidates the first."""
        pick = max if self.which == "longest" else min
        drawn = self.base.sample(prompts, n * self.candidates, draw)
        return [
            [pick(row[i * self.candidates : (i + 1) * self.candidates], key=count_words) for i in range(n)]
            for row in drawn
        ]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """None: the probability of a selection has no closed form."""
        return None

    def save(self, folder: Path) -> None:
        """A line of JSON."""
        write_policy(folder, {"kind": self.which, "candidates": self.candidates})


@dataclass(frozen=True)
class ReferencePolicy(Policy):
    """The reference itself, saved by name rather than by weight."""

    base: Policy

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """The reference's samples."""
        return self.base.sample(prompts, n, draw)

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """The reference's log-probabilities."""
        return self.base.logprob(prompts, responses)

    def save(self, folder: Path) -> None:
        """A line of JSON."""
        write_policy(folder, {"kind": "reference"})


@dataclass(frozen=True)
class MixturePolicy(Policy):
    """Answers each time as one of several policies, chosen with fixed probabilities."""

    parts: tuple[Policy, ...]
    weights: tuple[float, ...]

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt, each from a part drawn for it."""
        rng = np.random.default_rng(seeds.part(draw, len(self.parts)))
        chosen = rng.choice(len(self.parts), size=(len(prompts), n), p=np.asarray(self.weights))
        drawn = [part.sample(prompts, n, seeds.part(draw, k)) for k, part in enumerate(self.parts)]
        return [[drawn[k][i][j] for j, k in enumerate(row)] for i, row in enumerate(chosen.tolist())]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """log sum_k w_k pi_k(response | prompt), [n]."""
        logs = [part.logprob(prompts, responses) for part in self.parts]
        known = [log for log in logs if log is not None]
        if len(known) < len(logs):
            return None
        with np.errstate(divide="ignore"):
            weighted = np.stack(known) + np.log(np.asarray(self.weights))[:, None]
        return np.asarray(np.logaddexp.reduce(weighted, axis=0))

    def save(self, folder: Path) -> None:
        """A folder for each part and a line of JSON."""
        for k, part in enumerate(self.parts):
            (folder / f"part-{k}").mkdir(exist_ok=True)
            part.save(folder / f"part-{k}")
        write_policy(folder, {"kind": "mixture", "weights": list(self.weights)})


@dataclass(frozen=True)
class TemperedPolicy(Policy):
    """Another policy at another temperature: pi ~ base ** (1 / temperature), by token in a language model."""

    powered: Policy
    """The policy to that power, as `Backbone.log_linear` gives it."""
    temperature: float

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt."""
        return self.powered.sample(prompts, n, draw)

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """Log-probabilities at that temperature."""
        return self.powered.logprob(prompts, responses)

    def save(self, folder: Path) -> None:
        """A line of JSON: the base is the reference, whose weights are nobody's to keep."""
        write_policy(folder, {"kind": "temperature", "temperature": self.temperature})


@dataclass(frozen=True)
class InstructedPolicy(Policy):
    """Another policy that is told what is wanted: its prompts begin with an instruction."""

    base: Policy
    instruction: str
    """Text before every prompt; an empty one leaves it as it is."""

    def _put(self, prompts: Sequence[str]) -> list[str]:
        return [with_instruction(prompt, self.instruction) for prompt in prompts]

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt with the instruction."""
        return self.base.sample(self._put(prompts), n, draw)

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """Log-probabilities after the prompts with the instruction."""
        return self.base.logprob(self._put(prompts), responses)

    def save(self, folder: Path) -> None:
        """A folder for the other policy and a line of JSON."""
        (folder / "base").mkdir(exist_ok=True)
        self.base.save(folder / "base")
        write_policy(folder, {"kind": "instructed", "instruction": self.instruction})


def tempered_reference(backbone: Backbone, temperature: float) -> TemperedPolicy:
    """The reference policy at another temperature."""
    return TemperedPolicy(backbone.log_linear([backbone.reference], [1 / temperature]), temperature)


def load_simple_policy(folder: Path, backbone: Backbone) -> Policy | None:
    """The policy of this module saved in `folder`, or None where another kind lies there."""
    path = folder / "policy.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text())
        match content["kind"]:
            case "constant":
                return ConstantPolicy(str(content["text"]))
            case "reference":
                return ReferencePolicy(backbone.reference)
            case "mixture":
                weights = tuple(float(weight) for weight in content["weights"])
                parts = [backbone.load_policy(folder / f"part-{k}") for k in range(len(weights))]
                return MixturePolicy(tuple(parts), weights)
            case "temperature":
                return tempered_reference(backbone, float(content["temperature"]))
            case "instructed":
                return InstructedPolicy(backbone.load_policy(folder / "base"), str(content["instruction"]))
            case "best_of":
                criterion = load_criterion(folder, content, backbone)
                return BestOfPolicy(backbone.reference, criterion, int(content["candidates"]))
            case "selection":
                return load_selection(folder, content, backbone)
            case "resampled":
                return load_resampled(folder, content, backbone)
            case "longest" | "shortest" as which:
                return ExtremeLengthPolicy(backbone.reference, which, int(content["candidates"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"'{path}' is damaged: it describes no policy; remove its folder and run again."
        ) from None
    raise UserError(
        f"'{path}' describes a policy of the unknown kind {content['kind']!r}: remove its folder and run "
        "again."
    )
