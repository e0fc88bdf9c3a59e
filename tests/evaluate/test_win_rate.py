"""Outcomes and fairness: the rules one by one, then what must hold of any utilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefbench.evaluate.win_rate import (
    ScoredGroup,
    fairness,
    group_results,
    minority_and_majority,
    outcomes,
    prompt_scores,
)

PAIR = [ScoredGroup("many", 0.8, False), ScoredGroup("few", 0.2, True)]


def rngs(n):
    return [np.random.default_rng(i) for i in range(n)]


def one(policy, reference, empty=False, reference_empty=False):
    """The outcome of a single comparison for a single group."""
    return outcomes([[[policy]]], [[[reference]]], [[empty]], [[reference_empty]])[0, 0, 0]


def test_win_tie_loss():
    assert one(2.0, 1.0) == 1
    assert one(1.0, 2.0) == 0
    assert one(1.0, 1.0) == 0.5
    assert one(0.1 + 0.2, 0.3) == 0.5  # apart by rounding only
    assert one(1.0 + 2e-9, 1.0) == 1


def test_empty_output_is_a_loss_whatever_it_scores():
    assert one(9.0, 1.0, empty=True) == 0
    assert one(1.0, 1.0, empty=True, reference_empty=True) == 0
    assert one(float("nan"), 1.0, empty=True) == 0
    assert one(1.0, 9.0, reference_empty=True) == 1


def test_empty_is_counted_for_every_group():
    policy = np.ones((3, 2, 2))
    empty = np.zeros((3, 2), dtype=bool)
    empty[0, 1] = True
    results = group_results(outcomes(policy, policy - 1, empty), PAIR, rngs(2))
    assert [(r.wins, r.ties, r.losses) for r in results] == [(5, 0, 1)] * 2
    assert results[0].win_rate == pytest.approx(5 / 6)
    assert results[0].n_prompts == 3


def test_samples_wrap_around_the_references():
    policy = np.array([[[1.0], [1.0], [1.0], [1.0]]])
    reference = np.array([[[0.0], [2.0]]])
    assert outcomes(policy, reference, np.zeros((1, 4), bool))[0, :, 0].tolist() == [1, 0, 1, 0]


def test_shapes_and_numbers_are_checked():
    fine, none_empty = np.zeros((2, 1, 1)), np.zeros((2, 1), bool)
    with pytest.raises(ValueError, match="differ"):
        outcomes(fine, np.zeros((3, 1, 1)), none_empty)
    with pytest.raises(ValueError, match="fit"):
        outcomes(fine, fine, np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="fit"):
        outcomes(fine, fine, none_empty, np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="finite"):
        outcomes(fine * np.nan, fine, none_empty)


def test_fairness_by_hand():
    groups = [ScoredGroup("a", 0.5, False), ScoredGroup("b", 0.3, False), ScoredGroup("c", 0.2, True)]
    measures = fairness([0.9, 0.4, 0.7], groups)
    assert measures.worst == 1  # the worst group is not the minority
    assert measures.worst_group_win_rate == 0.4
    assert measures.minority_win_rate == 0.7
    assert measures.majority_win_rate == 0.9
    assert measures.mean_win_rate == pytest.approx(2 / 3)
    assert measures.population_win_rate == pytest.approx(0.45 + 0.12 + 0.14)
    assert measures.gap == pytest.approx(0.5)


def test_equal_shares_are_decided_by_the_flag():
    a, b = ScoredGroup("a", 0.5, False), ScoredGroup("b", 0.5, True)
    assert minority_and_majority([a, b]) == (1, 0)
    assert minority_and_majority([b, a]) == (0, 1)
    assert minority_and_majority([a, a]) == (0, 1)
    assert minority_and_majority([a]) == (0, 0)
    assert minority_and_majority([ScoredGroup("a", 0.2, False), ScoredGroup("b", 0.8, True)]) == (
        0,
        1,
    )  # share first
    with pytest.raises(ValueError):
        minority_and_majority([])


utilities = st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3)).flatmap(
    lambda shape: st.tuples(
        arrays(float, shape, elements=st.floats(-5, 5)),
        arrays(float, shape, elements=st.floats(-5, 5)),
        arrays(bool, shape[:2]),
    )
)


@given(utilities)
def test_rates_are_rates_and_every_comparison_is_counted(drawn):
    policy, reference, empty = drawn
    scores = outcomes(policy, reference, empty)
    groups = [ScoredGroup(f"g{i}", 1 / policy.shape[2], i == 0) for i in range(policy.shape[2])]
    for index, result in enumerate(group_results(scores, groups, rngs(len(groups)))):
        assert result.wins + result.ties + result.losses == policy.shape[0] * policy.shape[1]
        assert 0 <= result.interval.low <= result.interval.high <= 1
        assert result.win_rate == pytest.approx(prompt_scores(scores)[:, index].mean())
        assert result.losses >= empty.sum()
    measures = fairness(scores.mean(axis=(0, 1)), groups)
    assert 0 <= measures.worst_group_win_rate <= measures.mean_win_rate + 1e-12
    assert 0 <= measures.gap <= 1


@given(utilities)
def test_swapping_sides_gives_the_rest(drawn):
    policy, reference, _ = drawn
    none_empty = np.zeros(policy.shape[:2], bool)
    ours, theirs = outcomes(policy, reference, none_empty), outcomes(reference, policy, none_empty)
    np.testing.assert_array_equal(ours, 1 - theirs)
