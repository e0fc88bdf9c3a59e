"""Answers in proportion to how many are sure to want each (ICLR 2026, arXiv 2506.05619)."""

from __future__ import annotations

from pydantic import Field

import prefbench as pb
from prefbench.learn.by_prompt import Proportional, policy_by_prompt
from prefbench.learn.options import RewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, say_what_was_not_learned
from prefbench.learn.selection import most_kl_of_best
from prefbench.search import LANGUAGE, Choice, LogUniform
from prefbench.work import Recipe, one_of_several


class ProportionalOptions(RewardOptions):
    """A reward model, and how far the policy leans to what nothing beats."""

    search = {"sharpness": LogUniform(0.1, 100.0), "candidates": Choice((4, 8, 16, 32, 64), LANGUAGE)}

    sharpness: float = Field(0.0, ge=0)
    """The paper's beta: 0 answers in proportion, a large one with the response that loses least to any."""
    candidates: int = Field(16, ge=2, le=1024)
    """Reference samples that a language model's response is drawn from."""

    def most_kl(self) -> float:
        """log n - (n - 1) / n of n candidates; where responses are listed the divergence is known."""
        return most_kl_of_best(self.candidates)


def reward_and_one_of_several(recipe: Recipe) -> None:
    """A reward for everybody, and one of several samples by it."""
    recipe.everybody()
    one_of_several(recipe, 1)


@pb.aligner("population_proportional", work=reward_and_one_of_several)
def population_proportional(view: pb.View, backbone: pb.Backbone, options: ProportionalOptions) -> pb.Aligned:
    """pi(a) ~ u_a exp(sharpness u_a), u_a = min over b != a of P(a beats b) by a reward fitted to everybody.

    u_a bounds from above the share of people whose first choice is a. It looks at no reference policy but for
    which responses there are: all of them in a world, the different ones among samples of a language model.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    rewards = fit_everybody(backbone, train, options, view.seed, held_out)
    say_what_was_not_learned(backbone, rewards)
    rule = Proportional(options.sharpness)
    policy, notes = policy_by_prompt(view, backbone, rewards.raw(), rule, options.candidates)
    return pb.Aligned(policy, rewards, notes=notes)
