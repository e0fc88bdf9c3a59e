"""Intervals over people and prompts."""

import numpy as np
import pytest

from prefbench.stats.crossed import Crossed, difference_interval, drawn_prompts, rate_interval
from prefbench.stats.intervals import wilson


def test_a_mean_counts_a_score_as_often_as_its_person_times_its_prompt():
    drawn = Crossed(np.array([[2, 0, 1], [0, 3, 0], [3, 0, 0]]), [np.array([[2, 0], [1, 1], [0, 2]])])
    means = drawn.means(0, [1.0, 0.5, 0.0], [0, 1, 0])
    assert means[:2].tolist() == [(2 * 2 * 1.0) / (2 * 2 + 2 * 1), 0.5]
    assert np.isnan(means[2])  # the only person who was drawn judged no prompt that was


def test_resamples_are_of_as_many_as_there_are():
    assert (drawn_prompts(7, np.random.default_rng(0)).sum(axis=1) == 7).all()


def test_intervals_of_nothing_that_varies():
    same = np.full(10, 0.0)
    assert difference_interval(same, 0.0) == (0.0, 0.0)
    assert rate_interval(same, 0.0, 30) == wilson(0, 0, 30)
    assert difference_interval(np.array([np.nan, np.nan]), 0.3) == (0.3, 0.3)


def coverage(spread_people: float, spread_prompts: float, trials: int = 150) -> float:
    """Share of intervals that hold the true rate, people and prompts being drawn from more."""
    hits = 0
    for trial in range(trials):
        rng = np.random.default_rng([trial, 5])
        who = np.arange(120) % 12
        chance = (
            0.5 + spread_people * rng.choice([-1, 1], 12)[who] + spread_prompts * rng.choice([-1, 1], 120)
        )
        scores = (rng.random(120) < chance).astype(float)
        drawn = Crossed(drawn_prompts(120, rng), [drawn_prompts(12, rng)])
        low, high = rate_interval(drawn.means(0, scores, who), float(scores.mean()), 120)
        hits += low <= 0.5 <= high
    return hits / trials


@pytest.mark.parametrize(("people", "prompts"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.4)])
def test_intervals_hold_the_truth_whatever_differs(people, prompts):
    assert coverage(people, prompts) >= 0.9  # 0.95, less three standard errors of 150 trials
