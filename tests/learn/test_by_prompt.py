"""Rules that weigh each prompt's responses by themselves, and how samples are drawn by them."""

from types import SimpleNamespace

import numpy as np
import pytest

from prefbench import seeds
from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.options import FiniteOptions
from prefbench.learn import exact
from prefbench.learn.by_prompt import Fairest, Proportional, ResampledPolicy, policy_by_prompt, table_of
from prefbench.learn.game import Game, utilitarian
from prefbench.learn.interface import Pairs, Rewards
from prefbench.learn.options import RewardOptions
from prefbench.store.stages import Store, Work
from support.people import aligned, people_bench, same
from support.worlds import make_world


def random_game(seed: int, groups: int, beta: float = 0.3) -> Game:
    rng = np.random.default_rng(seed)
    reference = rng.dirichlet(np.full(6, 3.0), size=8)
    return Game(rng.normal(size=(8, 6, groups)), reference, rng.dirichlet(np.full(8, 5.0)), beta)


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_fairest_to_each_prompt_is_not_fairest_to_the_population(groups, seed):
    game = random_game(seed, groups)
    by_prompt, together = (
        game.values_by_state(table) for table in (table_of(Fairest(0.3), game), exact.maxmin(game).logprob)
    )
    assert (by_prompt.min(axis=1) >= together.min(axis=1) - 1e-8).all()
    assert by_prompt.min(axis=1) @ game.weights > together.min(axis=1) @ game.weights + 0.01
    assert (game.weights @ by_prompt).min() <= (game.weights @ together).min() + 1e-8
    assert game.weights @ together == pytest.approx(game.values(exact.maxmin(game).logprob))


@pytest.mark.parametrize("beta", [1.0, 0.05])
def test_two_groups_have_the_optimum_of_any_number(beta):
    game = random_game(5, 2, beta)
    for state in range(8):
        alone = Game(game.rewards[[state]], game.reference[[state]], np.ones(1), beta)
        found = Fairest(beta).chances(game.rewards[state], np.log(game.reference[state]))
        assert alone.values(found[None]).min() == pytest.approx(exact.maxmin(alone).welfare, abs=1e-8)
        assert np.exp(found).sum() == pytest.approx(1)


def test_one_group_and_groups_that_agree_have_the_ordinary_optimum():
    game = random_game(0, 1)
    alike = Game(np.repeat(game.rewards, 2, axis=2), game.reference, game.weights, 0.3)
    usual = utilitarian(game).logprob
    assert np.allclose(table_of(Fairest(0.3), game), usual, atol=1e-7)
    assert np.allclose(table_of(Fairest(0.3), alike), usual, atol=1e-7)


def test_where_one_group_is_worst_off_even_at_its_best_it_alone_counts():
    game = random_game(1, 2)
    apart = Game(game.rewards - np.array([9.0, 0.0]), game.reference, game.weights, 0.3)
    assert np.allclose(table_of(Fairest(0.3), apart), apart.policy(np.array([1.0, 0.0])))


def test_rmod_in_a_world_of_one_state_is_maxmin(tmp_path):
    room = people_bench(tmp_path)
    assert len(room.problem.world.responses) == 1
    rmod = aligned(room, "rmod_known_groups")
    assert same(room, rmod.policy, aligned(room, "maxmin_known_groups").policy) < 1e-6
    assert "population minimum" in rmod.notes[-1]


# ---------------------------------------------------------------------------------- in proportion


def chances(rewards, sharpness=0.0):
    found = Proportional(sharpness).chances(np.array(rewards)[:, None], np.zeros(len(rewards)))
    assert np.exp(found).sum() == pytest.approx(1)
    return np.exp(found)


def test_in_proportion_by_hand_and_with_a_sharp_rule_what_nothing_beats():
    assert chances([np.log(4), 0.0]) == pytest.approx([0.8, 0.2])
    # P(a > b) = 3/4, P(a > c) = 6/7, P(b > c) = 2/3: the least of each are 3/4, 1/4 and 1/7.
    least = np.array([3 / 4, 1 / 4, 1 / 7])
    rewards = [np.log(6), np.log(2), 0.0]
    assert chances(rewards) == pytest.approx(least / least.sum())
    assert chances(rewards, 2.0) == pytest.approx(least * np.exp(2 * least) / (least @ np.exp(2 * least)))
    assert chances(rewards, 1e3)[0] == pytest.approx(1)
    assert chances([900.0, 0.0, 1.0])[0] == pytest.approx(1)  # one group without noise: its best
    assert chances([5.0]) == pytest.approx([1.0])


def test_opposed_groups_of_four_to_one_without_noise_are_answered_four_to_one(tmp_path):
    """Two responses, labelled by people who are sure: the pooled reward says how many there are of each."""
    world, prompts = make_world(states=1, responses=2, prompts=10, seed=1)
    options = FiniteOptions(reward="tabular", penalty=1e-7)
    backbone = Finite(world, options, Store(tmp_path), Work("policy", tmp_path), 0.5)
    a, b = world.responses[0]
    pairs = Pairs(prompts, [a] * 8 + [b] * 2, [b] * 8 + [a] * 2)
    rewards = Rewards(
        [backbone.fit_reward(pairs, RewardOptions(), seed=0, name="r")], ["all"], np.zeros(1), np.ones(1)
    )
    view = SimpleNamespace(prompts=prompts, seed=0)
    policy, notes = policy_by_prompt(view, backbone, rewards, Proportional(0.0), 2)
    assert np.exp(policy.table[0]) == pytest.approx([0.8, 0.2], abs=1e-5) and notes == []


# --------------------------------------------------------------------------------------- samples


class Urn:
    """Draws "a" half of the time, "b" and "c" else, in an order that hangs on the draw."""

    def sample(self, prompts, n, draw):
        rng = np.random.default_rng(draw)
        return [[str(text) for text in rng.choice(["a", "b", "c", "a"], size=n)] for _ in prompts]


def test_a_response_is_drawn_by_the_chances_of_its_own_candidates():
    asked = []

    class Rule:
        def chances(self, said, reference):
            asked.append((said.copy(), np.exp(reference)))
            return np.log(said[:, 0] / said.sum())

    def rewards(prompts, responses):
        return np.array([[{"a": 1.0, "b": 3.0, "c": 4.0}[text]] for text in responses])

    policy = ResampledPolicy(Urn(), rewards, Rule(), 64)
    drawn = policy.sample(["p"] * 50, 20, seeds.child(0, "draw"))
    assert [len(row) for row in drawn] == [20] * 50
    share = {text: np.mean([row.count(text) / 20 for row in drawn]) for text in "abc"}
    assert share == pytest.approx({"a": 1 / 8, "b": 3 / 8, "c": 1 / 2}, abs=0.05)
    said, reference = asked[0]
    assert len(said) == 3 and reference.sum() == pytest.approx(1)  # equal texts are one response
    assert policy.sample(["p"] * 50, 20, seeds.child(0, "draw")) == drawn
