"""An encoder of pairs: what it cannot tell apart, what it turns round, and whether it finds two groups."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prefbench.learn.options import CodeOptions
from prefbench.learn.variational import active_units, fit_variational

USERS, PAIRS = 20, 30
USER = np.repeat(np.arange(USERS), PAIRS)
SIGN = np.where(np.arange(USERS) % 2, 1.0, -1.0)


def sides(seed=0):
    """Features of pairs in which half of the people like what the others do not, without noise."""
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=(2, len(USER), 3))
    ahead = ((one - other)[:, 0] * SIGN[USER] > 0)[:, None]
    return np.where(ahead, one, other), np.where(ahead, other, one)


CHOSEN, REJECTED = sides()


def fitted(**options):
    known = CodeOptions.model_validate({"code_steps": 200, "latent": 2} | options)
    return fit_variational(CHOSEN, REJECTED, USER, known, ridge=0.1, seed=0)


@pytest.fixture(scope="module")
def found():
    return fitted()


def test_exchanged_responses_turn_the_code_round_and_order_says_nothing(found):
    code = found.code(CHOSEN[:5], REJECTED[:5])
    assert found.code(REJECTED[:5], CHOSEN[:5]) == pytest.approx(-code, abs=1e-12)
    assert found.code(CHOSEN[4::-1], REJECTED[4::-1]) == pytest.approx(code, abs=1e-12)
    assert (found.code(CHOSEN[:0], REJECTED[:0]) == 0).all() and np.abs(code).max() > 0.01


def test_people_who_are_new_are_told_apart_by_one_pair(found):
    chosen, rejected = sides(seed=1)
    own, with_one = [], []
    for user in range(USERS):
        mine = np.flatnonzero(USER == user)
        for shown, right in ((mine[:8], own), (mine[:1], with_one)):
            theta = found.reward(found.code(chosen[shown], rejected[shown]))
            right.append(((chosen - rejected)[mine[8:]] @ theta > 0).mean())
    assert np.mean(own) > 0.9 and np.mean(with_one) > 0.75
    nobody = (chosen - rejected) @ found.reward(np.zeros(2)) > 0
    assert 0.3 < nobody.mean() < 0.7


def test_codes_differ_between_people_unless_divergence_is_dear(found):
    def codes(of):
        return np.array([of.code(CHOSEN[USER == u], REJECTED[USER == u]) for u in range(USERS)])

    assert active_units(codes(found)) >= 1
    assert active_units(codes(fitted(code_kl=1e4))) == 0


def test_without_directions_everybody_has_one_reward(found):
    weights = dict(found.weights) | {"directions": torch.zeros_like(found.weights["directions"])}
    flat = replace(found, weights=weights)
    assert (flat.reward(np.ones(2)) == flat.reward(np.zeros(2))).all()


def test_the_same_seed_gives_the_same_code(found):
    again = fitted()
    assert (again.code(CHOSEN[:3], REJECTED[:3]) == found.code(CHOSEN[:3], REJECTED[:3])).all()


def test_a_person_with_one_pair_has_no_context_of_it():
    user = np.append(USER, USERS)
    chosen, rejected = np.vstack([CHOSEN, CHOSEN[:1]]), np.vstack([REJECTED, REJECTED[:1]])
    options = CodeOptions.model_validate({"code_steps": 3})
    found = fit_variational(chosen, rejected, user, options, ridge=0.1, seed=0)
    assert np.isfinite(found.reward(np.ones(2))).all()
