"""Weights of instructions: by hand, against a grid, and what no group loses by them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_expit

from prefbench.learn.contrast import worst_off_weights

GROUP = np.repeat([0, 1], [12, 6])


def least(gain, group, weights):
    """Mean log-likelihood of the group whose labels are least likely."""
    each = log_expit(gain @ weights)
    return min(each[group == g].mean() for g in np.unique(group))


def test_groups_that_are_opposed_alike_get_equal_weights_and_a_lone_one_everything():
    """Each instruction makes its own group's labels as much likelier as it makes the other's less likely."""
    gain = np.where(GROUP[:, None] == [0, 1], 2.0, -0.5)
    assert worst_off_weights(gain, GROUP, 1.0) == pytest.approx([0.5, 0.5], abs=1e-6)
    assert worst_off_weights(gain[:12], GROUP[:12], 3.0) == pytest.approx([3.0, 0.0], abs=1e-6)


def test_what_helps_nobody_is_left_to_the_reference():
    gain = np.where(GROUP[:, None] == [0, 1], 1.0, -1.5)
    assert worst_off_weights(gain, GROUP, 1.0).tolist() == [0.0, 0.0]
    assert worst_off_weights(np.abs(gain), GROUP, 0.0).tolist() == [0.0, 0.0]


def test_one_instruction_by_the_condition_of_its_optimum():
    """Three of four labels agree by 2 nats: sigmoid(2 w) = 3 / 4, so w = log(3) / 2."""
    gain = np.array([[2.0], [2.0], [2.0], [-2.0]])
    assert worst_off_weights(gain, np.zeros(4, int), 5.0) == pytest.approx([np.log(3) / 2], abs=1e-5)
    assert worst_off_weights(gain, np.zeros(4, int), 0.2) == pytest.approx([0.2])
    soft = worst_off_weights(gain[:1], np.zeros(1, int), 5.0, np.array([0.75]))
    assert expit(2 * soft) == pytest.approx([0.75], abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 3.0]))
def test_no_weights_on_a_grid_do_better_for_the_worst_off(seed, most):
    rng = np.random.default_rng(seed)
    gain = rng.normal(scale=rng.uniform(0.1, 8), size=(18, 2)) + rng.normal(size=(1, 2))
    found = worst_off_weights(gain, GROUP, most)
    assert (found >= 0).all() and found.sum() <= most + 1e-9
    steps = np.linspace(0, most, 21)
    best = max(least(gain, GROUP, np.array([a, b])) for a in steps for b in steps if a + b <= most)
    assert least(gain, GROUP, found) >= max(best, np.log(0.5)) - 1e-6
