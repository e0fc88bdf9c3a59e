"""Policies that weigh the responses to each prompt by themselves, all of them or several samples.

A rule gives a prompt's responses their chances by what rewards say of these responses alone. In a world it is
asked about all responses of a state, and the policy is exact. For a language model it is asked about N
samples of the reference, each of which stands for 1/N of it, and one of them is drawn by its chances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from prefbench import seeds
from prefbench.learn import exact
from prefbench.learn.game import Game
from prefbench.learn.interface import Backbone, Policy, Rewards
from prefbench.learn.options import PPOOptions
from prefbench.learn.rewards import load_rewards, save_rewards
from prefbench.learn.selection import most_kl_of_best, write_policy
from prefbench.learn.weighted import listed
from prefbench.learn.welfare import mean

if TYPE_CHECKING:
    from prefbench.problem.view import View


class Rule(Protocol):
    """Chances of a prompt's responses."""

    kind: ClassVar[str]
    """Name in files."""

    def chances(self, said: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """Logarithms of the chances of different responses, [R], that sum to one.

        Args:
            said: [R, G] rewards of the responses.
            reference: [R] logarithms of what the reference gives them, summing to one.
        """


@dataclass(frozen=True)
class Fairest(Rule):
    """Maxmin of the prompt by itself: pi ~ pi_ref exp(sum_g w_g r_g / beta) with the prompt's own weights.

    w = argmin over the simplex of beta log E_ref exp(sum_g w_g r_g / beta), the dual of the largest smallest
    value of a group (robust multi-objective decoding, arXiv 2503.08796, whose lambda is 1 / beta).
    """

    kind: ClassVar[str] = "fairest"
    beta: float
    """KL weight, in units of the rewards per nat."""

    def chances(self, said: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The prompt's maxmin optimum, of two groups by the root of the dual's slope.

        A run asks for thousands; the method of `learn/exact.py`, for any number, takes milliseconds each.
        """
        if said.shape[1] != 2:
            alone = Game(said[None], np.exp(reference)[None], np.ones(1), self.beta)
            return np.asarray(exact.maxmin(alone).logprob[0])
        from scipy.optimize import brentq

        def tilted(weight: float) -> np.ndarray:
            logits = reference + (said[:, 1] + weight * apart) / self.beta
            logits -= logits.max()
            return np.asarray(logits - np.log(np.exp(logits).sum()))

        def slope(weight: float) -> float:
            return float(np.exp(tilted(weight)) @ apart)

        apart = said[:, 0] - said[:, 1]
        if slope(0.0) >= 0 or slope(1.0) <= 0:  # one group is worst off even at its own best
            return tilted(float(slope(0.0) < 0))
        return tilted(float(brentq(slope, 0.0, 1.0, xtol=1e-14)))


@dataclass(frozen=True)
class Proportional(Rule):
    """pi(a) ~ u_a exp(sharpness u_a), u_a = min over b != a of sigmoid(r_a - r_b), of one reward as fitted.

    Source: population-proportional alignment (arXiv 2506.05619), whose beta is the sharpness.
    """

    kind: ClassVar[str] = "proportional"
    sharpness: float

    def chances(self, said: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The reference's chances play no part."""
        if len(said) == 1:
            return np.zeros(1)
        reward = said[:, 0]
        first, second = np.partition(reward, -2)[[-1, -2]]
        rival = np.full(len(reward), first)
        rival[reward.argmax()] = second
        least = -np.logaddexp(0.0, rival - reward)  # log u
        logits = least + self.sharpness * np.exp(least)
        return np.asarray(logits - np.logaddexp.reduce(logits))


RULES: dict[str, type[Any]] = {rule.kind: rule for rule in (Fairest, Proportional)}


@dataclass(frozen=True)
class ResampledPolicy(Policy):
    """One of several samples of another policy, drawn by a rule's chances.

    Its divergence from that policy is at most `selection.most_kl_of_best(candidates)`: whatever is selected
    of n draws, a set of responses that comes up with chance p has at most 1 - (1 - p)^n.
    """

    base: Policy
    rewards: Rewards
    rule: Rule
    candidates: int

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` independent responses per prompt, each of its own candidates; equal texts are one response."""
        drawn = self.base.sample(prompts, n * self.candidates, draw)
        asked = [prompt for prompt, row in zip(prompts, drawn, strict=True) for _ in row]
        said = self.rewards(asked, [text for row in drawn for text in row])
        each = said.reshape(len(prompts), n, self.candidates, -1)
        uniform = np.random.default_rng(seeds.part(draw, 0)).random((len(prompts), n))
        return [
            [
                self._one(
                    row[i * self.candidates : (i + 1) * self.candidates], each[place, i], uniform[place, i]
                )
                for i in range(n)
            ]
            for place, row in enumerate(drawn)
        ]

    def _one(self, texts: list[str], said: np.ndarray, uniform: float) -> str:
        first = {text: place for place, text in reversed(list(enumerate(texts)))}
        different = sorted(first, key=first.__getitem__)
        counts = np.array([texts.count(text) for text in different])
        chances = self.rule.chances(said[[first[text] for text in different]], np.log(counts / len(texts)))
        cumulative = np.exp(chances).cumsum()
        found = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
        return different[min(found, len(different) - 1)]

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """None: the probability of such a draw has no closed form where responses cannot be listed."""
        return None

    def save(self, folder: Path) -> None:
        """The rewards, and a line of JSON."""
        save_rewards(folder, self.rewards)
        rule = {"rule": self.rule.kind, "numbers": asdict(self.rule)}  # type: ignore[call-overload]
        write_policy(folder, {"kind": "resampled", "candidates": self.candidates, **rule})


def load_resampled(folder: Path, content: dict[str, Any], backbone: Backbone) -> ResampledPolicy:
    """A saved policy of this module, given its JSON."""
    rule = RULES[content["rule"]](**content["numbers"])
    return ResampledPolicy(
        backbone.reference, load_rewards(backbone, folder), rule, int(content["candidates"])
    )


def policy_by_prompt(
    view: View, backbone: Backbone, rewards: Rewards, rule: Rule, candidates: int
) -> tuple[Policy, list[str]]:
    """The policy of a rule, exact where responses are listed, and remarks on it for the record."""
    if not listed(backbone):
        bound = f"one of n={candidates} samples lies at most {most_kl_of_best(candidates):.2f} nats"
        policy = ResampledPolicy(backbone.reference, rewards, rule, candidates)
        return policy, [f"{bound} from the reference, log n - (n - 1) / n"]

    def objective(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        # A world asks about all responses of its states at once; log pi - log pi_ref is the reward whose
        # optimum at a KL weight of one is pi.
        reference = backbone.reference.logprob(prompts, responses)
        assert reference is not None
        said, places = rewards(prompts, responses), np.unique(list(prompts), return_inverse=True)[1]
        found = np.empty(len(responses))
        for prompt in range(places.max() + 1):
            rows = np.flatnonzero(places == prompt)
            found[rows] = rule.chances(said[rows], reference[rows]) - reference[rows]
        return found[:, None]

    at_one = PPOOptions.model_validate({"kl_coefficient": 1.0})
    return backbone.optimise(
        objective, mean(), at_one, prompts=view.prompts, seed=view.seed, names=["rule"]
    ), []


def table_of(rule: Rule, game: Game) -> np.ndarray:
    """log pi(y | x) of a rule's policy in every state of a game, [S, R]."""
    states = zip(game.rewards, np.log(game.reference), strict=True)
    return np.stack([rule.chances(said, reference) for said, reference in states])
