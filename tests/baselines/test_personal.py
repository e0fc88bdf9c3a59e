"""What holds of every personal policy of one's own pairs: limits, invariance, and that own labels help."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from prefbench import registry
from prefbench.errors import UserError
from prefbench.learn.game import Game, group_optima
from prefbench.learn.interface import Context
from prefbench.learn.options import PersonalOptions
from prefbench.learn.rewards import fit_linear, pairs_of
from prefbench.learn.routers import posterior
from prefbench.learn.routing import policies_of
from prefbench.learn.weighted import Frozen, TrueUtilities, margins
from prefbench.problem.view import make_view
from support.people import (
    aligned,
    labelled_by,
    made,
    own_against_coin,
    people_bench,
    same,
    spreads,
    worth,
)

BY_PAIRS = ["em_personal", "user_regression", "low_rank", "pal", "pebs", "vpl"]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """The grid world, in which a policy for the right person is worth far more than any for everybody."""
    return people_bench(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def policies(room):
    """Personal policies by name, made once."""
    kept = {}

    def of(name):
        if name not in kept:
            kept[name] = made(room, name)
        return kept[name]

    return of


def test_these_are_all_that_read_pairs():
    reads = {e.name for e in registry.entries("aligner") if "pairs" in e.sees and e.role is None}
    assert {name for name in reads if e_is_built_in(name)} == set(BY_PAIRS)


def e_is_built_in(name):
    return registry.get("aligner", name).function.__module__.startswith("prefbench_baselines")


@pytest.mark.parametrize("name", BY_PAIRS)
def test_own_labels_are_worth_more_than_a_coins(room, policies, name):
    found = own_against_coin(room, policies(name))
    assert ttest_1samp(found, 0, alternative="greater").pvalue < 0.01


@pytest.mark.parametrize("name", BY_PAIRS)
def test_nothing_known_is_the_default_and_order_says_nothing(room, policies, name):
    policy, pairs = policies(name), labelled_by(room, 1, 6, 0)
    for empty in (Context(), Context(pairs=pairs[np.arange(0)]), Context(user_id=-1)):
        assert same(room, policy.adapt(empty), policy.default) == 0
    turned = pairs[np.arange(6)[::-1]]
    one, other = (policy.adapt(Context(pairs=each)) for each in (pairs, turned))
    assert same(room, one, other) < 1e-7 and same(room, one, policy.default) > 1e-3


@pytest.mark.parametrize("name", ["low_rank", "pal"])
def test_a_person_of_the_labels_is_known_by_her_id(room, policies, name):
    """To the minority's people their ids are worth more than the majority's ids would be."""
    policy, rows = policies(name), room.rows[room.rows["split"] == "train"]
    of = {g.name: sorted(rows.loc[rows["group"] == g.name, "user_id"].unique()) for g in room.problem.groups}
    majority, minority = of.values()
    own, others = (
        [worth(room, policy.adapt(Context(user_id=user)), 1) for user in users]
        for users in (minority, majority[: len(minority)])
    )
    assert ttest_1samp(np.subtract(own, others), 0, alternative="greater").pvalue < 0.05


# -------------------------------------------------------------------------------------- EM's posterior


def test_one_cluster_is_the_single_reward(room):
    one = made(room, "em_personal", clusters=1)
    usual = aligned(room, "single_reward").policy
    assert same(room, one.default, usual) < 1e-12
    assert same(room, one.adapt(Context(pairs=labelled_by(room, 1, 5, 0))), usual) < 1e-12


def test_the_prior_of_maxmin_is_maxmins_policy_before_anything_is_known(room):
    found = made(room, "em_personal", prior="worst_off")
    assert same(room, found.default, aligned(room, "maxmin").policy) < 1e-8


def test_the_posterior_mean_is_the_product_of_the_experts(room):
    """pi_ref exp(sum p_k r_k / beta) = prod_k pi_k^p_k for p that sums to one."""
    rewards = aligned(room, "em_personal").rewards.raw()
    view = make_view(room.rows, room.problem, frozenset(), 0)
    policy_of = policies_of(view, room.backbone, rewards, PersonalOptions())
    experts = [policy_of(each) for each in np.eye(len(rewards.names))]
    for p in ([0.3, 0.7], [1.0, 0.0], [0.5, 0.5]):
        assert same(room, policy_of(np.array(p)), room.backbone.log_linear(experts, p)) < 1e-10


# --------------------------------------------------------------------------------- Bayes' policies


def test_bayes_policies_know_before_any_pair_what_gold_does(room):
    beta = room.problem.world.beta
    for name, gold in (("bayes_personal", "gold_utilitarian"), ("bayes_maxmin", "gold_maxmin")):
        found = made(room, name, kl_coefficient=beta)
        assert same(room, found.default, aligned(room, gold, kl_coefficient=beta).policy) < 1e-6
        assert same(room, found.adapt(Context()), found.default) == 0
        assert ttest_1samp(own_against_coin(room, found, 4), 0, alternative="greater").pvalue < 1e-3


def test_ems_posterior_with_the_true_utilities_is_bayes(room):
    """The same pairs, the same prior, and experts who are the groups' own utilities in log odds."""
    found, pairs = made(room, "bayes_personal"), labelled_by(room, 1, 2, 0)
    view = make_view(room.rows, room.problem, frozenset({"oracle", "user_id"}), 0)
    truth = TrueUtilities.over(view.utilities, pairs_of(view.preferences["train"]))
    weights = posterior(margins(truth, pairs) / room.problem.temperature, np.array([0.75, 0.25]))
    assert 0.001 < weights[0] < 0.999
    policy = policies_of(view, room.backbone, truth, PersonalOptions())(weights)
    assert same(room, found.adapt(Context(pairs=pairs)), policy) < 1e-12


def test_the_least_favourable_prior_serves_the_minority_sooner_than_shares(room):
    """At two pairs; and no learner does better for the worst group than it does, but for chance."""
    values = {}
    for name in ("bayes_maxmin", "bayes_personal", "em_personal"):
        found = made(room, name)
        values[name] = [
            [worth(room, found.adapt(Context(pairs=labelled_by(room, g, 2, i))), g) for i in range(40)]
            for g in (0, 1)
        ]
    worst = {name: np.mean(each, axis=1).min() for name, each in values.items()}
    assert worst["bayes_maxmin"] > max(worst["bayes_personal"], worst["em_personal"])
    mean = {name: np.mean(each, axis=1) @ [0.75, 0.25] for name, each in values.items()}
    assert mean["bayes_personal"] > max(mean["bayes_maxmin"], mean["em_personal"])


def test_labels_without_noise_have_no_posterior(tmp_path):
    bench = people_bench(tmp_path, temperature=0.0)
    with pytest.raises(UserError, match="temperature"):
        made(bench, "bayes_personal")


# ------------------------------------------------------------------------------------ told the group


def test_to_be_told_the_group_is_worth_most_and_a_wrong_one_harms(room):
    gold = made(room, "gold_personal", kl_coefficient=room.problem.world.beta)
    learned = made(room, "known_groups_personal", kl_coefficient=room.problem.world.beta)
    names = [group.name for group in room.problem.groups]
    for index, name in enumerate(names):
        best = worth(room, gold.adapt(Context(group=name)), index)
        near = worth(room, learned.adapt(Context(group=name)), index)
        other = worth(room, learned.adapt(Context(group=names[1 - index])), index)
        assert other < worth(room, learned.default, index) < best and other < near <= best + 1e-3
    assert same(room, gold.adapt(Context(group="nobody's")), gold.default) == 0
    utilitarian = aligned(room, "gold_utilitarian", kl_coefficient=room.problem.world.beta).policy
    assert same(room, gold.default, utilitarian) < 1e-10


def test_gold_is_the_best_value_that_the_group_can_have(room):
    world = room.problem.world
    gold = made(room, "gold_personal", kl_coefficient=world.beta)
    game = Game(world.utilities / spreads(room), world.reference, np.ones(1), world.beta)
    best_of, without = group_optima(game), game.expected(np.log(world.reference))
    for index, group in enumerate(room.problem.groups):
        best = best_of[index] - without[index]
        # Gold's unit is the spread over the responses in the pairs, a sample of those that the value counts.
        assert worth(room, gold.adapt(Context(group=group.name)), index) == pytest.approx(best, rel=1e-2)


# ------------------------------------------------------------------------------ a regression each


def test_a_large_penalty_leaves_everybodys_reward(room):
    usual = aligned(room, "single_reward").policy
    stiff = made(room, "user_regression", person_ridge=1e9)
    assert same(room, stiff.default, usual) < 1e-10
    assert same(room, stiff.adapt(Context(pairs=labelled_by(room, 1, 8, 0))), usual) < 1e-6


def test_many_pairs_and_a_small_penalty_give_a_reward_of_ones_own(room):
    pairs = labelled_by(room, 1, 400, 0)
    loose = made(room, "user_regression", person_ridge=0.01)
    theta = fit_linear(margins(Frozen.of(room.backbone, pairs, None), pairs), 0.001, precise=True)
    world = room.problem.world
    found = room.backbone.probabilities(loose.adapt(Context(pairs=pairs)))
    assert np.corrcoef(np.log(found / world.reference)[0], (world.features @ theta)[0])[0, 1] > 0.99
