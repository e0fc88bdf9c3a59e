"""Routers: Bayes' rule by hand, fits against their conditions of optimality, and who is asked first."""

import numpy as np
import pytest
from scipy.special import expit

from prefbench.learn.interface import Context, Pairs
from prefbench.learn.rewards import fit_linear
from prefbench.learn.routers import (
    by_group,
    by_id,
    by_pairs,
    first,
    fit_free,
    fit_simplex,
    population,
    posterior,
)

RNG = np.random.default_rng(0)
MARGIN = RNG.normal(size=(7, 3))
CENTRE = np.array([0.2, 0.5, 0.3])


def test_one_more_pair_multiplies_the_odds_by_the_ratio_of_its_likelihoods():
    prior = np.array([0.8, 0.2])
    before, after = posterior(MARGIN[:3, :2], prior), posterior(MARGIN[:4, :2], prior)
    ratio = expit(MARGIN[3, 0]) / expit(MARGIN[3, 1])
    assert after[0] / after[1] == pytest.approx(before[0] / before[1] * ratio)
    assert posterior(MARGIN[:0, :2], prior) == pytest.approx(prior)
    # By hand: a pair with odds 3 to 1 for the first, a coin for the second, and shares one to three.
    assert posterior(np.array([[np.log(3), 0.0]]), np.array([1.0, 3.0])) == pytest.approx([1 / 3, 2 / 3])


def test_what_is_impossible_beforehand_stays_so():
    assert posterior(np.array([[50.0, -50.0]]), np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("fit", [fit_free, fit_simplex])
def test_the_order_of_pairs_says_nothing_and_no_pair_gives_the_centre(fit):
    order = RNG.permutation(len(MARGIN))
    assert fit(MARGIN[order], 0.7, CENTRE) == pytest.approx(fit(MARGIN, 0.7, CENTRE), abs=1e-8)
    assert (fit(MARGIN[:0], 0.7, CENTRE) == CENTRE).all()
    assert fit(MARGIN, 1e9, CENTRE) == pytest.approx(CENTRE, abs=1e-6)


def test_a_free_fit_has_no_slope_left_and_is_the_usual_one_around_zero():
    offset = RNG.normal(size=len(MARGIN))
    w = fit_free(MARGIN, 0.7, CENTRE, offset)
    assert 0.7 * (w - CENTRE) == pytest.approx(MARGIN.T @ expit(-(MARGIN @ w + offset)), abs=1e-6)
    assert fit_free(MARGIN, 0.7, np.zeros(3)) == pytest.approx(
        fit_linear(MARGIN, 0.7, precise=True), abs=1e-6
    )


def test_a_fit_in_the_simplex_meets_its_conditions_of_optimality():
    """No weight would gain by taking from another that has some (Karush, Kuhn and Tucker)."""
    for shift in (0.0, 4.0):
        margin = MARGIN + np.array([shift, 0, 0])
        w = fit_simplex(margin, 0.1, CENTRE)
        slope = 0.1 * (w - CENTRE) - margin.T @ expit(-(margin @ w))
        assert w.sum() == pytest.approx(1) and (w >= 0).all()
        assert (slope - slope.min())[w > 1e-6] == pytest.approx(0, abs=1e-5)
    assert w[0] > 0.99  # the second time the first expert explains every pair
    assert fit_simplex(MARGIN[:, :1], 1.0, np.ones(1)) == pytest.approx([1.0])


def test_the_first_router_that_knows_something_answers():
    pairs = Pairs(["p"], ["a"], ["b"])

    def experts(prompts, responses):
        return np.array([[text == "a", text == "b"] for text in responses], dtype=float)

    router = first(
        by_id({7: np.array([0.0, 1.0])}),
        by_group(["x", "y"]),
        by_pairs(experts, lambda margin, strength: posterior(margin, np.ones(2), strength)),
    )
    assert router(Context(user_id=7, group="x", pairs=pairs)).tolist() == [0, 1]
    assert router(Context(user_id=8, group="x", pairs=pairs)).tolist() == [1, 0]
    told = router(Context(user_id=8, group="z", pairs=pairs))
    assert told == pytest.approx([expit(1) / (expit(1) + expit(-1)), expit(-1) / (expit(1) + expit(-1))])
    assert router(Context()) is None and router(Context(pairs=pairs[np.arange(0)])) is None


# ------------------------------------------------------------------------------------------- slopes


def test_the_population_of_slopes_is_found_and_one_pair_moves_little_of_it():
    rng = np.random.default_rng(2)
    slope = rng.normal(0.5, 0.6, size=400)
    user = np.repeat(np.arange(400), 60)
    margin = rng.normal(scale=1.5, size=len(user))
    ahead = rng.random(len(user)) < expit(slope[user] * margin)
    mean, variance = population(np.where(ahead, margin, -margin), user)
    assert mean == pytest.approx(0.5, abs=0.1) and variance**0.5 == pytest.approx(0.6, abs=0.1)
    centre = np.array([mean])
    (moved,) = fit_free(np.array([[1.5]]), 1 / variance, centre)
    # Where the slope is as likely as can be: (b - m) / t^2 = D sigmoid(-D b).
    assert moved - mean == pytest.approx(variance * 1.5 * expit(-1.5 * moved), abs=1e-6)
    many = np.where(rng.random(20_000) < expit(-1.0), 1.0, -1.0)[:, None]
    (own,), (alone,) = fit_free(many, 1 / variance, centre), fit_free(many, 1e-9, np.zeros(1))
    assert own == pytest.approx(alone, abs=0.01) and own == pytest.approx(-1.0, abs=0.1)


def test_people_who_are_all_alike_have_next_to_no_variance():
    rng = np.random.default_rng(3)
    user = np.repeat(np.arange(100), 80)
    margin = rng.normal(size=len(user))
    ahead = rng.random(len(user)) < expit(1.2 * margin)
    mean, variance = population(np.where(ahead, margin, -margin), user)
    assert mean == pytest.approx(1.2, abs=0.15) and variance < 0.1
