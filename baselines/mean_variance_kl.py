"""Mean-variance rewards by the frequencies of a pair's labels (Zhang et al. 2024, arXiv 2410.14632)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.cautious import cautious
from prefbench.learn.graded import UNIT, auroc, classes, divergence, graded
from prefbench.learn.mean_spread import MeanSpread, fit_mean_spread
from prefbench.learn.options import SpreadOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, strength_of
from prefbench.learn.votes import votes_of
from prefbench.learn.weighted import Frozen, both_sides
from prefbench.search import Choice
from prefbench.work import Recipe, features_and_policy


class MeanVarianceOptions(SpreadOptions):
    """A mean and a spread by label frequencies, and PPO on a low value."""

    search = {"correlation": Choice((0.0, 0.5, 0.9))}

    correlation: float = Field(0.0, ge=0, lt=1)
    """Correlation over people of the rewards of a pair's two responses."""


def frequencies_and_policy(recipe: Recipe) -> None:
    """A reward on features and a policy; where pairs have several labels, features of validation pairs."""
    if recipe.sizes.labels > 1:
        recipe.score("features", 2 * recipe.sizes.validation, held=1, vocabulary=False)
    features_and_policy(recipe)


@pb.aligner("mean_variance_kl", work=frequencies_and_policy)
def mean_variance_kl(view: pb.View, backbone: pb.Backbone, options: MeanVarianceOptions) -> pb.Aligned:
    """KL of a pair's label frequencies from P(D r in each class), D r ~ N(D mu, variance); PPO on mu - c SD.

    Its variance is SD_A^2 + SD_B^2 - 2 rho SD_A SD_B. With one label for each pair the loss is the
    likelihood of the labels, which says little of the spread: then the notes say so. On frozen features of
    everybody's reward; the paper trains a reward and no policy.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0])
    chosen, rejected = both_sides(experts, train)
    votes = votes_of(train)
    frequency, edges = classes(votes, strength_of(train))
    found = fit_mean_spread(
        *votes.sides(chosen, rejected),
        graded(frequency, edges, options.correlation),
        ridge=experts.penalty,
        spread_ridge=options.spread_ridge * experts.penalty,
        unit=UNIT,
        strength=votes.share,
        weights=votes.count.astype(np.float64),
        free_scale=bool(edges.any()),
    )
    said = np.concatenate([chosen, rejected])
    made = cautious(view, backbone, experts, found, said, options, held_out)
    if votes.several:
        told = _detection(experts, found, held_out)
    else:
        told = "no pair has several labels (task.labels_per_pair): the spread is known by single ones alone"
    return replace(made, notes=[*made.notes, told])


def _detection(experts: Frozen, found: MeanSpread, held_out: pb.Pairs) -> str:
    """Remark on how well the divergence score tells validation pairs that labels dispute from others."""
    votes = votes_of(held_out)
    first, second = votes.sides(*both_sides(experts, held_out))
    score, mean = (auroc(-divergence(found, first, second, weight), votes.disputed) for weight in (1.0, 0.0))
    if score is None or mean is None:
        return "labels dispute all validation pairs, or none"
    return (
        f"validation pairs that labels dispute are found with an AUROC of {score:.2f} by |D mu| less both "
        f"SD, of {mean:.2f} by |D mu| alone"
    )
