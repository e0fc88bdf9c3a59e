"""The finite backbone: tables that sample what they say, and optimal fits."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

from prefbench import seeds
from prefbench.backbone.finite.policies import FinitePolicy
from prefbench.errors import Diverged, UserError
from prefbench.evaluate.regret import regrets
from prefbench.learn.interface import Pairs
from prefbench.learn.options import IPOOptions, PairwiseOptions, RewardOptions
from prefbench.learn.pairwise import DPO, IPO
from prefbench.learn.simple_policies import ExtremeLengthPolicy, MixturePolicy, ReferencePolicy
from support.worlds import known_rewards, labelled, make_world

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


def test_dpo_at_its_own_beta_is_the_optimum_that_regret_is_measured_from(finite):
    """Labels of one group without end: every pair of responses, weighed by how often each way is labelled."""
    world, prompts = make_world()
    backbone = finite(world, policy="tabular", penalty=1e-9)  # labels of temperature 0.5
    distribution = backbone.distribution(backbone.reference, prompts)
    mass = distribution["state_weight"] * distribution["reference"]
    utility = distribution["utility/0"]
    spread = np.sqrt((mass * (utility - (mass * utility).sum()) ** 2).sum())
    asked, chosen, rejected, weights = [], [], [], []
    for state, texts in enumerate(world.responses):
        for a, b in itertools.permutations(range(len(texts)), 2):
            asked.append(prompts[state])
            chosen.append(texts[a])
            rejected.append(texts[b])
            apart = world.utilities[state, a, 0] - world.utilities[state, b, 0]
            weights.append(expit(apart / (0.5 * spread)))
    pairs = Pairs(asked, chosen, rejected, weights=np.array(weights))

    def regret(loss):
        policy = backbone.fit_pairwise(pairs, loss, PairwiseOptions(), seed=0)
        found = regrets(backbone.distribution(policy, prompts), ["0", "1"], world.beta)
        return found["groups"][0]["regret"]

    assert backbone.dpo_beta == world.beta / 0.5
    assert regret(DPO.of(PairwiseOptions(), backbone)) < 1e-4
    assert regret(DPO.of(PairwiseOptions(beta=0.1), backbone)) > 0.01
    # Squares do not see odds as logarithms do: IPO's own is near, and nearer than DPO's.
    assert regret(IPO.of(IPOOptions(), backbone)) < regret(IPO(backbone.dpo_beta))


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


@pytest.mark.parametrize(
    ("loss", "error", "said"),
    [
        (lambda difference: difference.log(), Diverged, r"of 400 pairs is not finite where .* begins \(-inf"),
        (
            lambda difference: difference.mean(),
            UserError,
            "one number for 400 pairs: let it give a number",
        ),
        (lambda difference: difference[:, None], UserError, r"shape \[400, 1\] for 400 pairs"),
    ],
)
def test_a_loss_with_a_mistake_is_told(finite, loss, error, said):
    world, prompts = make_world()
    backbone = finite(world)
    pairs = labelled(backbone, prompts, np.array([1.0, -0.5, 0.3]))[np.arange(400)]
    with pytest.raises(error, match=said):
        backbone.fit_pairwise(pairs, loss, PairwiseOptions(), seed=0)


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
