"""Ordinal feedback: the votes on a pair as one label that need not be certain (Liu et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.one_policy import aligned_to_everybody
from prefbench.learn.options import PairwiseOptions, SingleRewardOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of
from prefbench.work import Recipe, one_reward, policy_by_pairs

ONE_LABEL = "no pair has several labels, so there are no votes: this is {} (set task.labels_per_pair)"


class VoteOptions(pb.Options):
    """Labels of a pair as votes, and how finely their shares are told apart."""

    levels: int | None = Field(None, ge=2)
    """Levels that a share of votes is rounded to, from 0 to 1: 2 is the majority's vote, 3 has ties as well;
    none keeps the share. As many votes for as against are one half all the same."""


class OrdinalOptions(VoteOptions, SingleRewardOptions):
    """One reward for everybody's votes, and PPO on it."""


class OrdinalDPOOptions(VoteOptions, PairwiseOptions):
    """DPO on everybody's votes."""


def merged(pairs: pb.Pairs, levels: int | None = None) -> pb.Pairs:
    """Each pair once, with the share of its votes that the chosen response has as strength.

    Chosen is what has more votes, of as many what the first label has. A pair weighs as much as it has
    labels, beside the others. Ids, groups and side columns are of single labels and go.
    """
    texts = zip(pairs.prompts, pairs.chosen, pairs.rejected, strict=True)
    rows: dict[tuple[str, str, str], list[float]] = {}
    for (prompt, chosen, rejected), certain in zip(texts, _strength(pairs).tolist(), strict=True):
        if (prompt, rejected, chosen) in rows:
            rows[prompt, rejected, chosen].append(1 - certain)
        else:
            rows.setdefault((prompt, chosen, rejected), []).append(certain)
    share = np.array([np.mean(votes) for votes in rows.values()])
    count = np.array([len(votes) for votes in rows.values()], dtype=np.float64)
    ahead = (share >= 0.5).tolist()
    strength = np.maximum(share, 1 - share)
    if levels is not None:
        rounded = np.floor(strength * (levels - 1) + 0.5) / (levels - 1)
        strength = np.where(strength > 0.5, rounded, strength)
    return pb.Pairs(
        [prompt for prompt, _, _ in rows],
        [one if up else other for (_, one, other), up in zip(rows, ahead, strict=True)],
        [other if up else one for (_, one, other), up in zip(rows, ahead, strict=True)],
        weights=None if len(np.unique(count)) == 1 else count / count.mean(),
        strength=strength,
    )


def _strength(pairs: pb.Pairs) -> np.ndarray:
    return np.ones(len(pairs)) if pairs.strength is None else pairs.strength


def _told(view: pb.View, levels: int | None, otherwise: str) -> tuple[pb.Pairs, pb.Pairs, list[str]]:
    """Train and validation pairs by votes, and what the record should say of them."""
    labels = [pairs_of(view.preferences[split]) for split in ("train", "validation")]
    train, held_out = (merged(each, levels) for each in labels)
    return train, held_out, [ONE_LABEL.format(otherwise)] if len(train) == len(labels[0]) else []


def by_votes(work: Callable[[Recipe], None]) -> Callable[[Recipe], None]:
    """The same work on each pair once, however many labels it has."""

    def declared(recipe: Recipe) -> None:
        labels = recipe.sizes
        train, validation = (-(-each // labels.labels) for each in (labels.train, labels.validation))
        recipe.sizes = replace(labels, train=train, validation=validation)
        work(recipe)
        recipe.sizes = labels

    return declared


@pb.aligner("ordinal", work=by_votes(one_reward))
def ordinal(view: pb.View, backbone: pb.Backbone, options: OrdinalOptions) -> pb.Aligned:
    """One reward for everybody, fitted to each pair once with the share of its votes, and PPO on it."""
    train, held_out, notes = _told(view, options.levels, "single_reward")
    return aligned_to_everybody(view, backbone, options, train, held_out, notes)


@pb.aligner("ordinal_dpo", work=by_votes(policy_by_pairs))
def ordinal_dpo(view: pb.View, backbone: pb.Backbone, options: OrdinalDPOOptions) -> pb.Aligned:
    """DPO on each pair once with the share of its votes."""
    train, held_out, notes = _told(view, options.levels, "dpo")
    loss = DPO.of(options, backbone)
    policy = backbone.fit_pairwise(train, loss, options, seed=view.seed, held_out=held_out)
    return pb.Aligned(policy, notes=notes)
