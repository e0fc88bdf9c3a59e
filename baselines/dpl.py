"""Distributional preference learning (Siththaranjan, Laidlaw and Hadfield-Menell 2024, arXiv 2312.08358)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.categorical import Categorical, fit_categorical
from prefbench.learn.cautious import cautious
from prefbench.learn.mean_spread import MeanSpread, fit_mean_spread, ordered
from prefbench.learn.options import SpreadOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, strength_of
from prefbench.learn.weighted import Frozen, both_sides
from prefbench.search import Choice, LogUniform
from prefbench.work import features_and_policy


class DPLOptions(SpreadOptions):
    """Rewards that are distributions over people, and PPO on a low value of each."""

    search = {"form": Choice(("mean_variance", "categorical")), "entropy": LogUniform(0.01, 1.0)}

    form: Literal["mean_variance", "categorical"] = "mean_variance"
    """A normal distribution for each response, or chances of ten values."""
    entropy: float = Field(0.1, ge=0)
    """Weight that spreads the mean distribution over the ten values."""


@pb.aligner("dpl", work=features_and_policy)
def dpl(view: pb.View, backbone: pb.Backbone, options: DPLOptions) -> pb.Aligned:
    """Distributions by softplus(-sqrt(2 pi) D mu / sqrt(SD+^2 + SD-^2)); then PPO on mu - c SD.

    On frozen features of everybody's reward, with the root mean square of SD fixed at 1: the paper trains a
    whole network and leaves the scale open. Whose labels they are plays no part.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0])
    chosen, rejected = both_sides(experts, train)
    ridge, spread_ridge = experts.penalty, options.spread_ridge * experts.penalty
    strength = strength_of(train)
    if options.form == "categorical":
        found: Categorical | MeanSpread = fit_categorical(
            chosen, rejected, ridge=spread_ridge, entropy=options.entropy, strength=strength
        )
    else:
        found = fit_mean_spread(
            chosen, rejected, ordered(strength), ridge=ridge, spread_ridge=spread_ridge, strength=strength
        )
    said = np.concatenate([chosen, rejected])
    return cautious(view, backbone, experts, found, said, options, held_out)
