"""Bayes' policies for true utilities: the most that a few pairs of a person allow, in worlds."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

import prefbench as pb
from prefbench.backbone.finite.backbone import Finite
from prefbench.learn.adaptive import least_favourable
from prefbench.learn.experiment import draw_contexts, log_likelihood, nothing, simulated
from prefbench.learn.options import ExactOptions, PersonalOptions, kl_coefficient
from prefbench.learn.rewards import pairs_of
from prefbench.learn.routers import by_pairs, posterior
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.weighted import TrueUtilities

CONTEXTS = 1000  # people simulated for each group


@pb.aligner("bayes_personal", needs={"oracle"}, sees={"pairs"}, backbones={"finite"}, role="ceiling")
def bayes_personal(view: pb.View, backbone: pb.Backbone, options: ExactOptions) -> pb.Aligned:
    """The best policy for the population's mean: by the posterior of a person's group from the shares."""
    assert view.shares is not None
    shares = np.array(list(view.shares.values()))
    return _bayes(view, backbone, options, lambda pairs: shares)


@pb.aligner("bayes_maxmin", needs={"oracle"}, sees={"pairs"}, backbones={"finite"}, role="ceiling")
def bayes_maxmin(view: pb.View, backbone: pb.Backbone, options: ExactOptions) -> pb.Aligned:
    """The best policy for the worst group: the same with the least favourable prior for as many pairs."""
    return _bayes(view, backbone, options, None)


def _bayes(
    view: pb.View, backbone: pb.Backbone, options: ExactOptions, prior_of: Callable[[int], np.ndarray] | None
) -> pb.Aligned:
    """Policies by posteriors, whose prior depends on the number of pairs; None for the least favourable."""
    assert isinstance(backbone, Finite) and view.utilities is not None
    noise = backbone.temperature
    if not noise > 0:
        raise pb.UserError("without label noise one pair may tell the group: set task.temperature above 0.")
    experts = TrueUtilities.over(view.utilities, pairs_of(view.preferences["train"]))

    @functools.cache
    def fairest(pairs: int) -> np.ndarray:
        game = backbone.game(
            view.prompts, experts, kl_coefficient(options.kl_coefficient, backbone.kl_coefficient)
        )
        told = nothing(game.groups)
        if pairs:
            asked = (game.rewards / noise, game.reference, game.weights)
            drawn = draw_contexts(*asked, contexts=CONTEXTS, pairs=pairs, seed=view.seed)
            told = simulated(log_likelihood(drawn))
        return least_favourable(game, told).prior

    prior = prior_of or fairest

    def likely(margin: np.ndarray, strength: np.ndarray | None) -> np.ndarray:
        return posterior(margin / noise, prior(len(margin)), strength)

    strength = PersonalOptions.model_validate(options.model_dump())
    return personal(policies_of(view, backbone, experts, strength), prior(0), by_pairs(experts, likely))
