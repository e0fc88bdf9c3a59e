"""A logistic regression for each person: a simple baseline that personal rewards are seldom held against."""

from __future__ import annotations

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import PersonalOptions, RewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, say_what_was_not_learned
from prefbench.learn.routers import by_pairs, fit_free
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.weighted import Frozen, both_sides, spread
from prefbench.search import LogUniform
from prefbench.work import Recipe, selection


class UserRegressionOptions(RewardOptions, PersonalOptions):
    """Everybody's reward, and what each person's own departs from it by."""

    search = {"person_ridge": LogUniform(0.01, 10.0)}

    person_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of a person's departure from everybody's reward, in units of a usual one."""


def reward_and_selection(recipe: Recipe) -> None:
    """A reward for everybody, its features, and one of several samples by both."""
    recipe.everybody()
    recipe.features("features", passes=3)
    selection(recipe, 2)


@pb.aligner("user_regression", sees={"pairs"}, work=reward_and_selection)
def user_regression(view: pb.View, backbone: pb.Backbone, options: UserRegressionOptions) -> pb.Aligned:
    """r_u = r_0 + phi . d_u, r_0 everybody's reward and d_u a ridge logistic regression on her own pairs.

    The features phi are those of r_0, frozen. With no pair, or under a large penalty, it is single_reward's
    reward; each person's is scaled to unit spread over reference responses as that one is.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    say_what_was_not_learned(backbone, everybody)
    experts = Frozen.of(backbone, train, everybody.models[0], "reward")
    said = np.concatenate(both_sides(experts, train))
    ridge = options.person_ridge * experts.penalty

    def fitted(margin: np.ndarray, strength: np.ndarray | None) -> np.ndarray:
        away = fit_free(margin[:, 1:], ridge, np.zeros(margin.shape[1] - 1), margin[:, 0], strength)
        weights = np.concatenate([[1.0], away])
        return weights / spread(weights, said)

    policy_of, nobody = policies_of(view, backbone, experts, options), np.zeros((0, said.shape[1]))
    return personal(policy_of, fitted(nobody, None), by_pairs(experts, fitted), everybody)
