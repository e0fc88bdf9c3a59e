"""The worst group of one run, found and cross-fitted."""

import numpy as np
import pytest

from prefbench.stats.worst import cross_fitted_worst, own_worst
from support.simulated import interval_coverage


def scores(*rates, n=200, seed=0):
    return (np.random.default_rng(seed).random((n, len(rates))) < rates).astype(float)


def test_the_worst_group_is_the_smallest_column():
    table = np.array([[1.0, 0.0], [1.0, 0.5], [0.0, 0.0]])
    assert own_worst(table).tolist() == [0.0, 0.5, 0.0]
    assert own_worst(np.ones((3, 2))).tolist() == [1.0, 1.0, 1.0]


def test_where_one_group_is_clearly_worst_both_are_the_same():
    table = scores(0.9, 0.2)
    fitted = cross_fitted_worst(table, np.random.default_rng(1))
    assert fitted == pytest.approx(own_worst(table))
    odd = table[:199]  # halves of 99 and 100: each direction weighs one half
    assert cross_fitted_worst(odd, np.random.default_rng(1)).mean() == pytest.approx(
        odd[:, 1].mean(), abs=0.002
    )


def test_what_has_no_halves_is_read_as_it_is():
    draws = np.random.default_rng(0)
    assert cross_fitted_worst(np.array([[0.0, 1.0]]), draws).tolist() == [0.0]
    assert cross_fitted_worst(np.array([[0.5], [1.0]]), draws).tolist() == [0.5, 1.0]


def test_the_halves_are_those_of_the_stream():
    table = scores(0.6, 0.6)
    first, again = (cross_fitted_worst(table, np.random.default_rng(3)) for _ in range(2))
    assert (first == again).all() and (cross_fitted_worst(table, np.random.default_rng(4)) != first).any()


def test_where_groups_tie_the_found_worst_is_biased_and_the_cross_fitted_is_not():
    """The smaller of two normal means of variance v lies sqrt(v / pi) below them, on average."""
    plain, fitted, _ = interval_coverage().biases("tied", 0.0, 100, 60)
    expected = -np.sqrt(0.6 * 0.4 / 100) / np.sqrt(np.pi)
    assert plain == pytest.approx(expected, abs=0.006)
    assert abs(fitted) < 0.006
