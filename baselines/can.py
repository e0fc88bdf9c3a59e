"""The others' value under a floor for the minority: CAN (Huang et al., NeurIPS 2024, arXiv 2405.19544)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.floor import MOST, Floored, with_floor
from prefbench.learn.game import Game
from prefbench.learn.options import PairwiseOptions, SingleRewardOptions, kl_coefficient
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import fit_known_groups, group_among, pairs_by_group, pairs_of
from prefbench.learn.routing import game_of
from prefbench.learn.weighted import LEAST_SPREAD, both_sides, listed
from prefbench.learn.welfare import mean
from prefbench.search import LANGUAGE, Choice
from prefbench.work import PRIOR_PROMPTS, Recipe, sampled_game


class FloorOptions(pb.Options):
    """The floor, and what it is priced on."""

    search = {"floor": Choice((0.0, 0.25, 0.5, 1.0)), "candidates": Choice((8, 16, 32, 64), LANGUAGE)}

    floor: float = 0.0
    """Least mean reward of the minority, in standard deviations of it over reference responses; 0 is as the
    reference serves it. One that cannot be met is lowered to the largest that can be."""
    candidates: int = Field(32, ge=2, le=1024)
    """Reference samples of a prompt that stand for all responses of a language model in the dual."""


class CANOptions(FloorOptions, SingleRewardOptions):
    """A reward for each known group, and PPO on their sum with the floor's price."""

    search = {"reward_group_epochs": Choice((1, 2, 4), LANGUAGE)}


class PeCANOptions(FloorOptions, PairwiseOptions):
    """DPO policies for the minority and for the others, and DPO on pairs that they label."""


def rewards_and_policy(recipe: Recipe) -> None:
    """A reward for each group, samples for the dual, and a policy by PPO."""
    recipe.known_groups()
    sampled_game(recipe, "floor", recipe.rewards)
    recipe.optimise("policy by PPO", recipe.rewards)


@pb.aligner("can", needs={"group"}, work=rewards_and_policy)
def can(view: pb.View, backbone: pb.Backbone, options: CANOptions) -> pb.Aligned:
    """The others' mean reward with a floor under the minority's: max E r - beta KL subject to E s >= b.

    By its dual (`learn/floor.py`), on all responses of a world or on reference samples (MoCAN): the policy is
    the optimum for r + l s, in closed form or by PPO.
    """
    rewards = fit_known_groups(view, backbone, options)
    names, beta = rewards.names, kl_coefficient(options.kl_coefficient, backbone.kl_coefficient)
    weights, minority = _others(view, names)
    game = game_of(view, backbone, rewards, beta, options.candidates, "floor")
    two = np.stack([game.rewards @ weights, game.rewards[:, :, minority]], axis=2)
    found = with_floor(Game(two, game.reference, game.weights, beta), options.floor)
    weights[minority] = found.multiplier
    # The mean with weights w of sum 1 + l at beta / (1 + l) has the optimum of the sum at beta.
    strength = options.model_copy(update={"kl_coefficient": beta / (1 + found.multiplier)})
    held_out = list(pairs_by_group(view, "validation").values())
    policy = backbone.optimise(
        rewards,
        mean(weights.tolist()),
        strength,
        prompts=view.prompts,
        seed=view.seed,
        held_out=held_out,
    )
    return pb.Aligned(policy, rewards, notes=_said(found, options, names[minority], listed(backbone)))


def policies_and_policy(recipe: Recipe) -> None:
    """Two policies by DPO, what they say of pairs and of samples for the dual, and one by DPO."""
    recipe.pairwise("policies of groups", held=2)
    held, scored = {"held": 2}, 3  # by both and by the reference
    recipe.score("labels by policies", 2 * scored * recipe.sizes.train, **held)
    if recipe.options["checkpoint"] == "best":
        recipe.score("labels by policies", 2 * scored * recipe.sizes.validation, **held)
    sampled_game(recipe, "floor", scored)
    recipe.pairwise("policy by pairs", held=3)


@pb.aligner("pecan", needs={"group"}, work=policies_and_policy)
def pecan(view: pb.View, backbone: pb.Backbone, options: PeCANOptions) -> pb.Aligned:
    """can without reward models: r and s are log-ratios of two DPO policies, and DPO fits what they label.

    The train pairs' labels become sigmoid(D (r + l s)), as strengths, which the paper draws as coins.
    """
    beta, loss = options.beta or backbone.dpo_beta, DPO.of(options, backbone)
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    minority = group_among(view, None, smallest=True)
    sides = [
        [pairs[np.flatnonzero((pairs.group == minority) == mine)] for pairs in (train, held_out)]
        for mine in (False, True)
    ]
    policies = [
        backbone.fit_pairwise(own, loss, options, seed=view.seed, name=name, held_out=checked)
        for name, (own, checked) in zip(("others", "minority"), sides, strict=True)
    ]

    def ratios(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        logs = [policy.logprob(prompts, responses) for policy in (backbone.reference, *policies)]
        known = np.stack([log for log in logs if log is not None], axis=1)
        return np.asarray(known[:, 1:] - known[:, :1])

    chosen, rejected = both_sides(ratios, train)
    said = np.concatenate([chosen, rejected])
    shift, scale = said.mean(axis=0), np.maximum(said.std(axis=0), LEAST_SPREAD)
    game = game_of(
        view,
        backbone,
        lambda prompts, responses: (ratios(prompts, responses) - shift) / scale,
        beta,
        options.candidates,
        "floor",
    )
    found = with_floor(game, options.floor)
    priced = np.array([1.0, found.multiplier]) / scale
    best = options.checkpoint == "best"
    policy = backbone.fit_pairwise(
        _relabelled(train, (chosen - rejected) @ priced),
        loss,
        options,
        seed=view.seed,
        name="floor",
        held_out=_relabelled(held_out, np.subtract(*both_sides(ratios, held_out)) @ priced) if best else None,
    )
    return pb.Aligned(policy, notes=_said(found, options, minority, listed(backbone)))


def _others(view: pb.View, names: Sequence[str]) -> tuple[np.ndarray, int]:
    """Weights [G] of all groups but the minority by share, summing to one, and its place."""
    assert view.shares is not None
    minority = names.index(group_among(view, None, smallest=True))
    weights = np.array([view.shares[name] for name in names])
    weights[minority] = 0.0
    return weights / weights.sum(), minority


def _relabelled(pairs: pb.Pairs, margin: np.ndarray) -> pb.Pairs:
    """The pairs, each as sure of its chosen response as a reward with this margin is."""
    return replace(pairs, strength=np.exp(-np.logaddexp(0.0, -margin)), group=None)


def _said(found: Floored, options: FloorOptions, minority: str, exact: bool) -> list[str]:
    where = "" if exact else f", on {options.candidates} samples of up to {PRIOR_PROMPTS} train prompts"
    notes = [
        f"floor {found.floor:.3g} of {minority}'s reward: {found.unconstrained:.3f} without it, "
        f"{found.reached:.3f} with the multiplier {found.multiplier:.3g}{where}"
    ]
    if found.floor < options.floor:
        notes.append(
            f"no multiplier up to {MOST:g} reaches the floor {options.floor:g}: it was lowered to what that "
            "one reaches"
        )
    return notes
