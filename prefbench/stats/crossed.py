"""Intervals where each score has a person and a prompt, both of them drawn from more.

Source: Owen 2007, "The pigeonhole bootstrap" (arXiv 0712.1111): people and prompts are resampled apart from
each other, and a score counts as often as its person times as often as its prompt was drawn. It allows for
whatever differs between people and between prompts; where scores are all chance it is wide, by up to a factor
of the square root of three, and never narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefbench.arrays import Floats, Ints
from prefbench.stats.intervals import Interval, wilson

RESAMPLES = 2_000


@dataclass(frozen=True)
class Crossed:
    """Numbers of times that people of each group, and prompts, are drawn in each resample.

    Draw it once for what is to be compared: differences of `means` are then those of paired resamples.
    """

    prompts: Ints
    """`[resamples, prompts]`."""
    people: Sequence[Ints]
    """`[resamples, people]` of each group."""

    def means(self, group: int, scores: ArrayLike, person: ArrayLike) -> Floats:
        """A group's mean score in each resample, `[resamples]`; NaN where none of its scores was drawn.

        Args:
            group: whose.
            scores: `[prompts]`.
            person: index of who gave each, `[prompts]`.
        """
        weights = self.people[group][:, np.asarray(person)] * self.prompts
        with np.errstate(invalid="ignore"):
            return np.asarray(weights @ np.asarray(scores, dtype=np.float64) / weights.sum(axis=1))


def crossed_means(
    people: Ints, prompts: Ints, scores: ArrayLike, person: ArrayLike, prompt: ArrayLike
) -> Floats:
    """Mean of scores of which each has its person and its prompt, in each resample, `[resamples]`.

    Args:
        people: numbers of times that each person is drawn, `[resamples, people]`.
        prompts: the same of each prompt, `[resamples, prompts]`.
        scores: `[scores]`.
        person: index of who gave each, `[scores]`.
        prompt: index of its prompt, `[scores]`.

    Returns:
        NaN where none of the scores was drawn.
    """
    who, about = np.asarray(person), np.asarray(prompt)
    value = np.asarray(scores, dtype=np.float64)
    means = np.empty(len(people))
    step = max(1, 4_000_000 // max(len(value), 1))
    for first in range(0, len(people), step):
        part = slice(first, first + step)
        weights = people[part][:, who] * prompts[part][:, about]
        with np.errstate(invalid="ignore"):
            means[part] = weights @ value / weights.sum(axis=1)
    return means


def drawn_prompts(prompts: int, rng: np.random.Generator) -> Ints:
    """Numbers of times that each prompt, or person, is drawn in each resample, `[resamples, prompts]`."""
    return np.asarray(rng.multinomial(prompts, np.full(prompts, 1 / prompts), RESAMPLES))


def rate_interval(replicates: Floats, estimate: float, n: int, level: float = 0.95) -> Interval:
    """The percentile interval of a rate, or Wilson's of `n` trials where resamples do not vary.

    Args:
        replicates: `[resamples]`; those that are NaN are left out.
        estimate: the rate on the data as they are, 0..1.
        n: prompts behind it.
        level: two-sided confidence level.
    """
    interval = difference_interval(replicates, estimate, level)
    if interval.high - interval.low < 1e-12:
        return wilson(min(max(estimate, 0.0), 1.0) * n, 0, n, level)
    return interval


def difference_interval(replicates: Floats, estimate: float, level: float = 0.95) -> Interval:
    """The percentile interval of a difference; the point itself where all resamples agree.

    Args:
        replicates: `[resamples]`; those that are NaN are left out.
        estimate: the difference on the data as they are.
        level: two-sided confidence level.
    """
    known = replicates[~np.isnan(replicates)]
    if not len(known) or np.ptp(known) < 1e-12:
        return Interval(estimate, estimate)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
