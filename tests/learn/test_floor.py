"""The optimum under a floor: its dual, and the optima between which it lies."""

import numpy as np
import pytest

from prefbench.learn import exact
from prefbench.learn.floor import with_floor
from prefbench.learn.game import Game
from prefbench.learn.interface import Context
from support.people import aligned, made, people_bench, same

BETA = 0.3


def random_game(seed: int = 0, beta: float = BETA) -> Game:
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(4, 6, 1)) * np.array([1.0, -0.7]) + rng.normal(size=(4, 6, 2)) * 0.5
    return Game(rewards, rng.dirichlet(np.full(6, 3.0), size=4), np.full(4, 0.25), beta)


@pytest.mark.parametrize("seed", range(4))
def test_primal_and_dual_meet_and_the_price_is_paid_only_where_the_floor_binds(seed):
    game, values = random_game(seed), []
    alone = game.expected(game.policy(np.array([1.0, 0.0])))[1]
    for floor in alone + np.array([-1.0, 0.0, 0.2, 0.4]):
        found = with_floor(game, floor)
        assert found.value == pytest.approx(found.dual, abs=1e-9)
        assert found.reached >= floor - 1e-9 and found.multiplier >= 0
        assert found.multiplier * (found.reached - floor) == pytest.approx(0, abs=1e-9)
        assert found.unconstrained == pytest.approx(alone) and found.floor == floor
        values.append(found.value)
    assert values[0] == values[1] > values[2] > values[3]
    unbound = with_floor(game, alone - 1.0)
    assert unbound.multiplier == 0
    assert np.allclose(unbound.logprob, game.policy(np.array([1.0, 0.0])))


def test_the_papers_projected_descent_ends_at_the_same_price():
    game = random_game()
    price, floor = 1.0, 0.3
    for _ in range(2000):
        logits = np.log(game.reference) + game.rewards @ np.array([1.0, price]) / BETA
        policy = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        price = max(0.0, price - 0.3 * ((policy * game.rewards[..., 1]).sum(axis=1).mean() - floor))
    assert price > 0.1
    assert with_floor(game, floor).multiplier == pytest.approx(price, abs=1e-6)


def test_one_floor_gives_maxmins_policy():
    """Its weights (w, 1 - w) at beta are r + s (1 - w) / w at beta / w."""
    game = random_game()
    fairest = exact.maxmin(game)
    weight = fairest.group_weights[0]
    assert 0.05 < weight < 0.95
    harder = Game(game.rewards, game.reference, game.weights, BETA / weight)
    found = with_floor(harder, game.expected(fairest.logprob)[1])
    assert found.multiplier == pytest.approx((1 - weight) / weight, abs=1e-6)
    assert np.allclose(found.logprob, fairest.logprob, atol=1e-6)


def test_a_floor_beyond_reach_becomes_the_largest_that_is_not():
    game = random_game()
    most = game.rewards[..., 1].max(axis=1).mean()
    found = with_floor(game, most + 1.0)
    assert most - 1e-3 < found.floor <= most and found.reached == found.floor
    assert found.value == pytest.approx(found.dual, abs=1e-9)


# ----------------------------------------------------------------------------------- the aligners


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """One state, a ridge penalty that is next to none."""
    return people_bench(tmp_path_factory.mktemp("room"), model={"penalty": 1e-3})


def test_can_without_a_floor_that_binds_is_the_majoritys_policy_alone(room):
    majority, minority = (group.name for group in room.problem.groups)
    free, bound = (aligned(room, "can", floor=floor) for floor in (-50.0, 50.0))
    each = made(room, "known_groups_personal")
    assert same(room, free.policy, each.adapt(Context(group=majority))) < 1e-9
    assert f"of {minority}'s reward" in free.notes[0] and "multiplier 0" in free.notes[0]
    assert "was lowered" in bound.notes[-1] and len(free.notes) == 1


def test_can_gives_the_minority_what_the_floor_says(room):
    found = aligned(room, "can", floor=0.5)
    game = room.backbone.game(room.problem.prompts.train, found.rewards, 1.0)
    assert game.expected(found.policy.table)[1] == pytest.approx(0.5, abs=1e-6)


def test_pecan_is_can_where_log_ratios_are_rewards(room):
    """In one state they differ by a constant: what is left between them is the ridge penalty's."""
    beta = room.backbone.dpo_beta
    by_rewards, by_ratios = (
        aligned(room, "can", floor=0.5, kl_coefficient=beta),
        aligned(room, "pecan", floor=0.5, beta=beta),
    )
    assert same(room, by_rewards.policy, by_ratios.policy) < 0.02
    assert by_ratios.notes[0][:40] == by_rewards.notes[0][:40]
