"""Posterior over clusters of annotators: the plainest policy for each person by MaxMin-RLHF's rewards."""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.learn.em import fit_mixture
from prefbench.learn.options import EMPersonalOptions
from prefbench.learn.rewards import pairs_of
from prefbench.learn.routers import by_pairs, posterior
from prefbench.learn.routing import personal, policies_of, weights_for_worst_off
from prefbench.work import Recipe, selection


def rewards_and_selection(recipe: Recipe) -> None:
    """A reward for each cluster by EM, and one of several samples by their weighted sum."""
    recipe.mixture()
    selection(recipe, recipe.rewards, asks_prior=recipe.options["prior"] == "worst_off")


@pb.aligner("em_personal", needs={"user_id"}, sees={"pairs"}, work=rewards_and_selection)
def em_personal(view: pb.View, backbone: pb.Backbone, options: EMPersonalOptions) -> pb.Aligned:
    """maxmin's rewards by EM, and for each person their mean under p(k | C) ~ eta_k prod_j sigmoid(D r_k(j)).

    Where each cluster's reward is the truth this is the best policy that the pairs C allow, in the mean over
    people as many as the prior says. The annotators of the labels are known as others are, by their pairs.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    rewards = fit_mixture(backbone, train, options, view.seed, held_out)
    assert rewards.assignment is not None
    if options.prior == "worst_off":
        prior = weights_for_worst_off(view, backbone, rewards, options)
    else:
        sizes = np.bincount(list(rewards.assignment.values()), minlength=len(rewards.names))
        prior = sizes / sizes.sum()
    raw = rewards.raw()  # a normalised reward has another scale, and its likelihood is another's
    router = by_pairs(raw, lambda margin, strength: posterior(margin, prior, strength))
    policy_of = policies_of(view, backbone, rewards, options)
    return personal(policy_of, prior, router, rewards)
