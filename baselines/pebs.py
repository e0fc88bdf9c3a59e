"""PEBS: everybody's reward on each person's own scale, shrunk to the population's by empirical Bayes."""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.learn.options import PersonalOptions, RewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, say_what_was_not_learned, strength_of
from prefbench.learn.routers import by_pairs, fit_free, population
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.weighted import margins
from prefbench.work import Recipe, selection


class PEBSOptions(RewardOptions, PersonalOptions):
    """Everybody's reward, and each person's slope of it."""


def reward_and_selection(recipe: Recipe) -> None:
    """A reward for everybody, which scores every pair once more, and one of several samples by it."""
    recipe.everybody()
    recipe.features("slopes")
    selection(recipe, 1)


@pb.aligner("pebs", needs={"user_id"}, sees={"pairs"}, work=reward_and_selection)
def pebs(view: pb.View, backbone: pb.Backbone, options: PEBSOptions) -> pb.Aligned:
    """P(y+ beats y- | u) = sigmoid(b_u D r_0) with b_u ~ N(m, t^2), m and t^2 found from all annotators.

    Of a few pairs b_u is near m, of many it is her own. The source (deadsmash07/pebs-pluralistic, 2026) has
    ratings a_u + b_u r_0 and least squares; in a pair a_u cancels, and the fit is logistic. A negative slope
    turns the order of responses round; the best of several samples depends on nothing but the slope's sign.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    say_what_was_not_learned(backbone, everybody)
    raw = everybody.raw()
    assert train.user_id is not None
    labelled = margins(raw, train)
    user = np.unique(train.user_id, return_inverse=True)[1]
    mean, variance = population(labelled[:, 0], user, strength_of(train))
    centre = np.array([mean])

    def slope(margin: np.ndarray, strength: np.ndarray | None) -> np.ndarray:
        return fit_free(margin, 1 / variance, centre, strength=strength)

    policy_of = policies_of(view, backbone, everybody, options)
    return personal(policy_of, centre, by_pairs(raw, slope), everybody)
