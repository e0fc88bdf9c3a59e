"""Rewards that are distributions over people: losses against identities, fits on people who disagree."""

import numpy as np
import pytest

from prefbench.learn.categorical import ahead, fit_categorical
from prefbench.learn.mean_spread import UNIT, MeanSpread, fit_mean_spread, ordered
from prefbench.learn.rewards import fit_linear, log_likelihood
from support.gradients import gradient_gap

AGREED, CONTESTED = [2, 3], [0, 1]


def people(share, noise=0.0, n=600):
    """Differences of four responses, of which a share of people like the first and the others the second.

    All like the third better than the fourth; both lie between the first and the second for everybody.
    """
    rng = np.random.default_rng(1)
    wants = np.array([[2.0, -2.0, 0.5, -0.5], [-2.0, 2.0, 0.5, -0.5]])
    group = (rng.random(n) >= share).astype(int)
    pair = np.array([rng.choice(4, size=2, replace=False) for _ in range(n)])
    margin = wants[group, pair[:, 0]] - wants[group, pair[:, 1]]
    won = margin + (rng.logistic(scale=noise, size=n) if noise else 0) > 0
    pair[~won] = pair[~won, ::-1]
    return np.eye(4)[pair[:, 0]], np.eye(4)[pair[:, 1]]


def fits(chosen, rejected):
    yield fit_mean_spread(chosen, rejected, ordered(), ridge=0.1, spread_ridge=0.1)
    yield fit_categorical(chosen, rejected, ridge=0.1, entropy=0.1)


def test_the_loss_knows_only_the_ratio_of_means_to_spreads():
    d, one, other = np.random.default_rng(0).uniform(0.2, 2.0, size=(3, 9))
    assert ordered()(3.7 * d, 3.7 * one, 3.7 * other)[0] == pytest.approx(ordered()(d, one, other)[0])


def test_with_one_spread_for_all_the_loss_is_that_of_bradley_terry():
    d, one = np.linspace(-2, 2, 9), np.ones(9)
    assert ordered()(d, one, one)[0] == pytest.approx(-log_likelihood(UNIT * d))


@pytest.mark.parametrize("strength", [None, np.linspace(0, 1, 40)])
def test_derivatives_are_those_of_the_loss(strength):
    assert gradient_gap(ordered(strength)) < 1e-7


def test_a_large_penalty_of_the_spread_leaves_the_bradley_terry_reward():
    rng = np.random.default_rng(0)
    chosen, rejected, strength = *rng.normal(size=(2, 200, 3)), rng.random(200)
    for z in (None, strength):
        found = fit_mean_spread(chosen, rejected, ordered(z), ridge=0.5, spread_ridge=1e12, strength=z)
        usual = fit_linear(chosen - rejected, 0.5, strength=z, precise=True)
        assert UNIT * found.theta == pytest.approx(usual, abs=1e-6)
        assert found.spread(rng.normal(size=(5, 3))) == pytest.approx(np.ones(5))


def test_contested_responses_have_the_larger_spread():
    for found in fits(*people(0.6)):
        spread = found.spread(np.eye(4))
        assert spread[CONTESTED].min() > 1.2 * spread[AGREED].max()


def test_the_share_between_responses_is_near_one_where_all_want_the_same():
    for alone, mixed in zip(fits(*people(1.0)), fits(*people(0.5)), strict=True):
        assert alone.explained(np.eye(4)) > 0.8 > 0.5 > mixed.explained(np.eye(4))


def test_the_spread_is_one_over_the_responses_in_the_pairs():
    chosen, rejected = people(0.7)
    found = fit_mean_spread(chosen, rejected, ordered(), ridge=0.1, spread_ridge=0.1)
    spread = found.spread(np.concatenate([chosen, rejected]))
    assert (spread**2).mean() == pytest.approx(1.0)
    assert isinstance(found, MeanSpread) and np.ptp(spread) > 0.1


def test_chances_of_two_responses_to_be_ahead_sum_to_one_and_ties_count_half():
    one, other = np.random.default_rng(0).dirichlet(np.ones(5), size=(2, 7))
    assert ahead(one, other) + ahead(other, one) == pytest.approx(np.ones(7))
    assert ahead(np.array([[0.2, 0.3, 0.5]]), np.array([[0.6, 0.4, 0.0]])) == pytest.approx(
        [0.5 * 1.0 + 0.3 * (0.6 + 0.2) + 0.2 * 0.3]
    )


def test_a_fit_of_chances_cannot_be_bettered_nearby():
    """Its loss is computed here from its definition, with half of the labels uncertain."""
    rng = np.random.default_rng(0)
    chosen, rejected = people(0.6, noise=0.5, n=80)
    strength = np.where(rng.random(80) < 0.5, 1.0, 0.7)
    found = fit_categorical(chosen, rejected, ridge=0.3, entropy=0.2, atoms=3, strength=strength)

    def value(weights, offset):
        moved = type(found)(weights, offset, found.centre)
        p, q = moved.chances(chosen), moved.chances(rejected)
        overall = np.concatenate([p, q]).mean(axis=0)
        forth, back = ahead(p, q), ahead(q, p)
        losses = -(strength * np.log(forth) + (1 - strength) * np.log(back)).sum()
        return losses + 0.2 * 80 * (overall * np.log(overall)).sum() + 0.3 * (weights**2).sum() / 2

    best = value(found.weights, found.offset)
    for _ in range(20):
        by, shift = 1e-3 * rng.normal(size=found.weights.shape), 1e-3 * rng.normal(size=3)
        assert value(found.weights + by, found.offset + shift) > best
