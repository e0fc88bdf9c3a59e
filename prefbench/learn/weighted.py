"""Weighted sums of what experts say of a response, and the best of several samples by such a sum.

An expert is a column of a function (prompts, responses) -> [n, K]: a fitted reward, a true utility, or a
feature that nothing moves any more. A person's reward is sum_k w_k e_k(x, y). For a language model her policy
is the best of N samples of the reference: the samples of a prompt, and what the experts say of them, are the
same for every person and are had once.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import load_file, save_file

from prefbench.errors import PrefbenchError
from prefbench.learn.em import LINEAR_PRIOR_VARIANCE
from prefbench.learn.interface import Backbone, Pairs, Policy, Reward, RewardFunction, Rewards
from prefbench.learn.rewards import load_rewards, save_rewards
from prefbench.learn.selection import BestOfPolicy, Criterion, write_policy

Experts = RewardFunction
"""(prompts, responses), n of each, to what each of K experts says, float64 [n, K]."""
Beside = Literal["nothing", "reward", "square"]
LEAST_SPREAD = 1e-6
"""A spread below it is none, as of rewards."""
BASE_FILE, SCALE_FILE = "experts.safetensors", "scale.safetensors"


def listed(backbone: Backbone) -> bool:
    """True where every response can be listed, so that optima are exact."""
    return backbone.tokens([]) is None


@dataclass(frozen=True)
class Frozen:
    """Frozen features of responses as experts: linear rewards of any number of people share them."""

    backbone: Backbone
    reward: Reward | None
    """The fitted reward whose features they are; None for the reference's."""
    scale: np.ndarray
    """[d] units of the features."""
    penalty: float
    """Weight of |theta|^2 / 2 in a fit to the summed losses of pairs, where options name none."""
    beside: Beside = "nothing"
    """One more expert: that reward before the features, as it was fitted, or after them minus the square of
    their length."""

    @staticmethod
    def of(backbone: Backbone, pairs: Pairs, reward: Reward | None, beside: Beside = "nothing") -> Frozen:
        """The features of a reward, in units of their spread over the responses in the pairs.

        In worlds they are as they are, and the penalty is the world's: fits are then those of its rewards.
        """
        seen = backbone.features([*pairs.prompts, *pairs.prompts], [*pairs.chosen, *pairs.rejected], reward)
        if listed(backbone):
            penalty = float(backbone.training["penalty"])
            return Frozen(backbone, reward, np.ones(seen.shape[1]), penalty, beside)
        scale = np.maximum(seen.std(axis=0), LEAST_SPREAD)
        return Frozen(backbone, reward, scale, seen.shape[1] / LINEAR_PRIOR_VARIANCE, beside)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Features [n, d], or with one more expert [n, 1 + d]."""
        features = self.backbone.features(prompts, responses, self.reward) / self.scale
        if self.beside == "reward":
            assert self.reward is not None
            return np.column_stack([self.reward.score(prompts, responses), features])
        if self.beside == "square":
            return np.column_stack([features, -(features**2).sum(axis=1)])
        return np.asarray(features)


@dataclass(frozen=True)
class TrueUtilities:
    """The groups' true utilities as experts, each in standard deviations over some responses.

    They are saved without the utilities, which belong to the task and are told again.
    """

    shift: np.ndarray
    """[G]"""
    scale: np.ndarray
    """[G]"""
    utilities: RewardFunction | None

    @staticmethod
    def over(utilities: RewardFunction, pairs: Pairs) -> TrueUtilities:
        """Utilities whose zero and unit are their mean and spread over the responses in pairs."""
        said = np.concatenate(both_sides(utilities, pairs))
        return TrueUtilities(said.mean(axis=0), np.maximum(said.std(axis=0), LEAST_SPREAD), utilities)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Normalised utilities [n, G]."""
        if self.utilities is None:
            raise PrefbenchError("a policy that selects by the true utilities was not told them.")
        return np.asarray((self.utilities(prompts, responses) - self.shift) / self.scale)


def both_sides(experts: Experts, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The experts' numbers for the chosen and for the rejected responses, [pairs, K] each."""
    said = experts([*pairs.prompts, *pairs.prompts], [*pairs.chosen, *pairs.rejected])
    return said[: len(pairs)], said[len(pairs) :]


def margins(experts: Experts, pairs: Pairs) -> np.ndarray:
    """Chosen minus rejected, [pairs, K]."""
    chosen, rejected = both_sides(experts, pairs)
    return np.asarray(chosen - rejected)


def spread(weights: np.ndarray, said: np.ndarray) -> float:
    """Standard deviation of a weighted sum over responses of which the experts said this, [n, K]."""
    return max(float((said @ weights).std()), LEAST_SPREAD)


@dataclass(frozen=True)
class WeightedCriterion(Criterion):
    """A person's reward: a weighted sum of what experts say."""

    experts: Experts
    weights: tuple[float, ...]

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """The sum for each response, [n]."""
        return np.asarray(self.experts(prompts, responses) @ np.asarray(self.weights))

    def told(self, utilities: Callable[[], RewardFunction]) -> WeightedCriterion:
        """The criterion with the true utilities, if they are its experts."""
        if not isinstance(self.experts, TrueUtilities):
            return self
        return replace(self, experts=replace(self.experts, utilities=utilities()))

    def save(self, folder: Path) -> dict[str, Any]:
        """The experts' weights and scales, and the person's.

        Raises:
            PrefbenchError: the experts are a function of one's own, which no file could hold.
        """
        content: dict[str, Any] = {"by": "weighted", "weights": list(self.weights)}
        if isinstance(self.experts, Rewards):
            save_rewards(folder, self.experts)
            return {**content, "experts": "rewards"}
        if isinstance(self.experts, Frozen):
            save_file({"scale": np.ascontiguousarray(self.experts.scale)}, folder / SCALE_FILE)
            if self.experts.reward is not None:
                self.experts.reward.save(folder / BASE_FILE)
            names = ("penalty", "beside")
            return {**content, "experts": "features", **{n: getattr(self.experts, n) for n in names}}
        if isinstance(self.experts, TrueUtilities):
            units = {"shift": self.experts.shift.tolist(), "scale": self.experts.scale.tolist()}
            return {**content, "experts": "utilities", **units}
        raise PrefbenchError("a policy that selects by a function of one's own cannot be saved.")


def load_selection(folder: Path, content: dict[str, Any], backbone: Backbone) -> SelectionPolicy:
    """A saved policy of this module, given its JSON."""
    if content["experts"] == "rewards":
        experts: Experts = load_rewards(backbone, folder)
    elif content["experts"] == "utilities":
        experts = TrueUtilities(np.asarray(content["shift"]), np.asarray(content["scale"]), None)
    else:
        reward = backbone.load_reward(folder / BASE_FILE) if (folder / BASE_FILE).exists() else None
        scale = load_file(folder / SCALE_FILE)["scale"]
        experts = Frozen(backbone, reward, scale, float(content["penalty"]), content["beside"])
    pool = Candidates(backbone.reference, experts, int(content["candidates"]))
    return SelectionPolicy.by(pool, np.asarray(content["weights"], dtype=np.float64))


@dataclass(frozen=True)
class Candidates:
    """Samples of a policy with what experts say of them, kept: one person's are the next one's too."""

    base: Policy
    experts: Experts
    number: int
    """Samples that one response is chosen from."""
    kept: dict[tuple[Any, ...], tuple[list[str], np.ndarray]] = field(default_factory=dict, repr=False)
    """By the seed, the prompt and the number of responses."""

    def of(
        self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence
    ) -> list[tuple[list[str], np.ndarray]]:
        """For each prompt n times so many texts, and what is said of them [n * number, K].

        They depend on the seed and the prompt alone, not on the draw's name nor on the other prompts: so
        people differ by what they want, and not by luck.
        """
        keys = [(draw.entropy, prompt, n) for prompt in prompts]
        new = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self.kept}
        drawn = [
            self.base.sample([prompt], n * self.number, _own_draw(draw, prompt))[0] for prompt in new.values()
        ]
        if drawn:
            asked = [prompt for prompt, row in zip(new.values(), drawn, strict=True) for _ in row]
            said = self.experts(asked, [text for row in drawn for text in row])
            each = said.reshape(len(drawn), n * self.number, -1)
            self.kept.update(zip(new, zip(drawn, each, strict=True), strict=True))
        return [self.kept[key] for key in keys]


def _own_draw(draw: np.random.SeedSequence, prompt: str) -> np.random.SeedSequence:
    """A prompt's own child of the seed that a draw comes of."""
    digest = hashlib.sha256(prompt.encode()).digest()
    key = (zlib.crc32(b"candidates"), int.from_bytes(digest[:4], "big"))
    return np.random.SeedSequence(draw.entropy, spawn_key=key)


@dataclass(frozen=True)
class SelectionPolicy(BestOfPolicy):
    """The best of several shared samples by one person's weights; of equally good ones the first."""

    pool: Candidates

    @staticmethod
    def by(pool: Candidates, weights: np.ndarray) -> SelectionPolicy:
        """The policy of whoever has these weights [K]."""
        criterion = WeightedCriterion(pool.experts, tuple(weights.tolist()))
        return SelectionPolicy(pool.base, criterion, pool.number, pool)

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` independent selections per prompt."""
        assert isinstance(self.criterion, WeightedCriterion)
        weights, rows = np.asarray(self.criterion.weights), []
        for texts, said in self.pool.of(prompts, n, draw):
            best = (said @ weights).reshape(n, self.candidates).argmax(axis=1)
            rows.append([texts[i * self.candidates + place] for i, place in enumerate(best.tolist())])
        return rows

    def told(self, utilities: Callable[[], RewardFunction]) -> SelectionPolicy:
        """The policy with the true utilities, if they are its experts."""
        told = self.criterion.told(utilities)
        assert isinstance(told, WeightedCriterion)
        return SelectionPolicy.by(replace(self.pool, experts=told.experts, kept={}), np.asarray(told.weights))

    def save(self, folder: Path) -> None:
        """A line of JSON, and what the criterion is made of."""
        content = {"kind": "selection", "candidates": self.candidates, **self.criterion.save(folder)}
        write_policy(folder, content)
