"""Welfare functions on hand-made numbers, and what normalisation is for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefbench.learn.welfare import mean, per_sample_min, population_min

REWARDS = np.array([[1.0, 4.0], [3.0, 0.0], [5.0, 2.0]])  # group means 3 and 2


def test_each_welfare_by_hand():
    assert population_min(REWARDS).tolist() == [4.0, 0.0, 2.0]  # the second group has the lower mean
    assert per_sample_min(REWARDS).tolist() == [1.0, 0.0, 2.0]
    assert mean()(REWARDS).tolist() == [2.5, 1.5, 3.5]
    assert mean([3, 1])(REWARDS).tolist() == [1.75, 2.25, 4.25]


@given(arrays(float, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.floats(-5, 5)))
def test_the_per_sample_minimum_is_the_harsher(rewards):
    """E[min_u r_u] <= min_u E[r_u]."""
    assert per_sample_min(rewards).mean() <= population_min(rewards).mean() + 1e-9


def test_a_rescaled_reward_changes_the_worst_group_only_without_normalisation():
    """A Bradley-Terry reward has no unit: 0.1 r fits the same preferences at another temperature."""

    def normalised(rewards):
        return (rewards - REWARDS.mean(axis=0)) / REWARDS.std(axis=0)

    responses = np.array([[4.0, 3.5], [3.5, 3.0]])
    shrunk = np.array([0.1, 1.0])
    assert population_min(responses).tolist() == responses[:, 1].tolist()
    assert population_min(responses * shrunk).tolist() == (responses * shrunk)[:, 0].tolist()
    rescaled = (responses * shrunk - (REWARDS * shrunk).mean(axis=0)) / (REWARDS * shrunk).std(axis=0)
    assert np.allclose(population_min(rescaled), population_min(normalised(responses)))
