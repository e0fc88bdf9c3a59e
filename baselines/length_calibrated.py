"""One reward without what length explains of it (Huang et al. 2024, arXiv 2409.17407)."""

from __future__ import annotations

from pydantic import Field

import prefbench as pb
from prefbench.learn.length import LengthCalibrated
from prefbench.learn.one_policy import policy_for
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, say_what_was_not_learned
from prefbench.search import Choice
from prefbench.work import Recipe


class LengthCalibratedOptions(SingleRewardOptions):
    """A reward model, the line that is taken from it, and PPO."""

    search = {"smoothing": Choice((0.2, 0.35, 0.5, 0.75))}

    smoothing: float = Field(0.5, gt=0, le=1)
    """Share of responses, the nearest in length, that a length's mean reward is estimated on."""


def reward_line_and_policy(recipe: Recipe) -> None:
    """A reward for everybody, what it says of every response in the pairs, and a policy by PPO."""
    recipe.everybody()
    recipe.features("length")
    recipe.optimise("policy by PPO", 1)


@pb.aligner("length_calibrated", work=reward_line_and_policy)
def length_calibrated(view: pb.View, backbone: pb.Backbone, options: LengthCalibratedOptions) -> pb.Aligned:
    """single_reward with r - LOWESS(r on length) in the place of r: no response gains by its length alone.

    What is taken for a bias of the labels may be what a group wants: people who ask for few words lose by it.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    rewards = fit_everybody(backbone, train, options, view.seed, held_out)
    say_what_was_not_learned(backbone, rewards)
    calibrated = LengthCalibrated.over(rewards, train, options.smoothing)
    policy = policy_for(view, backbone, calibrated, options, held_out, "everybody, without length")
    part = f"length explained {100 * calibrated.explained[0]:.0f}% of the reward's variance over responses"
    return pb.Aligned(policy, notes=[f"{part} in the pairs, and was taken out"])
