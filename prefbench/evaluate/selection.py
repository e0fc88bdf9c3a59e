"""Scores by which tuning selects, each from what its rule may know of the validation annotators.

| rule | may know | score of a policy |
|---|---|---|
| S0 | nothing of who labels | share of judgements that it wins, all annotators together |
| S1 | who labels what | the mean share won over the fifth of the annotators with the smallest shares |
| S2 | annotators' groups | the worst group's share won |
| S3 | true utilities | the worst group's true win rate: no aligner could know it, and none is ranked by it |

A judgement is a fresh noisy label of a policy's response against the reference's. Where responses are listed
a group's exact value, E u - beta KL, stands in place of the share won, since there a policy is judged with
its divergence charged (`evaluate/regret.py`); S3 is then the egalitarian regret, with its sign turned.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from prefbench.arrays import Floats
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


def judgements(
    items: pd.DataFrame,
    groups: Mapping[str, int],
    temperature: float,
    each: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Fresh labels of the policy's responses against the reference's, by annotators at the task's shares.

    Every annotator judges equally many comparisons and every comparison is judged equally often, as far as
    whole numbers go. The chance to win is the task's own, sigmoid((u(ours) - u(theirs)) / (temperature
    spread)) with the spread of the group's utility over the reference's responses; an empty response loses.
    Who judges what and with what luck does not depend on the responses, so that two policies on the same
    prompts are judged by the same people in the same mood.

    Args:
        items: rows as `record.evidence.ITEM_COLUMNS` says.
        groups: names and numbers of annotators.
        temperature: noise, in standard deviations of a group's utility.
        each: judgements of an annotator, at most one for each comparison.
        rng: of everything random here.

    Returns:
        Rows `prompt_id, sample, user_id, group, won`.
    """
    import pandas as pd

    names, counts = list(groups), list(groups.values())
    size, people = len(items), sum(counts)
    each = min(each, size)
    order = rng.permutation(size)
    who = rng.permutation(people)
    item = order[np.arange(people * each) % size]
    user = np.repeat(who, each)
    luck = rng.random(people * each)
    group = np.repeat(np.arange(len(names)), counts)[user]
    ours, theirs = (
        items[[f"{side}/{name}" for name in names]].to_numpy(dtype=np.float64)
        for side in ("utility", "reference_utility")
    )
    spread = np.maximum(theirs.std(axis=0), 1e-9)
    chance = preference_probability(ours - theirs, temperature * spread)
    chance[(items["reference_words"] == 0).to_numpy()] = 1.0
    chance[items["empty"].to_numpy(dtype=bool)] = 0.0
    return pd.DataFrame(
        {
            "prompt_id": items["prompt_id"].to_numpy()[item],
            "sample": items["sample"].to_numpy()[item],
            "user_id": user,
            "group": [names[index] for index in group],
            "won": luck < chance[item, group],
        }
    )


def scores_of_judgements(judged: pd.DataFrame, worst_group_win_rate: float) -> dict[str, float]:
    """A policy's scores by every rule, shares between 0 and 1."""
    return {
        "S0": float(judged["won"].mean()),
        "S1": _worst_fifth(judged.groupby("user_id")["won"].mean().to_numpy()),
        "S2": float(judged.groupby("group")["won"].mean().min()),
        "S3": worst_group_win_rate,
    }


def scores_of_values(regret: Mapping[str, Any], counts: Sequence[int]) -> dict[str, float]:
    """A policy's scores by every rule where responses are listed, in standard deviations of utility.

    Args:
        regret: the record's `regret` block (`evaluate.regret.regrets`).
        counts: annotators of each group.
    """
    values = np.array([group["value"] for group in regret["groups"]])
    return {
        "S0": float(np.average(values, weights=counts)),
        "S1": _worst_fifth(np.repeat(values, counts)),
        "S2": float(values.min()),
        "S3": -float(regret["egalitarian_regret"]),
    }


def _worst_fifth(each: Floats) -> float:
    """Mean of the smallest fifth of the annotators' scores."""
    return float(np.sort(each)[: math.ceil(len(each) / WORST_SHARE)].mean())
