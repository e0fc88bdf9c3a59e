"""Pairs and their labels: who prefers what, and how much the groups disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench import seeds
from prefbench.arrays import Floats, Ints
from prefbench.problem.behaviour import not_meant, reports
from prefbench.problem.brought import STRENGTH
from prefbench.problem.people import Scales, beyond, deal, taste_values
from prefbench.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd


def label_pairs(
    pairs: pd.DataFrame, problem: Problem, seed: int, scales: Scales | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Let each group's annotators label their pairs, and describe how much the groups disagree.

    Args:
        pairs: columns `split, prompt, response_a, response_b`, one row per prompt.
        problem: groups with their utilities, annotators and preference noise.
        seed: the run's seed; the draws come from its child "labels".
        scales: of members' own utilities, which they then label by; None where they want what their group
            wants.

    Returns:
        Rows `split, prompt, chosen, rejected, user_id, group` and, for each group g, `chosen_utility/g`
        and `rejected_utility/g`; where ties are labelled, `strength`; and the conflict report. As many rows
        of a pair stand side by side as annotators label it. Every split has the same shares of annotators
        as far as whole numbers go. The probability that a beats b is the Bradley-Terry model's,
        sigmoid((u(a) - u(b)) / (temperature * spread)), where spread is the standard deviation of the
        group's utility over all reference responses, so one temperature means the same noise for valences
        and for words. Temperature 0 labels without noise; equal utilities are then a fair coin. What
        annotators do otherwise the problem's `population` says (`problem/behaviour.py`); of a tie the chosen
        response is a fair coin's, with strength 0.5.
    """
    import pandas as pd

    prompts = pairs["prompt"].tolist()
    utility_a, utility_b = utilities_of_pairs(
        problem, prompts, pairs["response_a"].tolist(), pairs["response_b"].tolist()
    )
    utility = np.concatenate([utility_a, utility_b])
    if not np.isfinite(utility).all():
        raise ValueError("a utility returned NaN or infinity.")
    spread = np.maximum(utility.std(axis=0), 1e-9)
    prefers_a = preference_probability(utility_a - utility_b, problem.temperature * spread)

    conflict = _conflict(utility, utility_a - utility_b, prefers_a, problem)

    people, rng = problem.population, seeds.rng(seed, "labels")
    user_id, group = deal(problem, pairs["split"].to_numpy(), rng)
    several = np.repeat(np.arange(len(pairs)), people.labels_per_pair)
    pairs, utility_a, utility_b = pairs.iloc[several], utility_a[several], utility_b[several]
    own, unit = (utility_a - utility_b)[np.arange(len(pairs)), group], spread[group]
    if scales is not None:
        own = own + _of_her_own(pairs, problem, seed, scales, user_id, group)
    factor, whose = reports(people, [each.name for each in problem.groups], user_id, group)
    other = (utility_a - utility_b)[np.arange(len(pairs)), whose] * unit / spread[whose]
    own = np.where(whose == group, own, other)
    a_wins = rng.random(len(pairs)) < preference_probability(factor * own, problem.temperature * unit)
    tied = np.abs(own) < people.tie_band * unit
    if tied.any():
        a_wins = np.where(tied, seeds.rng(seed, "labels", "ties").random(len(pairs)) < 0.5, a_wins)
    if people.reliability < 1:
        lost = not_meant(user_id, pairs["split"].tolist(), people.reliability, seed)
        tied[lost] = False
        a_wins[lost] = seeds.rng(seed, "labels", "coins").random(len(lost)) < 0.5

    rows = pd.DataFrame(
        {
            "split": pairs["split"].reset_index(drop=True),
            "prompt": pairs["prompt"].tolist(),
            "chosen": np.where(a_wins, pairs["response_a"], pairs["response_b"]),
            "rejected": np.where(a_wins, pairs["response_b"], pairs["response_a"]),
            "user_id": user_id,
            "group": [problem.groups[g].name for g in group],
        }
    )
    if people.tie_band:
        rows[STRENGTH] = np.where(tied, 0.5, 1.0)
    for index, member in enumerate(problem.groups):
        for side, won in (("chosen", a_wins), ("rejected", ~a_wins)):
            rows[f"{side}_utility/{member.name}"] = np.where(won, utility_a[:, index], utility_b[:, index])
    return rows, conflict


def _of_her_own(
    pairs: pd.DataFrame, problem: Problem, seed: int, scales: Scales, user_id: Ints, group: Ints
) -> Floats:
    """The difference between a and b in what each pair's annotator wants beyond her group, [n]."""
    prompts, first, second = (pairs[name].tolist() for name in ("prompt", "response_a", "response_b"))
    values = taste_values(problem, prompts, first, second)
    assert values is not None
    one, other = (beyond(problem, seed, scales, user_id.tolist(), group.tolist(), table) for table in values)
    return one - other


def given_pairs(problem: Problem) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Labels that a task brought along, in the form of `label_pairs`, and the conflict report.

    User ids are whole numbers or text, as they were brought; one pair may have several labels.
    A pair says something of the group that labelled it alone: there its utilities are 1 for the chosen and 0
    for the rejected response, for the other groups 0 for both. Groups disagree on a pair that two of them
    labelled, each preferring what the other rejects; `pairs_shared` counts what that is a share of.
    """
    assert problem.given is not None
    rows = problem.given.copy()
    for member in problem.groups:
        rows[f"chosen_utility/{member.name}"] = (rows["group"] == member.name).astype(float)
        rows[f"rejected_utility/{member.name}"] = 0.0
    columns = zip(rows["prompt"], rows["chosen"], rows["rejected"], strict=True)
    directed = list(columns)
    pair = [(prompt, *sorted((chosen, rejected))) for prompt, chosen, rejected in directed]
    upwards = [chosen <= rejected for _, chosen, rejected in directed]
    labels: dict[str, dict[tuple[str, ...], set[bool]]] = {group.name: {} for group in problem.groups}
    for name, key, up in zip(rows["group"], pair, upwards, strict=True):
        labels[name].setdefault(key, set()).add(up)
    report: dict[str, Any] = {}
    names = list(labels)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = labels[first].keys() & labels[second].keys()
            apart = sum(not labels[first][key] & labels[second][key] for key in shared)
            report[f"{first} vs {second}"] = {
                "pairs_shared": len(shared),
                "pairs_disagreed_on": apart / len(shared) if shared else None,
            }
    return rows, report


def preference_probability(difference: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Bradley-Terry P(a beats b) for utility differences [n, groups] and temperatures [groups]."""
    cold = temperature <= 0
    with np.errstate(over="ignore"):
        noisy = 1 / (1 + np.exp(-difference / np.where(cold, 1.0, temperature)))
    return np.where(cold, np.sign(difference) / 2 + 0.5, noisy)


def _conflict(
    utility: np.ndarray, difference: np.ndarray, prefers_a: np.ndarray, problem: Problem
) -> dict[str, Any]:
    """The groups' disagreement on reference responses, for each pair of groups.

    `diversity` is the total variation between the groups' preference distributions (Definition 1 of
    MaxMin-RLHF), which for two outcomes is the mean of |P_i(a beats b) - P_j(a beats b)|.
    """
    report: dict[str, Any] = {}
    names = [group.name for group in problem.groups]
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            opposed = np.sign(difference[:, i]) * np.sign(difference[:, j]) < 0
            flat = utility[:, [i, j]].std(axis=0).min() == 0
            report[f"{names[i]} vs {names[j]}"] = {
                "utility_correlation": None
                if flat
                else float(np.corrcoef(utility[:, i], utility[:, j])[0, 1]),
                "diversity": float(np.abs(prefers_a[:, i] - prefers_a[:, j]).mean()),
                "pairs_disagreed_on": float(opposed.mean()),
            }
    return report


def utilities_of_pairs(
    problem: Problem, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Every group's utilities of two responses to each prompt, [n, groups] each."""
    each = [group.utility.compare(prompts, first, second) for group in problem.groups]
    return np.stack([one for one, _ in each], axis=1), np.stack([other for _, other in each], axis=1)
