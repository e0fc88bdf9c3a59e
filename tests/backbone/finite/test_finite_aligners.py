"""Aligners on the finite backbone: where MPO, PPO, EM and welfares of one's own end."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from prefbench.errors import UserError
from prefbench.learn import em, exact
from prefbench.learn.game import group_optima
from prefbench.learn.interface import Pairs, Rewards
from prefbench.learn.options import EMOptions, PPOOptions
from prefbench.learn.welfare import Welfare, mean, population_min
from prefbench.running.run import run
from prefbench.spec import make_spec
from support.worlds import known_rewards, labelled, make_world


@pytest.mark.parametrize("seed", range(3))
def test_mpo_ends_where_the_dual_does(tmp_path, seed):
    sets = {"aligner": {"mpo_steps": "3000", "mpo_step": "0.05"}, "task": {"groups": "3"}}
    _, product = run(make_spec(task="bandit_k_group", aligner="mpo", seed=seed, sets=sets), tmp_path)
    known = make_spec(
        task="bandit_k_group", aligner="maxmin_known_groups", seed=seed, sets={"task": {"groups": "3"}}
    )
    _, dual = run(known, tmp_path)
    for ours, theirs in zip(product.regret.groups, dual.regret.groups, strict=True):
        assert ours.value == pytest.approx(theirs.value, abs=1e-5)


def test_preference_matching_answers_as_often_as_it_is_preferred(finite, tmp_path):
    run(make_spec(task="worst_case_two_group", aligner="preference_matching"), tmp_path)
    (folder,) = (path for path in (tmp_path / "stages" / "policy").iterdir() if path.is_dir())
    (rewards,) = (path for path in (tmp_path / "stages" / "rewards").iterdir() if path.is_dir())
    from safetensors.numpy import load_file

    policy = load_file(folder / "policy.safetensors")["logprob"]
    reward = load_file(rewards / "reward-0.safetensors")["reward"]
    assert np.allclose(policy, log_softmax(reward, axis=1))


def test_em_dpo_mixes_for_the_least_regret():
    from prefbench_baselines.em_dpo import _least_regret

    class Fixed:
        def __init__(self, values):
            self.values = np.array(values)

    class View:
        seed, prompts = 0, ("p",)

    class Backbone:
        def expect(self, policy, prompts, function, **more):
            return policy.values

    # Cluster 1 loses 2 under policy 2, cluster 2 loses 1 under policy 1: w = (2/3, 1/3) levels both at 2/3.
    weights = _least_regret(
        View,
        Backbone(),
        [Fixed([2.0, 0.0]), Fixed([0.0, 1.0])],
        1.0,
        type("O", (), {"regret_prompts": 1}),
    )
    assert weights == pytest.approx([2 / 3, 1 / 3])


# --------------------------------------------------------------------------------------- PPO


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("welfare", [mean(), population_min], ids=["mean", "population_min"])
def test_ppo_by_sampling_converges_to_the_exact_optimum(finite, seed, welfare):
    """Within 0.03 standard deviations of reward of the largest welfare there is."""
    world, prompts = make_world(seed=seed)
    backbone = finite(world, optimiser="ppo", policy="tabular", policy_learning_rate=0.05)
    rewards = known_rewards(backbone)
    spread = [model.table.std() for model in rewards.models]
    rewards = replace(rewards, scale=np.array(spread))
    options = PPOOptions(iterations=60, batch=512, epochs=4, minibatches=1, kl_coefficient=0.2)
    game = backbone.game(prompts, rewards, 0.2)
    found = backbone.optimise(rewards, welfare, options, prompts=prompts, seed=seed, names=["one", "two"])
    values, best = game.values(found.table), exact.optimum(game, welfare)
    reached = values.mean() if welfare.kind == "mean" else values.min()
    at_reference = game.values(np.log(world.reference))
    assert best.welfare - 0.03 < reached <= best.welfare + 1e-9
    assert best.welfare - (at_reference.mean() if welfare.kind == "mean" else at_reference.min()) > 0.1


# ---------------------------------------------------------------------------------------- EM


def clustered(backbone, prompts, annotators, minority, seed=0) -> tuple[Pairs, np.ndarray]:
    truth = np.r_[np.zeros(annotators - minority, int), np.ones(minority, int)]
    user = np.random.default_rng(seed).permutation(np.arange(len(prompts)) % annotators)
    tastes = np.array([[2.0, 0.0, 0.0], [-1.0, 2.0, 0.0]])
    return labelled(backbone, prompts, tastes[truth], seed, user), truth


def agreement(rewards: Rewards, truth) -> float:
    from sklearn.metrics import adjusted_rand_score

    return adjusted_rand_score(truth, [rewards.assignment[user] for user in range(len(truth))])


@pytest.mark.parametrize("assignment", ["hard", "soft"])
@pytest.mark.parametrize("seed", range(3))
def test_annotators_are_found_and_pairs_alone_are_not(finite, assignment, seed):
    world, prompts = make_world(prompts=1200)
    backbone = finite(world)
    pairs, truth = clustered(backbone, prompts, 30, 8, seed)
    by_annotator = em.fit_mixture(backbone, pairs, EMOptions(em_assignment=assignment), seed)
    assert agreement(by_annotator, truth) == 1.0
    assert by_annotator.em["assignment"] == assignment and by_annotator.em["unit"] == "annotator"
    trace = by_annotator.em["log_likelihood"]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(trace))
    for how, most in (("plain", 0.5), ("features", 0.9)):
        options = EMOptions(em=how, em_assignment=assignment, em_unit="pair")
        by_pair = em.fit_mixture(backbone, pairs, options, seed)
        assert by_pair.em["unit"] == "pair"
        assert agreement(by_pair, truth) < most


@pytest.mark.parametrize("seed", range(3))
def test_held_out_pairs_choose_the_number_of_clusters(finite, seed):
    world, prompts = make_world(prompts=1600)
    backbone = finite(world)
    pairs, truth = clustered(backbone, prompts, 30, 10, seed)
    train, held_out = pairs[np.arange(1200)], pairs[np.arange(1200, 1600)]
    chosen = em.fit_mixture(backbone, train, EMOptions(select_clusters=4), seed, held_out)
    assert chosen.em["clusters"] == 2 and len(chosen.em["held_out"]) == 4
    assert agreement(chosen, truth) == 1.0
    alike = labelled(backbone, prompts, np.array([1.0, 0.5, 0.0]), seed, None)
    alike = replace(alike, user_id=np.arange(1600) % 30)
    one = em.fit_mixture(
        backbone, alike[np.arange(1200)], EMOptions(select_clusters=3), seed, alike[np.arange(1200, 1600)]
    )
    assert one.em["clusters"] == 1


def test_too_many_clusters_split_a_group_and_mix_none(finite):
    world, prompts = make_world(prompts=1600)
    backbone = finite(world)
    pairs, truth = clustered(backbone, prompts, 20, 6)
    three = em.fit_mixture(backbone, pairs, EMOptions(clusters=3), 0)
    cluster = np.array([three.assignment[user] for user in range(20)])
    for name in np.unique(cluster):
        assert len(np.unique(truth[cluster == name])) == 1
    one = em.fit_mixture(backbone, pairs, EMOptions(clusters=1), 0)
    assert set(one.assignment.values()) == {0} and agreement(one, truth) == 0.0


# ------------------------------------------------------------------------- welfares of one's own


def lowest_of_a_batch(rewards):
    """The group with the lowest mean over the batch, which no single response knows."""
    return rewards[:, rewards.mean(axis=0).argmin()]


def test_a_welfare_of_ones_own_is_solved_where_it_can_be_and_refused_where_not(finite):
    world, prompts = make_world()
    backbone = finite(world)
    rewards, options = known_rewards(backbone), PPOOptions(kl_coefficient=0.2)

    def solved(welfare):
        return backbone.optimise(
            rewards, welfare, options, prompts=prompts, seed=0, names=["one", "two"]
        ).table

    lowest = solved(Welfare.of_values(lambda v: v.min(), concave=True))
    assert np.abs(np.exp(lowest) - np.exp(solved(population_min))).max() < 1e-3
    each = solved(lambda matrix: matrix.min(axis=1))
    assert np.array_equal(each, solved(Welfare("per_sample_min")))
    assert np.abs(np.exp(each) - np.exp(lowest)).max() > 1e-2
    for other in (lowest_of_a_batch, Welfare.of_values(lambda v: (v**3).sum())):
        with pytest.raises(UserError, match=r"model\.optimiser=ppo"):
            solved(other)


def test_ppo_on_a_world_takes_any_welfare_of_ones_own(finite):
    """One that is not concave, and one of a batch: PPO ends near the best policy of each."""
    world, prompts = make_world(seed=1)
    backbone = finite(world, optimiser="ppo", policy="tabular", policy_learning_rate=0.05)
    rewards = known_rewards(backbone)
    rewards = replace(rewards, scale=np.array([model.table.std() for model in rewards.models]))
    options = PPOOptions(iterations=60, batch=512, epochs=4, minibatches=1, kl_coefficient=0.2)
    game = backbone.game(prompts, rewards, 0.2)

    def found(welfare):
        policy = backbone.optimise(rewards, welfare, options, prompts=prompts, seed=0, names=["one", "two"])
        return game.values(policy.table)

    assert found(lowest_of_a_batch).min() == pytest.approx(exact.maxmin(game).welfare, abs=0.03)
    # exp is convex: the largest sum lies near the optimum of the group that can gain more.
    convex = found(Welfare.of_values(lambda v: torch.exp(4 * v).sum()))
    assert np.exp(4 * convex).sum() > 0.9 * np.exp(4 * group_optima(game)).max()
