"""Payments of Vickrey, Clarke and Groves in worlds: what they are, and that no lie pays under them."""

import itertools

import numpy as np
import pytest

from prefbench.learn.game import Game
from prefbench.learn.payments import charged, told

SHARES = np.array([0.7, 0.3])
REPORTS = [*itertools.product((-2.0, -1.0, 0.0, 0.3, 0.9, 1.1, 2.0, 5.0, 20.0), (0, 1))]
"""Factors, and whose reward they are of: the group's own or the other one's."""


def game_of(seed: int, beta: float = 0.4) -> Game:
    """Two groups whose rewards are not negative."""
    rng = np.random.default_rng(seed)
    return Game(
        rng.random((3, 4, 2)) * 2, rng.dirichlet(np.full(4, 3.0), size=3), np.array([0.5, 0.3, 0.2]), beta
    )


def has(game: Game, reported: Game, group: int) -> float:
    """What a group has of the policy for these reports after it paid, per unit of its size."""
    found = charged(reported, SHARES)
    return float(game.expected(found.logprob)[group] - found.payments[group] / SHARES[group])


@pytest.mark.parametrize(("seed", "group"), itertools.product(range(5), (0, 1)))
def test_no_lie_is_better_than_the_truth_and_nobody_would_rather_stay_away(seed, group):
    game = game_of(seed)
    others = told(game, 1 - group, 3.0, 1 - group)  # whatever the others say
    for reported in (game, others):
        truth = has(game, reported, group)
        lies = [has(game, told(reported, group, 0.0, group), group)]
        for factor, same in REPORTS:
            rewards = reported.rewards.copy()
            rewards[..., group] = factor * game.rewards[..., group if same == 0 else 1 - group]
            lies.append(has(game, Game(rewards, game.reference, game.weights, game.beta), group))
        assert truth >= max(lies) - 1e-12
        assert min(lies) < truth - 1e-4
        assert truth >= 0


@pytest.mark.parametrize("group", [0, 1])
def test_without_payments_a_larger_report_gains(group):
    game = game_of(1)
    true, loud = (
        game.expected(charged(told(game, group, factor, group), SHARES).logprob)[group] for factor in (1, 5)
    )
    assert loud > true + 1e-3


def test_a_payment_is_what_the_others_lose_by_the_group():
    game = game_of(2)
    found = charged(game, SHARES)
    alone = np.log(game.reference) + SHARES[0] * game.rewards[..., 0] / game.beta
    alone -= np.logaddexp.reduce(alone, axis=1, keepdims=True)  # the others' policy were group 1 not there

    def left(logprob: np.ndarray) -> float:
        return float(SHARES[0] * game.expected(logprob)[0] - game.beta * game.kl(logprob))

    assert found.payments[1] == pytest.approx(left(alone) - left(found.logprob), abs=1e-12)
    assert (found.payments >= 0).all()
    silent = charged(told(game, 1, 0.0, 1), SHARES)
    assert silent.payments[1] == pytest.approx(0, abs=1e-12)
