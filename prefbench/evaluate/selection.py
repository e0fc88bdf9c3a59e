"""Scores by which tuning selects, each from what its rule may know of the validation annotators.

| rule | may know | score of a policy |
|---|---|---|
| S0 | nothing of who labels | share of judgements that it wins, all annotators together |
| S1 | who labels what | the mean share won over the fifth of the annotators with the smallest shares |
| S2 | annotators' groups | the worst group's share won |
| S3 | true utilities | the worst group's true win rate: no aligner could know it, and none is ranked by it |

A judgement is a fresh noisy label of what the policy says to an annotator against what the reference says, by
her own utility. A policy that is told of people answers each annotator as `sees` lets it, by the first pairs
that she labelled for training; a plain policy is the one that ignores them, and one law scores both.

Where responses are listed an annotator's exact value, E u - beta KL, stands in place of the share won, since
there a policy is judged with its divergence charged (`evaluate/regret.py`), and a group's is the mean over
its annotators; S3 is then the egalitarian regret, with its sign turned.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from prefbench.arrays import Bools, Floats, Ints
from prefbench.problem.labels import preference_probability

if TYPE_CHECKING:
    import pandas as pd

Rule = Literal["S0", "S1", "S2", "S3"]
RULES: tuple[Rule, ...] = get_args(Rule)
WORST_SHARE = 5
"""S1 looks at one in so many annotators, rounded up."""


def rule_of(needs: Collection[str]) -> Rule:
    """The rule by which an aligner that sees so much in training is selected."""
    known: tuple[tuple[str, Rule], ...] = (("oracle", "S3"), ("group", "S2"), ("user_id", "S1"))
    return next((rule for need, rule in known if need in needs), "S0")


@dataclass(frozen=True)
class Asked:
    """Judgements that are asked for, a row each: who judges which comparison, and with what luck."""

    user: Ints
    """[n] the annotators, counted from 0, those of the first group first."""
    group: Ints
    """[n] the index of her group."""
    item: Ints
    """[n] the place of what she compares among the items."""
    luck: Floats
    """[n] between 0 and 1: she says that the policy won if her chance to say so is above it."""


def asked(size: int, counts: Sequence[int], each: int, rng: np.random.Generator) -> Asked:
    """The judgements that annotators at the task's shares are asked for.

    Every annotator judges equally many comparisons and every comparison is judged equally often, as far as
    whole numbers go. Who judges what and with what luck does not depend on the responses, so that two
    policies on the same prompts are judged by the same people in the same mood.

    Args:
        size: number of comparisons.
        counts: annotators of each group.
        each: judgements of an annotator, at most one for each comparison.
        rng: of everything random here.
    """
    people = sum(counts)
    each = min(each, size)
    order = rng.permutation(size)
    who = rng.permutation(people)
    item = order[np.arange(people * each) % size]
    user = np.repeat(who, each)
    luck = rng.random(people * each)
    return Asked(user, np.repeat(np.arange(len(counts)), counts)[user], item, luck)


def won(
    asked: Asked, ours: Floats, theirs: Floats, empty: Bools, silent: Bools, temperature: Floats
) -> Bools:
    """Fresh labels: whether each judgement is for the policy, [n].

    The chance to win is the task's own, sigmoid((u(ours) - u(theirs)) / temperature); an empty one loses.

    Args:
        asked: n judgements.
        ours: [n] the annotator's utility of what the policy says to her.
        theirs: [n] the same of what the reference says.
        empty: [n] whether the policy's response has no text.
        silent: [n] whether the reference's has none.
        temperature: noise of each group's labels, in the unit of its utility.
    """
    chance = preference_probability(ours - theirs, temperature[asked.group])
    chance[silent] = 1.0
    chance[empty] = 0.0
    return np.asarray(asked.luck < chance)


def scores_of_judgements(judged: pd.DataFrame, worst_group_win_rate: float) -> dict[str, float]:
    """A policy's scores by every rule, shares between 0 and 1."""
    return {
        "S0": float(judged["won"].mean()),
        "S1": _worst_fifth(judged.groupby("user_id")["won"].mean().to_numpy()),
        "S2": float(judged.groupby("group")["won"].mean().min()),
        "S3": worst_group_win_rate,
    }


def scores_of_values(
    groups: Floats, annotators: Floats, counts: Sequence[int], egalitarian_regret: float
) -> dict[str, float]:
    """A policy's scores by every rule where responses are listed, in standard deviations of utility.

    Args:
        groups: [G] mean value over the annotators of each group.
        annotators: value of each annotator, one after the other.
        counts: annotators of each group.
        egalitarian_regret: the largest smallest value of a group that one policy for all can have, minus the
            smallest here; below 0 where people's own policies give more.
    """
    return {
        "S0": float(np.average(groups, weights=counts)),
        "S1": _worst_fifth(annotators),
        "S2": float(groups.min()),
        "S3": -float(egalitarian_regret),
    }


def _worst_fifth(each: Floats) -> float:
    """Mean of the smallest fifth of the annotators' scores."""
    return float(np.sort(each)[: math.ceil(len(each) / WORST_SHARE)].mean())
