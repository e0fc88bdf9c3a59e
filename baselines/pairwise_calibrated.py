"""Pairwise-calibrated ensembles (Halpern et al. 2025, arXiv 2506.06298)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.ensemble import Ensemble, fit_ensemble, floor_of_one, prefers
from prefbench.learn.experts import policy_of_head
from prefbench.learn.options import SingleRewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, strength_of
from prefbench.learn.routers import fit_free, of_annotators
from prefbench.learn.simple_policies import MixturePolicy
from prefbench.learn.votes import votes_of
from prefbench.learn.weighted import Frozen, both_sides, spread
from prefbench.search import Choice, LogUniform
from prefbench.work import Recipe


class PairwiseCalibratedOptions(SingleRewardOptions):
    """A few rewards with chances, and a policy by PPO for each."""

    search = {
        "stages": Choice((1, 2, 3, 4)),
        "shares": Choice(("annotators", "votes")),
        "member_ridge": LogUniform(0.1, 10.0),
        "person_ridge": LogUniform(0.01, 10.0),
    }

    stages: int = Field(3, ge=1, le=16)
    """Most rewards; there are fewer where one more would add nothing."""
    shares: Literal["annotators", "votes"] = "annotators"
    """Share of people who prefer a response: of the annotators, each by a reward fitted to her labels, or of
    the labels that the pair has, be it one."""
    member_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of each reward, in units of a usual one."""
    person_ridge: float = Field(1.0, gt=0)
    """Ridge penalty of an annotator's departure from everybody's reward, in units of a usual one."""


def rewards_and_policies(recipe: Recipe) -> None:
    """A reward for everybody, its features of every pair, and a policy for each reward fitted on those."""
    recipe.everybody()
    recipe.features("features", passes=3)
    stages = recipe.options["stages"]
    for stage in range(stages):
        recipe.optimise("policies of rewards", 1, least=float(stage == 0))
    recipe.rewards, recipe.speakers = 0, stages


@pb.aligner("pairwise_calibrated", needs={"user_id"}, work=rewards_and_policies)
def pairwise_calibrated(
    view: pb.View, backbone: pb.Backbone, options: PairwiseCalibratedOptions
) -> pb.Aligned:
    """A policy drawn for each answer, of rewards whose chances prefer a response as often as people do.

    They minimise E (sum_k lambda_k 1{r_k(a) > r_k(b)} - share who prefer a)^2, stage by stage, on frozen
    features of everybody's reward.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0], "reward")
    chosen, rejected = both_sides(experts, train)
    votes, labelled = votes_of(train), chosen - rejected
    first, second = votes.sides(chosen, rejected)
    asked = first - second
    share = votes.share
    if options.shares == "annotators":
        share = _share_of_annotators(train, labelled, asked, options.person_ridge * experts.penalty)
    count = votes.count.astype(np.float64)
    ridge = options.member_ridge * experts.penalty
    found = fit_ensemble(asked[:, 1:], share, count, stages=options.stages, ridge=ridge)

    said, features = np.concatenate([chosen, rejected])[:, 1:], replace(experts, beside="nothing")
    policies = tuple(
        policy_of_head(view, backbone, features, head / spread(head, said), said, options, held_out)
        for head in found.heads.T
    )
    notes = [_told(found, floor_of_one(share, count))]
    if options.shares == "votes" and not votes.several:
        notes.append("no pair has several labels: shares are 0 or 1, and what is off is off single labels")
    return pb.Aligned(MixturePolicy(policies, tuple(found.weights.tolist())), notes=notes)


def _told(found: Ensemble, least: float) -> str:
    """Remark on the error of an ensemble, and on the least one of a single reward."""
    chances = ", ".join(f"{weight:.2f}" for weight in found.weights)
    off, alone = math.sqrt(found.errors[-1]), math.sqrt(least)
    return (
        f"rewards with chances {chances} are {off:.2f} off the shares of people who prefer a response (root "
        f"mean square over train pairs); one reward is {alone:.2f} off or more"
    )


def _share_of_annotators(
    train: pb.Pairs, labelled: np.ndarray, asked: np.ndarray, ridge: float
) -> np.ndarray:
    """Share of annotators whose own reward prefers the first response of each pair, [pairs].

    Her reward is r_0 + phi . d_u with a ridge penalty of d_u, fitted to her labels.

    Args:
        train: labels with `user_id`.
        labelled: [labels, 1 + d] everybody's reward and the features, chosen less rejected.
        asked: [pairs, 1 + d] the same, first response less second.
        ridge: of d_u.
    """
    strength, nowhere = strength_of(train), np.zeros(labelled.shape[1] - 1)

    def prefers_first(mine: np.ndarray) -> np.ndarray:
        own = labelled[mine]
        away = fit_free(own[:, 1:], ridge, nowhere, own[:, 0], None if strength is None else strength[mine])
        return prefers(asked[:, 0] + asked[:, 1:] @ away)

    return np.asarray(np.mean(list(of_annotators(train, prefers_first).values()), axis=0))
