"""Low-rank rewards: what one direction is, what the factors may do, and whether a known truth comes back."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from prefbench.learn.low_rank import fit_departures, fit_low_rank
from prefbench.learn.rewards import fit_linear

WIDTH, USERS = 4, 12


def simulated(weights, directions, pairs=40, seed=0):
    """Pairs that people label by the rewards V w_u: differences [n, d] and whose they are [n]."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(len(weights)), pairs)
    x = rng.normal(size=(len(user), WIDTH))
    margin = ((x @ directions) * weights[user]).sum(axis=1)
    return np.where((rng.random(len(user)) < expit(margin))[:, None], x, -x), user


DIRECTIONS = np.array([[3.0, 0.0], [0.0, 3.0], [1.0, -1.0], [0.0, 0.0]])
SHARES = np.random.default_rng(1).dirichlet([0.4, 0.4], size=USERS)
X, USER = simulated(SHARES, DIRECTIONS)


def fitted(form="simplex", rank=2, x=X, user=USER, **more):
    options = {"ridge": 0.1, "weight_ridge": 0.1, "seed": 0} | more
    return fit_low_rank(x, user, rank, form, **options)


def test_one_direction_in_the_simplex_is_one_reward():
    found = fitted(rank=1)
    assert found.weights == pytest.approx(np.ones((USERS, 1)))
    assert found.directions[:, 0] == pytest.approx(fit_linear(X, 0.1, precise=True), abs=1e-6)


@pytest.mark.parametrize("form", ["simplex", "free"])
def test_there_is_no_slope_left_in_directions_nor_in_weights(form):
    found = fitted(form)
    pull = -expit(-found.margins(X, USER))
    by_direction = X.T @ (pull[:, None] * found.weights[USER]) + 0.1 * found.directions
    by_user = np.zeros((USERS, 2))
    np.add.at(by_user, USER, pull[:, None] * (X @ found.directions))
    by_user += 0.1 * (found.weights - 0.5)
    if form == "simplex":  # of its parameters, the logits of the shares
        by_user = found.weights * (by_user - (by_user * found.weights).sum(axis=1, keepdims=True))
        assert found.weights.sum(axis=1) == pytest.approx(1) and (found.weights >= 0).all()
    assert np.abs(by_direction).max() < 1e-3 and np.abs(by_user).max() < 1e-3


def test_only_the_product_of_the_factors_says_anything():
    found = fitted("free")
    mixing = np.array([[2.0, 1.0], [-1.0, 3.0]])
    turned = replace(
        found, directions=found.directions @ mixing, weights=found.weights @ np.linalg.inv(mixing).T
    )
    assert turned.margins(X, USER) == pytest.approx(found.margins(X, USER))
    assert np.abs(turned.directions - found.directions).max() > 0.1


@pytest.mark.parametrize("form", ["simplex", "free"])
def test_peoples_rewards_come_back_and_have_the_rank(form):
    x, user = simulated(SHARES, DIRECTIONS, pairs=600)
    found = fitted(form, x=x, user=user)
    theirs, ours = SHARES @ DIRECTIONS.T, found.weights @ found.directions.T
    assert np.abs(ours - theirs).max() < 0.6 and np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98
    assert np.linalg.matrix_rank(ours - ours.mean(axis=0), tol=1e-6) <= 2


def test_two_kinds_of_people_get_two_kinds_of_rewards():
    kinds = np.eye(2)[np.arange(USERS) % 2]
    x, user = simulated(kinds, DIRECTIONS)
    weights = fitted(x=x, user=user).weights
    likeliest = weights.argmax(axis=1)
    assert len(set(likeliest[::2])) == len(set(likeliest[1::2])) == 1 and likeliest[0] != likeliest[1]


def test_a_penalty_of_whole_rewards_and_rank_enough_give_each_her_own():
    alone = np.stack([fit_linear(X[USER == u], 0.1, precise=True) for u in range(USERS)])
    whole = fitted("free", rank=WIDTH, whole=True, weight_ridge=0.0)
    assert whole.weights @ whole.directions.T == pytest.approx(alone, abs=2e-3)
    thin = fitted("free", rank=1, whole=True, weight_ridge=0.0)
    assert np.linalg.matrix_rank(thin.weights @ thin.directions.T, tol=1e-6) == 1


def test_an_offset_is_part_of_every_margin():
    """What the offset says already, no direction needs to say."""
    offset = fitted(rank=1).margins(X, USER)
    assert (
        np.abs(fitted(rank=1, offset=offset).directions).max() < 0.1 * np.abs(fitted(rank=1).directions).max()
    )


# ---------------------------------------------------------------------------------- departures


def test_departures_in_their_limits():
    pooled = fit_linear(X, 0.1, precise=True)
    theta, own = fit_departures(X, USER, 0.0, penalty=0.1, ridge=1.0)
    assert theta == pytest.approx(pooled, abs=1e-6) and np.abs(own).max() < 1e-6
    theta, own = fit_departures(X, USER, 0.7, penalty=0.1, ridge=1e9)
    assert theta == pytest.approx(pooled, abs=1e-4) and np.abs(own).max() < 1e-6
    theta, own = fit_departures(X, USER, 1.0, penalty=1e6, ridge=0.1)
    alone = np.stack([fit_linear(X[USER == u], 0.1, precise=True) for u in range(USERS)])
    assert theta + own == pytest.approx(alone, abs=1e-3)


def test_departures_have_no_slope_left():
    theta, own = fit_departures(X, USER, 0.4, penalty=0.1, ridge=2.0)
    shared = X @ theta
    pull = -0.4 * expit(-(shared + (X * own[USER]).sum(axis=1)))
    by_user = np.zeros_like(own)
    np.add.at(by_user, USER, pull[:, None] * X)
    assert np.abs(by_user + 2.0 * own).max() < 1e-4
    assert np.abs(X.T @ (pull - 0.6 * expit(-shared)) + 0.1 * theta).max() < 1e-4
