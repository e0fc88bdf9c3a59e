"""Best of several samples, by a learned reward or by the true utilities, and the best constant response."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from prefbench.errors import PrefbenchError
from prefbench.learn.interface import Backbone, Policy, Reward, RewardFunction
from prefbench.text import is_empty

REWARD_FILE = "criterion.safetensors"
KEPT = 8
"""Texts that go on in the search for a constant response."""
TIE = 1e-9
"""Utilities as near as this are a tie, as where policies are evaluated."""


class Criterion(Protocol):
    """A number for each response, by which the best is known."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """A number for each response, [n]: larger is better."""

    def save(self, folder: Path) -> dict[str, Any]:
        """Write what it is made of; what is returned is kept as JSON, with its kind as `by`."""

    def told(self, utilities: Callable[[], RewardFunction]) -> Criterion:
        """The criterion with the true utilities, if it judges by them; any other as it is."""
        return self


@dataclass(frozen=True)
class LearnedCriterion(Criterion):
    """One reward for everybody."""

    reward: Reward

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Reward of each response."""
        return self.reward.score(prompts, responses)

    def save(self, folder: Path) -> dict[str, Any]:
        """The reward's weights."""
        self.reward.save(folder / REWARD_FILE)
        return {"by": "reward"}


@dataclass(frozen=True)
class WorstOff(Criterion):
    """The true utility of the group that is worst off, each in standard deviations over some responses.

    It is saved without the utilities, which belong to the task and are told again (`with_utilities`).
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    utilities: RewardFunction | None = None

    @staticmethod
    def over(utilities: RewardFunction, prompts: Sequence[str], responses: Sequence[str]) -> WorstOff:
        """A criterion whose zero and unit for each group are its mean and spread over these responses."""
        seen = utilities(prompts, responses)
        scale = np.maximum(seen.std(axis=0), 1e-6)
        return WorstOff(tuple(seen.mean(axis=0).tolist()), tuple(scale.tolist()), utilities)

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """The smallest of the groups' utilities of each response."""
        if self.utilities is None:
            raise PrefbenchError("a policy that selects by the true utilities was not told them.")
        values = (self.utilities(prompts, responses) - np.asarray(self.shift)) / np.asarray(self.scale)
        return np.asarray(values.min(axis=1))

    def told(self, utilities: Callable[[], RewardFunction]) -> WorstOff:
        """The criterion with the true utilities."""
        return replace(self, utilities=utilities())

    def save(self, folder: Path) -> dict[str, Any]:
        """Zeros and units."""
        return {"by": "utilities", "shift": list(self.shift), "scale": list(self.scale)}


@dataclass(frozen=True)
class BestOfPolicy(Policy):
    """The best of several samples of another policy.

    Its divergence from that policy is at most `most_kl`, whatever the criterion.
    """

    base: Policy
    criterion: Criterion
    candidates: int

    @property
    def most_kl(self) -> float:
        """Upper bound log n - (n - 1) / n, nats (Beirami et al. 2024, arXiv 2401.01879).

        It is near where samples are seldom equal.
        """
        return most_kl_of_best(self.candidates)

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` independent selections per prompt; of equally good candidates the first."""
        drawn = self.base.sample(prompts, n * self.candidates, draw)
        asked = [prompt for prompt, row in zip(prompts, drawn, strict=True) for _ in row]
        scores = self.criterion.score(asked, [text for row in drawn for text in row])
        best = scores.reshape(len(prompts), n, self.candidates).argmax(axis=2)
        return [
            [row[i * self.candidates + place] for i, place in enumerate(places)]
            for row, places in zip(drawn, best.tolist(), strict=True)
        ]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """None: the probability of a selection has no closed form where responses cannot be listed."""
        return None

    def told(self, utilities: Callable[[], RewardFunction]) -> BestOfPolicy:
        """The policy with the true utilities, if it selects by them."""
        return replace(self, criterion=self.criterion.told(utilities))

    def save(self, folder: Path) -> None:
        """A line of JSON, and what the criterion is made of."""
        write_policy(
            folder, {"kind": "best_of", "candidates": self.candidates, **self.criterion.save(folder)}
        )


def most_kl_of_best(n: int) -> float:
    """Upper bound log n - (n - 1) / n on the divergence of the best of n samples, nats."""
    return math.log(n) - (n - 1) / n


def write_policy(folder: Path, content: dict[str, object]) -> None:
    """Write the line of JSON that `simple_policies.load_simple_policy` reads a policy back from."""
    (folder / "policy.json").write_text(json.dumps(content))


def load_criterion(folder: Path, content: dict[str, Any], backbone: Backbone) -> Criterion:
    """The criterion of a saved policy, given its JSON."""
    if content["by"] == "reward":
        return LearnedCriterion(backbone.load_reward(folder / REWARD_FILE))
    shift, scale = (tuple(float(value) for value in content[name]) for name in ("shift", "scale"))
    return WorstOff(shift, scale)


def with_utilities(policy: Policy, utilities: Callable[[], RewardFunction]) -> Policy:
    """The policy, told the true utilities if it selects by them; any other as it is."""
    return policy.told(utilities) if isinstance(policy, BestOfPolicy) else policy


def best_constant(
    candidates: Sequence[str],
    prompts: Sequence[str],
    reference: Sequence[str],
    utilities: RewardFunction,
    rounds: int,
) -> str:
    """Text that wins most for the group that it wins least for, when it answers every one of some prompts.

    The best few of the candidates are shortened as long as that helps: all texts with one word less are
    tried, and the best few of all go on.

    Args:
        candidates: texts to begin with, one of them not empty; of equally good ones the first.
        prompts: the prompts, [n].
        reference: the response to each that it is compared with, [n].
        utilities: of (prompts, responses), [n, groups].
        rounds: words that may go from a text.
    """
    asked = list(prompts)
    theirs = utilities(asked, list(reference))

    def worst(text: str) -> tuple[float, float]:
        difference = utilities(asked, [text] * len(asked)) - theirs
        won = np.where(np.abs(difference) <= TIE, 0.5, difference > 0).mean(axis=0)
        return float(won.min()), float(won.mean())

    known = {text: worst(text) for text in dict.fromkeys(candidates) if not is_empty(text)}
    kept: list[str] = []
    for _ in range(rounds + 1):
        best = sorted(known, key=known.__getitem__, reverse=True)[:KEPT]
        if best == kept:
            break
        kept = best
        shorter = [text for long in kept for text in _one_word_less(long) if not is_empty(text)]
        known.update({text: worst(text) for text in dict.fromkeys(shorter) if text not in known})
    return kept[0]


def _one_word_less(text: str) -> list[str]:
    """The text without each of its words, the blank before the first one kept."""
    words = text.split()
    blank = " " if text[:1].isspace() else ""
    return [blank + " ".join([*words[:i], *words[i + 1 :]]) for i in range(len(words))]
