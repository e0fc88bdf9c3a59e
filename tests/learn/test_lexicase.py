"""Lexicase selection: who survives it, and the set that evolves."""

import numpy as np
import pytest

from prefbench.learn.lexicase import evolve, selected, survivors


def by_hand(serves, order):
    """One selection as it is told: pair by pair those stay that order it right, where any does."""
    left = list(range(len(serves)))
    for pair in order:
        right = [member for member in left if serves[member, pair]]
        left = right or left
    return left


def test_survivors_are_those_of_a_selection_by_hand():
    rng = np.random.default_rng(0)
    serves = rng.random((12, 130)) < 0.5
    serves[:6, :-2] = serves[0, :-2]  # told apart by the last two pairs alone
    orders = rng.permuted(np.tile(np.arange(130), (40, 1)), axis=1)
    found = survivors(serves, orders)
    assert [np.flatnonzero(row).tolist() for row in found] == [by_hand(serves, order) for order in orders]


def test_nobody_selected_is_dominated():
    rng = np.random.default_rng(1)
    serves = rng.random((60, 8)) < 0.6
    beaten = [(serves >= one).all(axis=1) & (serves > one).any(axis=1) for one in serves]
    chosen = np.unique(selected(serves, 200, rng))
    assert np.any(beaten) and 1 < len(chosen) < 60
    assert not np.array(beaten)[chosen].any()


def test_whoever_orders_every_pair_is_always_selected():
    rng = np.random.default_rng(2)
    serves = rng.random((30, 20)) < 0.5
    serves[[4, 17]] = True
    assert set(selected(serves, 50, rng).tolist()) == {4, 17}


def test_one_group_without_noise_is_served_wholly():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 2))
    x *= np.sign(x @ [1.0, 0.3])[:, None]
    found = evolve(x, population=30, generations=20, step=0.1, rng=rng)
    assert found.served.shape == (1, 80) and found.served.all()
    assert np.linalg.norm(found.heads, axis=1) == pytest.approx(1.0)


def test_of_two_opposed_groups_both_are_in_the_set():
    """They want opposite things of the first feature and the same of the second."""
    rng = np.random.default_rng(4)
    x, few = rng.normal(size=(120, 2)), np.arange(120) % 3 == 0
    wants = np.where(few, -x[:, 0], x[:, 0]) + 0.3 * x[:, 1]
    x *= np.sign(wants)[:, None]
    found = evolve(x, population=40, generations=20, step=0.1, rng=rng)
    assert found.served[:, few].mean(axis=1).max() > 0.9
    assert found.served[:, ~few].mean(axis=1).max() > 0.9
