"""Low-rank rewards, PAL, P-DPO, PEBS and SharedRep in worlds: the limits in which each is another aligner."""

import numpy as np
import pytest

from prefbench import registry
from prefbench.learn.interface import Context
from prefbench.learn.low_rank import SharedRewards
from support.people import aligned, labelled_by, made, people_bench, same, worth


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return people_bench(tmp_path_factory.mktemp("room"))


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    return people_bench(tmp_path_factory.mktemp("swapped"), "bandit_two_group", features="swapped")


@pytest.mark.parametrize("name", ["low_rank", "pal"])
def test_one_shared_reward_is_the_single_one(room, swapped, name):
    more = {"form": "product"} if name == "pal" else {}
    for bench in (room, swapped):
        one = made(bench, name, rank=1, **more)
        usual = aligned(bench, "single_reward").policy
        assert same(bench, one.default, usual) < 1e-6
        for context in (Context(user_id=3), Context(pairs=labelled_by(bench, 1, 5, 0))):
            assert same(bench, one.adapt(context), usual) < 1e-6


def test_pal_without_its_offset_is_the_low_rank_reward(swapped):
    one, other = made(swapped, "pal", form="product"), made(swapped, "low_rank")
    assert same(swapped, one.default, other.default) == 0
    assert same(swapped, made(swapped, "pal").default, other.default) > 1e-3


def test_points_of_pal_lie_among_the_prototypes_and_their_nearest_response_is_best():
    """-b |phi - a|^2 and the linear form differ by a constant; a is a convex combination of prototypes."""
    rng, b = np.random.default_rng(0), 0.7
    prototypes, weights, phi = rng.normal(size=(3, 2)), rng.dirichlet([1, 1], size=5), rng.normal(size=(9, 3))
    fit = SharedRewards(2 * b * prototypes, weights)
    points = weights @ prototypes.T
    low, high = prototypes.min(axis=1), prototypes.max(axis=1)
    assert (points >= low - 1e-12).all() and (points <= high + 1e-12).all()
    for user, point in enumerate(points):
        linear = phi @ fit.directions @ fit.weights[user] - b * (phi**2).sum(axis=1)
        near = -b * ((phi - point) ** 2).sum(axis=1)
        assert linear - near == pytest.approx(np.full(9, b * (point @ point)))
        moved = -b * (((phi + 2.0) - (point + 2.0)) ** 2).sum(axis=1)
        assert moved == pytest.approx(near)


@pytest.mark.parametrize("options", [{"user_weight": 0.0}, {"user_ridge": 1e9}])
def test_p_dpo_without_departures_is_dpo(room, options):
    found = made(room, "p_dpo", **options)
    usual = aligned(room, "dpo").policy
    for user in (None, 3, 10**6):
        assert same(room, found.adapt(Context(user_id=user)), usual) < 1e-5


def test_p_dpo_gives_the_minoritys_people_more_than_everybodys_policy(room):
    found, rows = made(room, "p_dpo"), room.rows
    minority = sorted(rows.loc[rows["group"] == room.problem.groups[1].name, "user_id"].unique())
    gained = [worth(room, found.adapt(Context(user_id=user)), 1) for user in minority]
    assert min(gained) > worth(room, found.default, 1)
    assert same(room, found.adapt(Context(user_id=10**6)), found.default) == 0


def test_people_who_disagree_have_slopes_that_differ(room):
    """With everybody's slope the policy would be single_reward's; a person against it has a negative one."""
    found = made(room, "pebs")
    against, along = (
        worth(room, found.adapt(Context(pairs=labelled_by(room, group, 40, 1))), 1) for group in (1, 0)
    )
    assert against > worth(room, found.default, 1) > along - 1e-6


def test_shared_rep_with_rank_enough_is_the_least_of_the_groups_rewards(room):
    wide = aligned(room, "shared_rep", rank=2).policy
    apart = aligned(room, "maxmin_known_groups", welfare="per_sample_min").policy
    assert same(room, wide, apart) < 1e-4
    worst = [
        min(worth(room, policy, group) for group in (0, 1))
        for policy in (wide, aligned(room, "maxmin_known_groups").policy)
    ]
    assert worst[0] <= worst[1]  # E min is at most min E


def test_shared_rep_of_rank_one_cannot_please_groups_that_are_opposed(swapped):
    one, two = (aligned(swapped, "shared_rep", rank=rank).policy for rank in (1, 2))
    assert same(swapped, one, two) > 1e-3
    assert registry.get("aligner", "shared_rep").sees == frozenset()
