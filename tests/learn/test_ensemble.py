"""Ensembles that are calibrated to shares of people, and the votes that shares come of."""

import itertools

import numpy as np
import pytest

from prefbench.learn.ensemble import Ensemble, error, fit_ensemble, floor_of_one
from prefbench.learn.interface import Pairs
from prefbench.learn.votes import votes_of

SHARES = np.array([0.6, 0.25, 0.15])


def people(n=400, d=4):
    """Three groups' linear rewards, pairs, and the share who prefer the first of each, without noise."""
    rng = np.random.default_rng(0)
    heads, x = rng.normal(size=(d, 3)), rng.normal(size=(n, d))
    return heads, x, (x @ heads > 0) @ SHARES, np.ones(n)


def test_the_groups_own_rewards_with_their_shares_are_calibrated():
    heads, x, share, count = people()
    assert error(Ensemble(heads, SHARES, ()).chances(x), share, count) == pytest.approx(0, abs=1e-30)


def test_every_stage_lowers_the_error_from_that_of_one_reward_towards_none():
    _, x, share, count = people()
    found = fit_ensemble(x, share, count, stages=4, ridge=0.1)
    assert len(found.errors) == 4 and found.weights.sum() == pytest.approx(1)
    assert (found.weights > 0).all() and (np.diff(found.errors) < 0).all()
    assert found.errors[0] >= floor_of_one(share, count) > 3 * found.errors[-1]
    assert error(found.chances(x), share, count) == pytest.approx(found.errors[-1])


def test_two_opposed_groups_are_found_in_two_stages():
    rng = np.random.default_rng(0)
    x, head = rng.normal(size=(300, 3)), np.array([1.0, -2.0, 0.5])
    share = np.where(x @ head > 0, 0.7, 0.3)
    found = fit_ensemble(x, share, np.ones(300), stages=5, ridge=0.01)
    assert found.errors[0] == pytest.approx(0.3**2, rel=0.05)
    assert len(found.errors) == 2 and found.errors[1] < 1e-3
    assert sorted(found.weights) == pytest.approx([0.3, 0.7], abs=0.02)


def test_one_reward_cannot_be_better_than_the_floor():
    rng = np.random.default_rng(0)
    share, count = rng.random(6), rng.integers(1, 4, size=6).astype(float)
    every = [error(np.array(said, float), share, count) for said in itertools.product((0, 1), repeat=6)]
    assert min(every) == pytest.approx(floor_of_one(share, count))


def test_people_who_agree_need_one_reward():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    found = fit_ensemble(x, (x[:, 0] > 0).astype(float), np.ones(200), stages=3, ridge=1e-6)
    assert found.weights == pytest.approx([1.0]) and found.errors == pytest.approx((0.0,))


def test_votes_are_gathered_by_pair_whichever_side_won():
    pairs = Pairs(
        ["p", "p", "q", "p", "p"],
        ["a", "b", "a", "a", "c"],
        ["b", "a", "b", "b", "a"],
        strength=np.array([1.0, 0.75, 1.0, 1.0, 0.5]),
    )
    votes = votes_of(pairs)
    assert list(zip(votes.pairs.prompts, votes.pairs.chosen, votes.pairs.rejected, strict=True)) == [
        ("p", "a", "b"),
        ("q", "a", "b"),
        ("p", "a", "c"),
    ]
    assert votes.pair.tolist() == [0, 0, 1, 0, 2] and votes.turned.tolist() == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert votes.count.tolist() == [3, 1, 1] and votes.several
    assert votes.disputed.tolist() == [True, False, False]
    assert votes.share == pytest.approx([(1 + 0.25 + 1) / 3, 1.0, 0.5])
    x = np.arange(5.0)[:, None] + 1
    assert [side[:, 0].tolist() for side in votes.sides(x, -x)] == [[1.0, 3.0, -5.0], [-1.0, -3.0, 5.0]]
    assert not votes_of(pairs[np.array([0, 2])]).several
