"""SharedRep-RLHF: known groups' rewards as heads on one low-rank representation (arXiv 2509.03672)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.low_rank import fit_heads
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_by_group, pairs_of
from prefbench.learn.weighted import Frozen
from prefbench.learn.welfare import per_sample_min
from prefbench.search import Choice, LogUniform
from prefbench.work import features_and_policy


class SharedRepOptions(SingleRewardOptions):
    """A head for each group on a shared representation, and PPO on the least of them."""

    search = {"rank": Choice((1, 2, 4, 8)), "head_ridge": LogUniform(0.1, 10.0)}

    rank: int = Field(2, ge=1, le=256)
    """Width of the shared representation."""
    head_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of each group's reward, in units of a usual one."""


@pb.aligner("shared_rep", needs={"group"}, work=features_and_policy)
def shared_rep(view: pb.View, backbone: pb.Backbone, options: SharedRepOptions) -> pb.Policy:
    """r_g = phi . V w_g, V of a few columns that all groups share; then PPO on each response's least reward.

    On frozen features of everybody's reward: the paper trains the features with V and the heads.
    """
    assert view.shares is not None
    names = list(view.shares)
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0])
    heads, shift = fit_heads(experts, train, names, options.rank, options.head_ridge, view.seed)

    def rewards(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return np.asarray(experts(prompts, responses) @ heads - shift)

    return backbone.optimise(
        rewards,
        per_sample_min,
        options,
        prompts=view.prompts,
        seed=view.seed,
        names=names,
        held_out=list(pairs_by_group(view, "validation").values()),
    )
