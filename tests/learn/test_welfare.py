"""Welfare functions on hand-made numbers, and what normalisation is for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefbench.learn.welfare import Welfare, mean, per_sample_min, population_min

REWARDS = np.array([[1.0, 4.0], [3.0, 0.0], [5.0, 2.0]])  # group means 3 and 2


def test_each_welfare_by_hand():
    assert population_min(REWARDS).tolist() == [4.0, 0.0, 2.0]  # the second group has the lower mean
    assert per_sample_min(REWARDS).tolist() == [1.0, 0.0, 2.0]
    assert mean()(REWARDS).tolist() == [2.5, 1.5, 3.5]
    assert mean([3, 1])(REWARDS).tolist() == [1.75, 2.25, 4.25]


def test_population_welfares_weigh_groups():
    values = np.array([2.0, 1.0])
    # weights 1/2 / 2 and 1/2 / 1, normalised
    assert np.allclose(Welfare("nash").group_weights(values, None), [1 / 3, 2 / 3])
    assert np.allclose(
        Welfare("alpha", alpha=-1.0).group_weights(values, None), [1 / (1 + np.e), np.e / (1 + np.e)]
    )
    assert np.allclose(Welfare("leximin").group_weights(values, None), [1 / 11, 10 / 11])
    past = np.array([[0.0, 1.0], [1.0, 2.0]])  # sums 1 and 3: the first group did worse
    assert np.allclose(
        Welfare("dual", step=0.5).group_weights(values, past), [np.e / (1 + np.e), 1 / (1 + np.e)]
    )
    assert np.allclose(Welfare("dual").group_weights(values, None), 0.5)


@given(
    arrays(float, st.tuples(st.integers(1, 20), st.integers(1, 4)), elements=st.floats(-5, 5)),
    st.sampled_from(["dual", "nash", "leximin", "alpha"]),
)
def test_their_weights_are_a_distribution(rewards, kind):
    weights = Welfare(kind, alpha=-2.0).group_weights(rewards.mean(axis=0), rewards)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert np.allclose(Welfare(kind, alpha=-2.0)(rewards, None, rewards), rewards @ weights)


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
