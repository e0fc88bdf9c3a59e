"""Robust multi-objective decoding: the worst-off group of each prompt (Son et al., ICLR 2026, 2503.08796)."""

from __future__ import annotations

from pydantic import Field

import prefbench as pb
from prefbench.learn.by_prompt import Fairest, policy_by_prompt, table_of
from prefbench.learn.em import fit_mixture
from prefbench.learn.exact import maxmin
from prefbench.learn.options import EMOptions, RewardOptions, kl_coefficient
from prefbench.learn.rewards import fit_known_groups, pairs_of
from prefbench.learn.routing import game_of
from prefbench.learn.selection import most_kl_of_best
from prefbench.search import LANGUAGE, Choice, LogUniform
from prefbench.work import Recipe, one_of_several, sampled_game


class DecodingOptions(pb.Options):
    """Weighing of each prompt's responses anew, and how far it goes."""

    search = {
        "kl_coefficient": LogUniform(0.03, 1.0),
        "candidates": Choice((4, 8, 16, 32, 64), LANGUAGE),
    }
    strength = "kl_coefficient"

    kl_coefficient: float | None = Field(None, gt=0)
    """Weight beta of the KL penalty, in units of normalised reward per nat, the paper's 1 / lambda; none
    means the model's own."""
    candidates: int = Field(16, ge=2, le=1024)
    """Reference samples that a language model's response is drawn from."""

    def most_kl(self) -> float:
        """log n - (n - 1) / n of n candidates; where responses are listed the divergence is known."""
        return most_kl_of_best(self.candidates)


class RMODOptions(EMOptions, DecodingOptions):
    """Clusters of annotators by EM, a reward each, and the worst off of each prompt."""


class KnownRMODOptions(RewardOptions, DecodingOptions):
    """A reward for each known group, and the worst off of each prompt."""

    search = {"reward_group_epochs": Choice((1, 2, 4), LANGUAGE)}


def by_cluster(recipe: Recipe) -> None:
    """A reward for each cluster by EM, and one of several samples by all of them."""
    recipe.mixture()
    decoded(recipe)


def by_group(recipe: Recipe) -> None:
    """A reward for each group, and one of several samples by all of them."""
    recipe.known_groups()
    decoded(recipe)


def decoded(recipe: Recipe) -> None:
    """Samples are scored by every reward, and before those of some train prompts, for the record."""
    sampled_game(recipe, "minima", recipe.rewards)
    one_of_several(recipe, recipe.rewards)


@pb.aligner("rmod", needs={"user_id"}, work=by_cluster)
def rmod(view: pb.View, backbone: pb.Backbone, options: RMODOptions) -> pb.Aligned:
    """The worst-off cluster of each prompt by itself: maxmin's rewards, reference samples weighed anew.

    On every prompt pi ~ pi_ref exp(sum_g w_g r_g / beta) with weights of its own, which make the least of the
    groups' values at that prompt as large as can be. That is another objective than maxmin's, the least of
    the groups' means over prompts: a group may be worst off there and well served here.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    return _decode(view, backbone, options, fit_mixture(backbone, train, options, view.seed, held_out))


@pb.aligner("rmod_known_groups", needs={"group"}, work=by_group)
def rmod_known_groups(view: pb.View, backbone: pb.Backbone, options: KnownRMODOptions) -> pb.Aligned:
    """rmod with the true groups in place of EM."""
    return _decode(view, backbone, options, fit_known_groups(view, backbone, options))


def _decode(
    view: pb.View, backbone: pb.Backbone, options: DecodingOptions, rewards: pb.Rewards
) -> pb.Aligned:
    beta = kl_coefficient(options.kl_coefficient, backbone.kl_coefficient)
    rule = Fairest(beta)
    policy, notes = policy_by_prompt(view, backbone, rewards, rule, options.candidates)
    game = game_of(view, backbone, rewards, beta, options.candidates, "minima")
    said = []
    for table in (table_of(rule, game), maxmin(game).logprob):
        values = game.values_by_state(table)
        said.append((float((game.weights @ values).min()), float(game.weights @ values.min(axis=1))))
    (least, mean_least), (maxmins, maxmins_mean) = said
    note = (
        f"by its own rewards, less the charge for KL: population minimum {least:.3f} (maxmin's policy "
        f"{maxmins:.3f}), mean over prompts of each one's minimum {mean_least:.3f} ({maxmins_mean:.3f})"
    )
    return pb.Aligned(policy, rewards, notes=[*notes, note])
