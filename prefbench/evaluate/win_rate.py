"""The winners, group by group: from utilities to outcomes, win rates and what they say about fairness.

A response wins for a group if that group's utility of it is larger than of the reference policy's
response to the same prompt. Every comparison is counted, once, as a win, a tie or a loss; none is
dropped, whoever is easier to please.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from prefbench.arrays import Floats
from prefbench.stats.intervals import Interval, Statistic, group_interval

TIE = 1e-9
"""Utilities this close are equal; below any utility's meaning, above the noise of summation order."""


class ScoredGroup(NamedTuple):
    """A group as the evaluator knows it."""

    name: str
    share: float
    """Share of annotators, 0..1."""
    is_minority: bool


def outcomes(
    policy: ArrayLike, reference: ArrayLike, empty: ArrayLike, reference_empty: ArrayLike | None = None
) -> Floats:
    """Each policy response against its reference response: 1 won, 0.5 tied, 0 lost.

    Sample j is compared with reference sample j mod `samples_ref`. An empty policy response loses
    for every group, also against an empty reference, so that silence is never worth half a win. A
    response that says something wins against an empty reference. Otherwise utilities that differ by
    at most 1e-9 tie.

    Args:
        policy: utilities `[prompts, samples, groups]`, in each group's own unit.
        reference: utilities `[prompts, samples_ref, groups]`.
        empty: whether the policy's response has no text, `[prompts, samples]`.
        reference_empty: the same for the reference's, `[prompts, samples_ref]`; none if left out.

    Returns:
        `[prompts, samples, groups]`.

    Raises:
        ValueError: if shapes do not fit, or a utility that is needed is not a finite number.
    """
    ours = np.asarray(policy, dtype=np.float64)
    theirs = np.asarray(reference, dtype=np.float64)
    silent = np.asarray(empty, dtype=bool)
    if ours.ndim != 3 or theirs.ndim != 3 or silent.shape != ours.shape[:2] or not ours.size:
        raise ValueError(f"utilities {ours.shape} and {theirs.shape} with empty {silent.shape} do not fit")
    if theirs.shape[0] != ours.shape[0] or theirs.shape[2] != ours.shape[2] or theirs.shape[1] < 1:
        raise ValueError(f"utilities {ours.shape} and {theirs.shape} differ in prompts or groups")
    if reference_empty is None:
        their_silence = np.zeros(theirs.shape[:2], dtype=bool)
    else:
        their_silence = np.asarray(reference_empty, dtype=bool)
        if their_silence.shape != theirs.shape[:2]:
            raise ValueError(f"reference_empty {their_silence.shape} does not fit {theirs.shape}")

    partner = np.arange(ours.shape[1]) % theirs.shape[1]
    theirs, their_silence = theirs[:, partner], their_silence[:, partner]
    compared = ~(silent | their_silence)
    if not (np.isfinite(ours[compared]).all() and np.isfinite(theirs[compared]).all()):
        raise ValueError("a utility is not a finite number")
    with np.errstate(invalid="ignore"):  # whatever an empty response scored is overwritten below
        difference = ours - theirs
    result = np.where(np.abs(difference) <= TIE, 0.5, (difference > 0).astype(np.float64))
    result[their_silence] = 1.0
    result[silent] = 0.0
    return result


@dataclass(frozen=True)
class GroupResult:
    """One group's counts over prompts x samples, and its win rate with a 95% interval."""

    name: str
    share: float
    is_minority: bool
    n_prompts: int
    wins: int
    ties: int
    losses: int
    win_rate: float
    interval: Interval


def group_results(
    scores: Floats, groups: Sequence[ScoredGroup], rngs: Sequence[np.random.Generator], level: float = 0.95
) -> list[GroupResult]:
    """Counts and win rate of every group.

    Args:
        scores: outcomes `[prompts, samples, groups]`.
        groups: in the order of the last axis.
        rngs: one generator per group, so that a group's interval does not depend on the others.
        level: of the interval: Wilson for one sample per prompt, prompt-clustered bootstrap otherwise.
    """
    if scores.ndim != 3 or scores.shape[2] != len(groups):
        raise ValueError(f"outcomes {scores.shape} for {len(groups)} groups")
    results = []
    for index, (group, rng) in enumerate(zip(groups, rngs, strict=True)):
        ours = scores[:, :, index]
        wins, ties = int((ours == 1).sum()), int((ours == 0.5).sum())
        results.append(
            GroupResult(
                *group,
                n_prompts=len(ours),
                wins=wins,
                ties=ties,
                losses=int((ours == 0).sum()),
                win_rate=(wins + ties / 2) / ours.size,
                interval=group_interval(ours, rng, level),
            )
        )
    return results


def minority_and_majority(groups: Sequence[ScoredGroup]) -> tuple[int, int]:
    """The groups with the smallest and the largest share.

    At equal shares (1:1) the flag decides: a flagged group is the minority rather than an unflagged
    one, and the other way round; then the order given. A single group is both.
    """
    if not groups:
        raise ValueError("no groups")
    shares = np.array([group.share for group in groups])
    smallest = [i for i in range(len(groups)) if shares[i] <= shares.min() + 1e-9]
    largest = [i for i in range(len(groups)) if shares[i] >= shares.max() - 1e-9]
    minority = min(smallest, key=lambda i: not groups[i].is_minority)
    majority = min(largest, key=lambda i: (groups[i].is_minority, i == minority))
    return minority, majority


@dataclass(frozen=True)
class Fairness:
    """Fairness of a policy, from the groups' win rates together."""

    worst: int
    """The group with the smallest win rate; the first such at a tie."""
    worst_group_win_rate: float
    minority_win_rate: float
    """Win rate of the group with the smallest share, which need not be the worst off."""
    majority_win_rate: float
    mean_win_rate: float
    """Mean over groups, each counted once whatever its share."""
    population_win_rate: float
    """Mean over people: groups weighted by share. A rate that can rise while the minority's falls."""
    gap: float
    """The best group's win rate minus the worst group's."""


def fairness(win_rates: ArrayLike, groups: Sequence[ScoredGroup]) -> Fairness:
    """The fairness measures of one set of win rates.

    Args:
        win_rates: `[groups]`, 0..1.
        groups: in the same order.
    """
    rates = np.asarray(win_rates, dtype=np.float64)
    if rates.shape != (len(groups),):
        raise ValueError(f"win rates {rates.shape} for {len(groups)} groups")
    measures = {name: float(measure(rates)) for name, measure in fairness_statistics(groups).items()}
    return Fairness(
        worst=int(rates.argmin()),
        population_win_rate=float(np.average(rates, weights=[group.share for group in groups])),
        **measures,
    )


def fairness_statistics(groups: Sequence[ScoredGroup]) -> dict[str, Statistic]:
    """The measures as functions of group means `[..., groups]`, for the bootstrap."""
    minority, majority = minority_and_majority(groups)
    return {
        "worst_group_win_rate": lambda means: means.min(axis=-1),
        "minority_win_rate": lambda means: means[..., minority],
        "majority_win_rate": lambda means: means[..., majority],
        "mean_win_rate": lambda means: means.mean(axis=-1),
        "gap": lambda means: means.max(axis=-1) - means.min(axis=-1),
    }


def prompt_scores(scores: Floats) -> Floats:
    """Outcomes `[prompts, samples, groups]` as each prompt's mean over samples, `[prompts, groups]`."""
    return np.asarray(scores.mean(axis=1))
