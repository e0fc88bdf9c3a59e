"""The finite backbone: tables that sample what they say, optimal fits, and the aligners built on them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from prefbench import registry, seeds
from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.finite.policies import FinitePolicy
from prefbench.backbone.options import FiniteOptions
from prefbench.errors import UserError
from prefbench.learn import em, exact
from prefbench.learn.game import group_optima
from prefbench.learn.interface import Pairs, Rewards
from prefbench.learn.options import EMOptions, IPOOptions, PairwiseOptions, PPOOptions, RewardOptions
from prefbench.learn.pairwise import DPO, IPO
from prefbench.learn.simple_policies import ExtremeLengthPolicy, MixturePolicy, ReferencePolicy
from prefbench.learn.welfare import Welfare, mean, population_min
from prefbench.problem.finite import numbered_prompts
from prefbench.problem.world import World
from prefbench.running.run import run
from prefbench.spec import make_spec
from prefbench.store.stages import Store, Work


def make_world(states=4, responses=5, features=3, groups=2, seed=0, prompts=600) -> tuple[World, list[str]]:
    rng = np.random.default_rng(seed)
    split, state = numbered_prompts("p", (i % states for i in range(prompts)), [0], [0])
    psi = rng.normal(size=(states, responses, features))
    world = World(
        state=state,
        responses=(tuple(f"{'long ' * i}{i}" for i in range(responses)),) * states,
        features=psi,
        utilities=psi @ rng.normal(size=(features, groups)),
        reference=rng.dirichlet(np.full(responses, 4.0), size=states),
        beta=0.2,
    )
    return world, list(split.train)


@pytest.fixture
def finite(tmp_path):
    def make(world, **options):
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        return Finite(world, FiniteOptions(**options), Store(tmp_path), Work("policy", work))

    return make


def labelled(backbone, prompts, weights, seed=0, user=None) -> Pairs:
    """Pairs of reference responses, labelled by a linear reward, or by one for each annotator."""
    world, rng = backbone.world, np.random.default_rng(seed)
    drawn = backbone.reference.sample(prompts, 2, seeds.child(seed, "pairs"))
    rows = world.rows(prompts)
    a, b = (world.columns(rows, [pair[i] for pair in drawn]) for i in (0, 1))
    theta = weights if user is None else weights[user]
    margin = ((world.features[rows, a] - world.features[rows, b]) * theta).sum(axis=1)
    first = rng.random(len(rows)) < expit(margin)
    return Pairs(
        prompts,
        [pair[0 if one else 1] for pair, one in zip(drawn, first, strict=True)],
        [pair[1 if one else 0] for pair, one in zip(drawn, first, strict=True)],
        user_id=user,
    )


# ------------------------------------------------------------------------------------ tables


def test_samples_follow_the_table_and_depend_on_the_seed_alone(finite):
    world, prompts = make_world()
    backbone = finite(world)
    drawn = backbone.reference.sample(prompts[:4], 20_000, seeds.child(0, "s"))
    for row, texts in zip(world.rows(prompts[:4]), drawn, strict=True):
        share = np.bincount(world.columns(np.full(20_000, row), texts), minlength=5) / 20_000
        assert np.abs(share - world.reference[row]).max() < 0.015  # over 4 standard errors
    assert backbone.reference.sample(prompts[:4], 20_000, seeds.child(0, "s")) == drawn
    assert backbone.reference.sample(prompts[:4], 20_000, seeds.child(1, "s")) != drawn


def test_log_probabilities_are_the_tables(finite):
    world, prompts = make_world()
    texts = [world.responses[0][2]] * 4
    assert np.allclose(np.exp(finite(world).reference.logprob(prompts[:4], texts)), world.reference[:, 2])


@pytest.mark.parametrize("which", ["longest", "shortest"])
def test_the_law_of_a_selection_is_what_selecting_gives(finite, which):
    world, prompts = make_world(states=1, responses=4)
    same = replace(world, responses=(("a b", "c d", "e", "f g h"),))  # two equally long
    backbone = finite(same)
    policy = ExtremeLengthPolicy(backbone.reference, which, 3)
    law = backbone.probabilities(policy)[0]
    texts = policy.sample(prompts[:1], 40_000, seeds.child(0, "s"))[0]
    share = np.bincount(same.columns(np.zeros(40_000, int), texts), minlength=4) / 40_000
    assert law.sum() == pytest.approx(1)
    assert np.abs(share - law).max() < 0.012


def test_every_kind_of_policy_comes_back_from_disk(finite, tmp_path):
    world, prompts = make_world()
    backbone = finite(world)
    tilted = FinitePolicy(world, log_softmax(np.random.default_rng(0).normal(size=(4, 5)), axis=1))
    policies = [
        tilted,
        ReferencePolicy(backbone.reference),
        MixturePolicy((tilted, backbone.reference), (0.3, 0.7)),
    ]
    for number, policy in enumerate(policies):
        folder = tmp_path / str(number)
        folder.mkdir()
        policy.save(folder)
        again = backbone.load_policy(folder)
        assert np.allclose(backbone.probabilities(again), backbone.probabilities(policy))
        assert again.sample(prompts[:9], 2, seeds.child(0, "s")) == policy.sample(
            prompts[:9], 2, seeds.child(0, "s")
        )
    mixed = 0.3 * np.exp(tilted.table) + 0.7 * world.reference
    assert np.allclose(backbone.probabilities(policies[2]), mixed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table[:, :-1], r"a table \[4, 4\], but the task's world has \[4, 5\]"),
        (lambda table: table * np.nan, "NaN or infinite"),
        (lambda table: table + 1, "do not sum to one"),
        (None, "holds no table 'logprob'"),
    ],
)
def test_a_table_of_another_world_or_of_no_numbers_is_refused(finite, tmp_path, change, said):
    world, _ = make_world()
    backbone = finite(world)
    file = tmp_path / "policy.safetensors"
    backbone.reference.save(tmp_path)
    assert np.array_equal(backbone.load_policy(tmp_path).table, np.log(world.reference))
    save_file({"logprob" if change else "reward": (change or (lambda t: t))(np.log(world.reference))}, file)
    with pytest.raises(UserError, match=said):
        backbone.load_policy(tmp_path)


def test_a_mixture_answers_as_its_parts_in_proportion(finite):
    world, prompts = make_world(states=1)
    sure = [FinitePolicy(world, np.log(np.eye(5)[[i]] + 1e-300)) for i in (0, 1)]
    texts = MixturePolicy(tuple(sure), (0.25, 0.75)).sample(prompts[:1], 10_000, seeds.child(0, "s"))[0]
    assert np.mean([text == world.responses[0][0] for text in texts]) == pytest.approx(0.25, abs=0.02)


# -------------------------------------------------------------------------------------- fits


def test_a_reward_fits_to_the_last_digit_and_finds_the_truth(finite):
    world, prompts = make_world(prompts=20_000)
    backbone = finite(world, penalty=1e-6)
    truth = np.array([1.0, -0.5, 0.3])
    pairs = labelled(backbone, prompts, truth)
    reward = backbone.fit_reward(pairs, RewardOptions(), seed=0, name="all")
    fitted = np.linalg.lstsq(world.features.reshape(-1, 3), reward.table.ravel(), rcond=None)[0]
    assert np.abs(fitted - truth).max() < 0.08
    chosen, rejected = backbone.places(pairs)
    flat = world.features.reshape(-1, 3)
    margin = reward.table.ravel()[chosen] - reward.table.ravel()[rejected]
    slope = (flat[chosen] - flat[rejected]).T @ expit(-margin)
    assert np.abs(slope).max() < 1e-3  # of a sum of 20,000 terms


@pytest.mark.parametrize("kind", ["linear", "tabular"])
def test_dpo_is_the_bradley_terry_reward_in_other_words(finite, kind):
    """With a log-linear policy beta D is a linear margin, so DPO's implicit reward is the fitted reward."""
    world, prompts = make_world()
    backbone = finite(world, reward=kind, policy=kind, penalty=0.5)
    pairs = labelled(backbone, prompts, np.array([1.0, -0.5, 0.3]))
    reward = backbone.fit_reward(pairs, RewardOptions(), seed=0, name="all")
    policy = backbone.fit_pairwise(pairs, DPO(0.2), PairwiseOptions(beta=0.2), seed=0)
    implicit = 0.2 * (policy.table - np.log(world.reference))
    assert np.allclose(np.diff(implicit, axis=1), np.diff(reward.table, axis=1), atol=1e-4)


def test_ipo_is_least_squares(finite):
    world, prompts = make_world()
    backbone = finite(world, penalty=0.5)
    pairs = labelled(backbone, prompts, np.array([1.0, -0.5, 0.3]))
    policy = backbone.fit_pairwise(pairs, IPO(0.2), IPOOptions(beta=0.2), seed=0)
    chosen, rejected = backbone.places(pairs)
    flat = world.features.reshape(-1, 3)
    x = flat[chosen] - flat[rejected]
    n = len(pairs)
    theta = np.linalg.solve(2 * x.T @ x / n + 0.5 * 0.2**2 / n * np.eye(3), 2 * x.T @ np.full(n, 2.5) / n)
    implied = log_softmax(np.log(world.reference) + world.features @ theta, axis=1)
    assert np.allclose(policy.table, implied, atol=1e-6)


def test_group_robust_dpo_minimises_the_largest_loss(finite):
    world, prompts = make_world()
    backbone = finite(world, penalty=0.1)
    many = labelled(backbone, prompts[:400], np.array([1.0, -0.5, 0.3]))
    few = labelled(backbone, prompts[400:500], np.array([-1.0, 0.5, 0.6]), seed=1)
    pairs = Pairs(
        [*many.prompts, *few.prompts],
        [*many.chosen, *few.chosen],
        [*many.rejected, *few.rejected],
        group=np.array(["many"] * 400 + ["few"] * 100, dtype=object),
    )
    policy = backbone.fit_pairwise(pairs, DPO(0.5), PairwiseOptions(beta=0.5), seed=0, group_step=0.1)
    chosen, rejected = backbone.places(pairs)
    flat = world.features.reshape(-1, 3)
    x = flat[chosen] - flat[rejected]

    def losses(theta):
        each = np.logaddexp(0, -0.5 * (x @ theta))
        return np.array([each[:400].mean(), each[400:].mean()])

    def worst(theta):
        return losses(theta).max() + 0.1 * 0.25 / 500 * (theta @ theta) / 2

    theta = np.linalg.lstsq(
        np.diff(world.features, axis=1).reshape(-1, 3),
        np.diff(policy.table - np.log(world.reference), axis=1).ravel(),
        rcond=None,
    )[0]
    simplex = minimize(
        worst, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}
    )
    assert worst(theta) <= simplex.fun + 2e-4
    plain = backbone.fit_pairwise(pairs, DPO(0.5), PairwiseOptions(beta=0.5), seed=0)
    mixed = np.linalg.lstsq(
        np.diff(world.features, axis=1).reshape(-1, 3),
        np.diff(plain.table - np.log(world.reference), axis=1).ravel(),
        rcond=None,
    )[0]
    assert losses(theta).max() < losses(mixed).max() - 0.01


def test_a_loss_without_slopes_is_fitted_all_the_same(finite):
    world, prompts = make_world()
    backbone = finite(world)
    pairs = labelled(backbone, prompts, np.array([1.0, -0.5, 0.3]))
    named, plain = (
        backbone.fit_pairwise(pairs, loss, PairwiseOptions(), seed=0)
        for loss in (DPO(0.1), DPO(0.1).__call__)
    )
    assert np.allclose(named.table, plain.table, atol=1e-6)


# ------------------------------------------------------------------------------- combination


def known_rewards(backbone, scale=(1.0, 1.0)) -> Rewards:
    """The true utilities as two fitted rewards."""
    from prefbench.backbone.finite.policies import FiniteReward

    tables = np.moveaxis(backbone.world.utilities, 2, 0)
    models = [FiniteReward(backbone.world, table * by) for table, by in zip(tables, scale, strict=True)]
    return Rewards(models, ["one", "two"], np.zeros(2), np.ones(2))


def test_products_and_soups_of_optima_are_optima_of_sums(finite):
    """pi_k ~ pi_ref exp(r_k / beta), so prod pi_k^w_k ~ pi_ref exp(sum w_k r_k / beta)."""
    world, prompts = make_world()
    backbone = finite(world)
    game = backbone.game(prompts, known_rewards(backbone), 0.2)
    own = [FinitePolicy(world, game.policy(np.eye(2)[k])) for k in (0, 1)]
    for combine in (backbone.log_linear, backbone.average):
        assert np.allclose(combine(own, [0.3, 0.7]).table, game.policy(np.array([0.3, 0.7])))


def test_expectations_are_sums(finite):
    world, prompts = make_world()
    backbone = finite(world)
    value = backbone.expect(
        backbone.reference, prompts, known_rewards(backbone), batch=8, seed=0, names=("x",)
    )
    by_hand = (world.reference[..., None] * world.utilities).sum(axis=1).mean(axis=0)
    assert np.allclose(value, by_hand)


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
        type("O", (), {"beta": 1, "regret_prompts": 1}),
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
    options = PPOOptions(iterations=150, batch=512, epochs=4, minibatches=1, kl_coefficient=0.2)
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
    by_pair = em.fit_mixture(backbone, pairs, EMOptions(em_assignment=assignment, em_unit="pair"), seed)
    assert by_pair.em["unit"] == "pair"
    assert agreement(by_pair, truth) < 0.5


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


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "bandit_two_group", "model": "nano"}, "does not fit task"),
        ({"task": "imdb_two_group", "model": "finite"}, "does not fit task"),
        ({"task": "bandit_two_group", "aligner": "constant"}, "does not apply"),
        ({"task": "imdb_two_group", "aligner": "preference_matching"}, "does not apply"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_is_written(given, message, tmp_path):
    with pytest.raises(UserError, match=message):
        make_spec(**({"aligner": "dpo"} | given))


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("bandit_two_group", {"actions": "1"}, "leaves nothing to choose"),
        ("bandit_two_group", {"beta": "0"}, "positive KL weight"),
        ("bandit_two_group", {"beta": "-1"}, "positive KL weight"),
        ("bandit_k_group", {"diversity": "1e-12"}, "want the same"),
        ("bandit_k_group", {"groups": "6"}, "more than an equal share"),
        ("bandit_k_group", {"groups": "2", "shares": "1.0,0.0"}, "not 2 positive shares"),
        ("bandit_k_group", {"groups": "3", "shares": "0.5,0.5"}, "not 3 positive shares"),
        ("bandit_k_group", {"groups": "3", "dimensions": "2"}, "need 3 or more"),
        ("worst_case_two_group", {"beta": "0"}, "positive KL weight"),
    ],
)
def test_degenerate_tasks_are_refused(task, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run(make_spec(task=task, aligner="reference", sets={"task": options}), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("aligner", ["maxmin", "em_dpo", "welfare"])
def test_more_clusters_than_annotators_are_refused(aligner, tmp_path):
    with pytest.raises(UserError, match="clusters are more than the 20 annotators"):
        run(
            make_spec(task="bandit_two_group", aligner=aligner, sets={"aligner": {"clusters": "21"}}),
            tmp_path,
        )


def test_a_run_without_kl_charge_is_refused(tmp_path):
    with pytest.raises(UserError, match="kl_coefficient"):
        run(
            make_spec(
                task="bandit_two_group", aligner="single_reward", sets={"aligner": {"kl_coefficient": "0"}}
            ),
            tmp_path,
        )


def test_computed_worlds_take_no_data(tmp_path):
    for entry in registry.entries("task"):
        if entry.backbone == "finite" and entry.name != "response_pool":
            with pytest.raises(UserError, match="leave --data at synthetic"):
                run(make_spec(task=entry.name, aligner="reference", data="reviews.csv"), tmp_path)


def test_any_number_of_groups_needs_no_code(tmp_path):
    sets = {"task": {"groups": "5", "shares": "0.3,0.25,0.2,0.15,0.1"}, "aligner": {"clusters": "5"}}
    _, record = run(make_spec(task="bandit_k_group", aligner="maxmin", sets=sets), tmp_path)
    assert [round(group.share, 2) for group in record.groups] == [0.3, 0.25, 0.2, 0.15, 0.1]
    assert record.groups[4].is_minority and len(record.regret.groups) == 5


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
    options = PPOOptions(iterations=100, batch=512, epochs=4, minibatches=1, kl_coefficient=0.2)
    game = backbone.game(prompts, rewards, 0.2)

    def found(welfare):
        policy = backbone.optimise(rewards, welfare, options, prompts=prompts, seed=0, names=["one", "two"])
        return game.values(policy.table)

    assert found(lowest_of_a_batch).min() == pytest.approx(exact.maxmin(game).welfare, abs=0.03)
    # exp is convex: the largest sum lies near the optimum of the group that can gain more.
    convex = found(Welfare.of_values(lambda v: torch.exp(4 * v).sum()))
    assert np.exp(4 * convex).sum() > 0.9 * np.exp(4 * group_optima(game)).max()
