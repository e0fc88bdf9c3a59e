"""Gold rewards: a reward model as the truth, fitted to annotators whom no aligner ever sees.

An aligner that optimises its own learned reward too far goes on gaining by that reward and loses by this
one, which is how over-optimisation is seen (Gao, Schulman and Hilton 2023, arXiv 2210.10760).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from prefbench import seeds
from prefbench.learn.interface import Backbone, Pairs, Rewards
from prefbench.learn.options import RewardOptions
from prefbench.learn.rewards import fit_everybody
from prefbench.problem.labels import preference_probability
from prefbench.problem.utilities.protocol import Scores, Utility
from prefbench.stats.intervals import wilson
from prefbench.text import is_empty, text_digest

EMPTY_REWARD = -10.0
"""Reward of a response without a word, in standard deviations of the gold reward."""
PAIRS_PER_HELD_OUT = 10
"""Gold pairs for each one that measures the fit instead of joining it."""


@dataclass(frozen=True)
class GoldReward(Utility):
    """The reward of one group that a run fits, on its own reference model, before anything else uses it.

    Attributes:
        label: the group's name.
        prompts: of the gold pairs, disjoint from what aligners train on and from the test prompts.
        chosen: responses that the group's gold annotators preferred; empty where pairs are to be sampled.
        rejected: those that they did not.
        teacher: labels sampled pairs in place of given ones.
        temperature: label noise of the teacher, in standard deviations of its utility.
        strength: of given labels; empty where all are certain.
    """

    label: str
    prompts: tuple[str, ...]
    chosen: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    teacher: Utility | None = None
    temperature: float = 0.0
    strength: tuple[float, ...] = ()
    is_prepared: ClassVar[bool] = True
    unit: str = "gold reward, in standard deviations over reference responses"

    @property
    def name(self) -> str:
        """The data that it is fitted to, and how."""
        data = text_digest([*self.prompts, *self.chosen, *self.rejected])[:12]
        by = "" if self.teacher is None else f":{self.teacher.name}:temperature={self.temperature!r}"
        sure = "" if not self.strength else f":strength={text_digest(map(repr, self.strength))[:12]}"
        return f"gold_reward/1:{self.label}:{data}{by}{sure}"

    @property
    def fitted_to(self) -> tuple[int, bool]:
        """The gold pairs, and whether they come labelled."""
        return len(self.prompts), bool(self.chosen)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Refuse: the reward is not fitted yet."""
        raise RuntimeError(f"the gold reward of '{self.label}' was asked before it was fitted")

    def prepare(self, backbone: Backbone, runs_dir: Path, seed: int) -> FittedGold:
        """Fit the reward as a stored stage, and measure it on the pairs held out."""
        pairs = self._pairs(backbone, seed)
        order = seeds.rng(seed, "gold", self.label, "split").permutation(len(pairs))
        held_out, kept = np.split(order, [len(order) // PAIRS_PER_HELD_OUT])
        rewards = fit_everybody(backbone, pairs[kept], RewardOptions.model_validate({}), seed)
        test = pairs[held_out]
        margin = rewards(test.prompts, test.chosen) - rewards(test.prompts, test.rejected)
        right = (np.sign(margin) + 1) / 2
        name = f"{self.name}:{backbone.digest[:12]}:seed={seed}"
        return FittedGold(name, rewards, float(right.mean()), len(right), len(kept))

    def _pairs(self, backbone: Backbone, seed: int) -> Pairs:
        if self.teacher is None:
            strength = np.array(self.strength) if self.strength else None
            return Pairs(self.prompts, self.chosen, self.rejected, strength=strength)
        sampled = backbone.reference.sample(self.prompts, 2, seeds.child(seed, "gold", self.label, "pairs"))
        first, second = [row[0] for row in sampled], [row[1] for row in sampled]
        utility = self.teacher([*self.prompts, *self.prompts], [*first, *second])
        noise = self.temperature * max(float(utility.std()), 1e-9)
        difference = (utility[: len(first)] - utility[len(first) :])[:, None]
        chance = preference_probability(difference, np.array([noise]))[:, 0]
        wins = seeds.rng(seed, "gold", self.label, "labels").random(len(first)) < chance
        chosen = [a if win else b for a, b, win in zip(first, second, wins, strict=True)]
        rejected = [b if win else a for a, b, win in zip(first, second, wins, strict=True)]
        return Pairs(self.prompts, chosen, rejected)


@dataclass(frozen=True)
class FittedGold(Utility):
    """A gold reward that is ready to score."""

    name: str
    rewards: Rewards = field(repr=False, compare=False)
    accuracy: float
    """Share of held-out gold pairs that it orders as labelled, ties one half."""
    held_out: int
    """Number of held-out gold pairs."""
    pairs: int
    """Number of pairs that it was fitted to."""
    unit: str = GoldReward.unit

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """The normalised reward of each response."""
        scores = np.full(len(responses), EMPTY_REWARD)
        kept = [index for index, response in enumerate(responses) if not is_empty(response)]
        if kept:
            said = [responses[index] for index in kept]
            scores[kept] = self.rewards([prompts[index] for index in kept], said)[:, 0]
        return scores

    @property
    def is_better_than_chance(self) -> bool:
        """True if the 95% interval of the accuracy lies above one half."""
        return wilson(self.accuracy * self.held_out, 0, self.held_out).low > 0.5

    def report(self) -> dict[str, Any]:
        """The entry in the record."""
        return {"gold_pairs": self.pairs, "gold_accuracy": self.accuracy, "gold_held_out": self.held_out}
