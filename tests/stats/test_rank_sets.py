"""Sets of ranks: by hand, and their errors by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.stats.rank_sets import Rank, rank_sets
from prefbench.stats.runs import Mean
from support.simulated import interval_coverage


def sure(figures, se=0.001):
    return rank_sets(figures, lambda i, j: Mean(figures[i] - figures[j], se, math.inf))


def test_ranks_by_hand():
    assert sure([0.2, 0.9, 0.5]) == [Rank(3, 3, 3), Rank(1, 1, 1), Rank(2, 2, 2)]
    assert sure([0.2, 0.9, 0.5], se=1.0) == [Rank(3, 1, 3), Rank(1, 1, 3), Rank(2, 1, 3)]
    # The first two cannot be told apart, the third is surely worse than both.
    assert sure([0.9, 0.8999, 0.1]) == [Rank(1, 1, 2), Rank(2, 1, 2), Rank(3, 3, 3)]
    assert sure([0.5, 0.5, 0.4]) == [Rank(1, 1, 2), Rank(1, 1, 2), Rank(3, 3, 3)]
    assert sure([0.4]) == [Rank(1, 1, 1)] and sure([]) == []


def test_a_noisy_one_keeps_its_place_and_a_wide_set():
    """0.35, as unsure as can be, is not first beside 0.84: it is last, and perhaps anywhere."""
    figures, noise = [0.84, 0.75, 0.6, 0.35], [0.001, 0.001, 0.001, 1.0]
    found = rank_sets(
        figures, lambda i, j: Mean(figures[i] - figures[j], math.hypot(noise[i], noise[j]), math.inf)
    )
    assert found == [Rank(1, 1, 2), Rank(2, 2, 3), Rank(3, 3, 4), Rank(4, 1, 4)]


@given(st.lists(st.floats(0, 1), max_size=7), st.floats(1e-6, 1))
def test_a_set_holds_its_rank(figures, se):
    for one in sure(figures, se):
        assert 1 <= one.low <= one.rank <= one.high <= len(figures)


@pytest.mark.parametrize(("levels", "spread"), [(1, 0.1), (2, 0.0)])
def test_sets_seldom_miss_a_rank(levels, spread):
    found = interval_coverage().wrong_ranks(levels, spread, 5, 300)
    assert found <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 300)


def test_sets_tell_learners_that_lie_far_apart():
    draws = np.random.default_rng(0).normal(np.array([[0.9], [0.7], [0.5]]), 0.01, (3, 10))
    module = interval_coverage()
    found = rank_sets(draws.mean(axis=1), lambda i, j: module.mean_of_figures(draws[i] - draws[j]))
    assert found == [Rank(1, 1, 1), Rank(2, 2, 2), Rank(3, 3, 3)]
