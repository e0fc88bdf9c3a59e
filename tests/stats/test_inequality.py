"""Inequality among people, against numbers by hand."""

import math

import numpy as np
import pytest

from prefbench.stats.inequality import atkinson, gini, most_tenth, worst_tenth


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1, 1], 0),
        ([0, 1], 1 / 2),
        ([0, 0, 0, 1], 3 / 4),
        ([1, 2, 3], 2 / 9),  # |x_i - x_j| sums to 8 over nine pairs; twice the mean is 4
        ([0.4, 0.2, 0.9, 0.5], (0.2 + 0.5 + 0.1 + 0.7 + 0.3 + 0.4) * 2 / (16 * 2 * 0.5)),
        ([0, 0], 0),
    ],
)
def test_gini_by_hand(values, expected):
    assert gini(values) == pytest.approx(expected, abs=1e-15)


def test_gini_is_the_mean_difference_of_all_pairs():
    values = np.random.default_rng(0).random(50)
    apart = np.abs(values[:, None] - values).mean() / (2 * values.mean())
    assert gini(values) == pytest.approx(apart) == gini(3 * values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2, 2], 0), ([1, 4], 1 - 2 / 2.5), ([1, 2, 4], 1 - 2 / (7 / 3)), ([0, 1], 1), ([0, 0], 0)],
)
def test_atkinson_by_hand(values, expected):
    assert atkinson(values) == pytest.approx(expected, abs=1e-15)
    assert math.isclose(atkinson([7 * v for v in values]), expected, abs_tol=1e-12)


def test_the_worst_tenth_is_rounded_up_to_people():
    assert worst_tenth([0.5, 0.3]) == 0.3
    assert worst_tenth([k / 20 for k in range(20, 0, -1)]) == pytest.approx((1 + 2) / 40)
    assert worst_tenth([k / 21 for k in range(21)]) == pytest.approx((0 + 1 + 2) / 63)


def test_what_is_no_list_of_people_is_refused():
    for function in (gini, atkinson, worst_tenth):
        for values in ([], [-1.0, 2.0], [[1.0]]):
            with pytest.raises(ValueError, match="none negative"):
                function(values)


def test_the_tenth_that_has_most_is_rounded_up():
    assert most_tenth([0.1, 0.7, 0.3]) == 0.7
    assert most_tenth(range(11)) == (10 + 9) / 2
