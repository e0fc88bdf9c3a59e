"""One reward, and the one policy that is best by it for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefbench.learn.interface import Aligned, Backbone, Pairs, Policy, RewardFunction
from prefbench.learn.options import PPOOptions, SingleRewardOptions
from prefbench.learn.rewards import fit_everybody, say_what_was_not_learned
from prefbench.learn.welfare import mean

if TYPE_CHECKING:
    from prefbench.problem.view import View


def policy_for(
    view: View,
    backbone: Backbone,
    reward: RewardFunction,
    options: PPOOptions,
    held_out: Pairs,
    name: str = "everybody",
) -> Policy:
    """The policy with the largest mean of one reward, by PPO or in closed form.

    Args:
        view: prompts and seed.
        backbone: gives the policy.
        reward: of (prompts, responses), [n, 1].
        options: of PPO.
        held_out: pairs that choose between the policies of its training, if the options let them.
        name: the reward's, for progress and the training history.
    """
    return backbone.optimise(
        reward, mean(), options, prompts=view.prompts, seed=view.seed, names=[name], held_out=[held_out]
    )


def aligned_to_everybody(
    view: View,
    backbone: Backbone,
    options: SingleRewardOptions,
    train: Pairs,
    held_out: Pairs,
    notes: Sequence[str] = (),
) -> Aligned:
    """One Bradley-Terry reward fitted to all train pairs, whoever labelled them, and the policy for it.

    Args:
        view: prompts and seed.
        backbone: fits both.
        options: of the reward and of PPO.
        train: pairs that the reward is fitted to.
        held_out: pairs that choose between weights and policies of the trainings, if the options let them.
        notes: sentences for the record.
    """
    rewards = fit_everybody(backbone, train, options, view.seed, held_out)
    say_what_was_not_learned(backbone, rewards)
    return Aligned(policy_for(view, backbone, rewards, options, held_out), rewards, notes=notes)
