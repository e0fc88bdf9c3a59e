"""Aligners that are losses of pairs: what each one's optimum is, where that is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, log_softmax

from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.options import FiniteOptions
from prefbench.errors import UserError
from prefbench.learn import exact
from prefbench.learn.game import Game
from prefbench.learn.interface import Pairs
from prefbench.learn.options import PairTrainingOptions
from prefbench.learn.pairwise import DPO, labelled
from prefbench.learn.rewards import fit_linear, pairs_by_group
from prefbench.problem.view import make_view
from prefbench.store.stages import Store, Work
from prefbench_baselines.bapo import BAPO
from prefbench_baselines.bfpo import BFPO
from prefbench_baselines.kto import KTO
from prefbench_baselines.modpo import MODPO
from prefbench_baselines.ordinal import merged
from prefbench_baselines.sign_estimator import fit_sign
from support.people import aligned, people_bench, same, worth
from support.worlds import make_world


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return people_bench(tmp_path_factory.mktemp("bench"), "bandit_two_group")


def every_pair(world, r: np.ndarray) -> tuple[Pairs, np.ndarray, np.ndarray]:
    """All pairs of a world with the exact probability of a reward's label; and their places [pairs] each."""
    states, number = world.reference.shape
    asked = {state: prompt for prompt, state in world.state.items()}
    rows = [(s, a, b) for s in range(states) for a in range(number) for b in range(a)]
    state, a, b = (np.array(column) for column in zip(*rows, strict=True))
    pairs = Pairs(
        [asked[s] for s in state],
        [world.responses[s][i] for s, i in zip(state, a, strict=True)],
        [world.responses[s][i] for s, i in zip(state, b, strict=True)],
        strength=expit(r[state, a] - r[state, b]),
    )
    return pairs, state * number + a, state * number + b


def backbone_of(folder, **options) -> Finite:
    world, _ = make_world()
    work = folder / "work"
    work.mkdir()
    return Finite(world, FiniteOptions(**options), Store(folder), Work("policy", work), 0.5)


def slopes_are_derivatives(loss, given, side=None, *more):
    """By hand and by torch the same losses and the same derivatives."""
    leaf = torch.from_numpy(given).requires_grad_(True)
    told = () if side is None else ({name: torch.from_numpy(each) for name, each in side.items()},)
    losses = loss(leaf, *more, *told)
    (slope,) = torch.autograd.grad(losses.sum(), leaf)
    ours = loss.slopes(given, *more, *(() if side is None else (side,)))
    assert ours[0] == pytest.approx(losses.detach().numpy(), abs=1e-12)
    assert ours[1] == pytest.approx(slope.numpy(), abs=1e-12)


# ----------------------------------------------------------------------------------------------- modpo


def test_modpo_by_hand():
    side = {"margin": np.array([0.4, -0.2])}
    loss = MODPO(0.5, 0.8)
    # (0.5 * 2 - 0.4) / 0.8 = 0.75
    assert loss.slopes(np.array([2.0, 1.0]), side)[0][0] == pytest.approx(np.log1p(np.exp(-0.75)))
    slopes_are_derivatives(loss, np.array([2.0, -1.0]), side)


@pytest.mark.parametrize("own", [0.25, 0.8])
def test_modpo_of_exact_labels_ends_at_the_optimum_of_the_weighted_rewards(tmp_path, own):
    backbone = backbone_of(tmp_path, policy="tabular", penalty=1e-9)
    world = backbone.world
    r = world.utilities
    pairs, chosen, rejected = every_pair(world, r[:, :, 0])
    margin = (1 - own) * np.subtract(*(r[:, :, 1].ravel()[places] for places in (chosen, rejected)))
    given = replace(pairs, side={"margin": margin})
    policy = backbone.fit_pairwise(given, MODPO(0.3, own), PairTrainingOptions(beta=0.3), seed=0)
    game = Game(r, world.reference, np.full(len(r), 1 / len(r)), 0.3)
    best = exact.utilitarian(game, np.array([own, 1 - own]))
    assert np.abs(policy.table - best.logprob).max() < 1e-5
    assert game.values(policy.table) == pytest.approx(best.values, abs=1e-6)


def test_modpo_of_one_groups_weight_alone_is_dpo_on_its_labels(bench):
    view = make_view(bench.rows, bench.problem, frozenset({"group"}), seed=0)
    for group in (None, list(view.shares)[1]):
        own = pairs_by_group(view, "train")[group or next(iter(view.shares))]
        dpo = bench.backbone.fit_pairwise(own, DPO(bench.backbone.dpo_beta), PairTrainingOptions(), seed=0)
        found = aligned(bench, "modpo", own_weight=1.0, group=group).policy
        assert same(bench, found, dpo) < 1e-9
        assert same(bench, found, aligned(bench, "modpo", group=group).policy) > 1e-2


def test_a_margin_turns_with_its_pair():
    given, side = torch.tensor([1.0, -2.0], dtype=torch.float64), {"margin": np.array([0.4, -0.3])}
    pairs = Pairs(["p"] * 2, ["a"] * 2, ["b"] * 2, strength=np.array([0.75, 0.0]), side=side)
    loss = labelled(MODPO(0.5, 0.8), pairs)
    one = MODPO(0.5, 0.8).slopes(given.numpy(), side)[0]
    other = MODPO(0.5, 0.8).slopes(-given.numpy(), {"margin": -side["margin"]})[0]
    assert loss(given).numpy() == pytest.approx([0.75 * one[0] + 0.25 * other[0], other[1]])
    found = loss.slopes(given.numpy())
    away = (loss(given + 1e-6) - loss(given - 1e-6)).numpy() / 2e-6
    assert found[0] == pytest.approx(loss(given).numpy()) and found[1] == pytest.approx(away, abs=1e-8)


def test_a_group_that_is_not_there_is_named(bench):
    with pytest.raises(
        UserError, match=r"no group is called 'nobody'; the task has group 1, group 2: name one"
    ):
        aligned(bench, "modpo", group="nobody")


# ------------------------------------------------------------------------------------------------- kto


def test_kto_by_hand():
    # beta (h - z) = 0.5 (2 - 1) and 0.5 (-3 - 1): the mean of sigmoid(-0.5) and sigmoid(-2)
    assert KTO(0.5, 1.0, 1.0)(torch.tensor([[2.0], [-3.0]]), 1.0).item() == pytest.approx(
        (expit(-0.5) + expit(-2.0)) / 2
    )
    weighted = KTO(0.5, 4 / 3, 1.0)(torch.tensor([[2.0], [-3.0]]), 1.0).item()
    assert weighted == pytest.approx((4 / 3 * expit(-0.5) + expit(-2.0)) / 2)
    slopes_are_derivatives(KTO(0.5, 1.2, 0.8), np.array([[2.0, 0.3], [-3.0, 1.0]]), None, 0.7)


@given(arrays(float, (2, 4), elements=st.floats(-50, 50)), st.floats(0, 20))
def test_kto_is_bounded_and_counts_as_many_good_as_bad_responses(ratios, kl):
    """Exchanged responses cost what is left of one: of each pair one single is good and one bad."""
    loss = KTO(0.3, 1.0, 1.0)
    one, other = loss.slopes(ratios, kl)[0], loss.slopes(ratios[::-1], kl)[0]
    assert (one >= 0).all() and (one <= 1).all()
    assert one + other == pytest.approx(np.ones(4))


def test_kto_in_a_world_is_stationary_at_its_own_divergence(tmp_path):
    """Of all parameters, the loss with z held at the policy's exact divergence has no slope there."""
    backbone = backbone_of(tmp_path, penalty=0.1)
    world = backbone.world
    pairs, chosen, rejected = every_pair(world, world.utilities[:, :, 0])
    policy = backbone.fit_pairwise(pairs, KTO(0.5, 1.0, 1.0), PairTrainingOptions(beta=0.5), seed=0)
    ratio = policy.table - np.log(world.reference)
    kl = (np.exp(policy.table) * ratio).sum(axis=1).mean()
    assert kl > 0.05
    theta = np.linalg.lstsq(
        np.diff(world.features, axis=1).reshape(-1, 3), np.diff(ratio, axis=1).ravel(), rcond=None
    )[0]

    def objective(theta):
        logits = np.log(world.reference) + world.features @ theta
        h = (log_softmax(logits, axis=1) - np.log(world.reference)).ravel()
        one, other = (expit(0.5 * (h[place] - kl)) for place in (chosen, rejected))
        z = pairs.strength
        loss = (z * (1 - one + other) + (1 - z) * (1 - other + one)) / 2
        ridge = 0.1 * 0.5**2 / len(chosen)
        return loss.mean() + ridge * theta @ theta / 2

    steps = 1e-5 * np.eye(3)
    slope = [(objective(theta + step) - objective(theta - step)) / 2e-5 for step in steps]
    assert np.abs(slope).max() < 1e-6
    other = KTO(0.5, 1.0, 1.0)
    moved = replace(other, desirable=4 / 3)
    skewed = backbone.fit_pairwise(pairs, moved, PairTrainingOptions(beta=0.5), seed=0)
    assert np.abs(skewed.table - policy.table).max() > 1e-3


def test_kto_gives_a_pair_in_dispute_to_its_majority(tmp_path):
    """Of two labels in three one way: DPO stops at their log odds, KTO goes on as far as the penalty lets."""
    backbone = backbone_of(tmp_path, policy="tabular", penalty=1e-3)
    pairs, _, _ = every_pair(backbone.world, backbone.world.utilities[:, :, 0])
    first = replace(pairs[np.zeros(1, dtype=int)], strength=np.array([2 / 3]))

    def apart(loss):
        policy = backbone.fit_pairwise(first, loss, PairTrainingOptions(beta=0.5), seed=0)
        ours, theirs = (
            each.logprob(first.prompts, first.chosen) - each.logprob(first.prompts, first.rejected)
            for each in (policy, backbone.reference)
        )
        return float((ours - theirs)[0])

    assert apart(DPO(0.5)) == pytest.approx(np.log(2) / 0.5, rel=1e-2)
    assert apart(KTO(0.5, 1.0, 1.0)) > 3 * np.log(2) / 0.5


# --------------------------------------------------------------------------------------------- ordinal


def test_votes_are_counted_in_both_directions():
    pairs = Pairs(
        ["p", "q", "p", "p", "q", "r", "r", "r", "r", "p"],
        ["a", "c", "b", "a", "d", "f", "e", "f", "f", "x"],
        ["b", "d", "a", "b", "c", "e", "f", "e", "e", "y"],
        strength=np.array([1.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.25]),
    )
    found = merged(pairs)
    assert list(zip(found.prompts, found.chosen, found.rejected, strict=True)) == [
        ("p", "a", "b"),
        ("q", "c", "d"),
        ("r", "f", "e"),
        ("p", "y", "x"),
    ]
    # 1, 0 and a half of three; one of two; three of four; a single label that is nearer to the contrary.
    assert found.strength.tolist() == [0.5, 0.5, 0.75, 0.75]
    assert found.weights.tolist() == pytest.approx([1.2, 0.8, 1.6, 0.4])
    assert merged(pairs, 2).strength.tolist() == [0.5, 0.5, 1.0, 1.0]
    assert merged(pairs, 4).strength.tolist() == pytest.approx([0.5, 0.5, 2 / 3, 2 / 3])
    assert merged(found).weights is None


@pytest.mark.parametrize(("name", "usual"), [("ordinal", "single_reward"), ("ordinal_dpo", "dpo")])
def test_a_share_of_votes_is_as_good_as_the_votes(tmp_path, name, usual):
    """k of m is the same objective as k labels one way and m - k the other; the majority's vote is not.

    A pair that stands for three labels is held by the ridge penalty as one, so that is a third.
    """
    third, bench = (
        people_bench(tmp_path, "bandit_two_group", {"penalty": penalty}, labels_per_pair=3)
        for penalty in (0.1, 0.3)
    )
    shares, votes = aligned(third, name), aligned(bench, usual)
    assert same(bench, shares.policy, votes.policy) < 1e-6 and list(shares.notes) == []
    majority = aligned(third, name, levels=2)
    assert same(bench, majority.policy, votes.policy) > 1e-2


def test_where_nobody_votes_the_record_says_so(bench):
    found = aligned(bench, "ordinal_dpo")
    assert same(bench, found.policy, aligned(bench, "dpo").policy) < 1e-9
    assert list(found.notes) == [
        "no pair has several labels, so there are no votes: this is dpo (set task.labels_per_pair)"
    ]


# ------------------------------------------------------------------------------------------------ bfpo

SIDES = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
"""Both responses accepted, the chosen one alone, the rejected one alone, neither."""
TARGETS = np.array([0.5, 1.0, -1.0, -0.5])
"""Times 1 / beta, as the paper has them."""


def accepted(pairs: Pairs, sides: np.ndarray) -> Pairs:
    return replace(pairs, side={"chosen_accepted": sides[:, 0], "rejected_accepted": sides[:, 1]})


def test_bfpo_by_hand():
    loss, side = BFPO(0.2, 1.5, 0.5, 0.5), accepted(Pairs([], [], []), SIDES).side
    assert loss.target(side) == pytest.approx(TARGETS / 0.2)
    assert loss.target(loss.turned(side)) == pytest.approx(TARGETS[[0, 2, 1, 3]] / 0.2)
    slopes_are_derivatives(loss, np.array([1.0, -2.0, 0.5, 4.0]), side)


@pytest.mark.parametrize("kind", range(4))
def test_a_pair_by_itself_is_driven_to_bfpos_target(tmp_path, kind):
    backbone = backbone_of(tmp_path, policy="tabular", penalty=1e-9)
    pairs, _, _ = every_pair(backbone.world, backbone.world.utilities[:, :, 0])
    one = replace(accepted(pairs[np.zeros(1, dtype=int)], SIDES[kind : kind + 1]), strength=None)
    loss = BFPO(0.2, 1.5, 0.5, 0.5)
    policy = backbone.fit_pairwise(one, loss, PairTrainingOptions(beta=0.2), seed=0)
    ours, theirs = (
        each.logprob(one.prompts, one.chosen) - each.logprob(one.prompts, one.rejected)
        for each in (policy, backbone.reference)
    )
    assert ours - theirs == pytest.approx(TARGETS[kind : kind + 1] / 0.2, abs=1e-6)


def test_bfpo_of_a_group_that_accepts_everything_is_ipo(bench):
    ipo = aligned(bench, "ipo").policy
    assert same(bench, aligned(bench, "bfpo", tolerated=1.0).policy, ipo) < 1e-9
    # Of one that accepts nothing only the offset is left: with the other sign, IPO again.
    assert same(bench, aligned(bench, "bfpo", tolerated=0.0, offset=-0.5).policy, ipo) < 1e-9
    assert same(bench, aligned(bench, "bfpo", group="group 1").policy, ipo) > 1e-2


def test_bfpo_gives_the_smallest_group_what_it_accepts(tmp_path):
    bench = people_bench(tmp_path, "bandit_two_group", features="swapped")
    found, ipo = aligned(bench, "bfpo").policy, aligned(bench, "ipo").policy
    assert worth(bench, found, 1) > 0.3 > 0 > worth(bench, ipo, 1)


# ------------------------------------------------------------------------------------------------ bapo


def test_bapo_by_hand():
    loss = BAPO(DPO(0.5), 0.8)
    # D = 3: log(1 + e^-1.5), and half of 0.8 (1 - 0.01 / 2) for the rejected response's beta h of -1
    by_hand = np.log1p(np.exp(-1.5)) + 0.4 * (1 - 0.005)
    assert loss(torch.tensor([[1.0], [-2.0]])).item() == pytest.approx(by_hand)
    slopes_are_derivatives(loss, np.array([[2.0, -0.3, -0.01], [-3.0, 1.0, 0.5]]))


def test_bapo_is_dpo_without_its_anchor_and_the_reference_with_a_large_one(bench):
    """And between them the larger the anchor, the more of what the reference would say is kept."""
    reference = bench.problem.world.reference
    assert same(bench, aligned(bench, "bapo", anchor=0.0).policy, aligned(bench, "dpo").policy) < 1e-5
    found = [
        bench.backbone.probabilities(aligned(bench, "bapo", anchor=a).policy) for a in (0, 0.1, 0.5, 1e3)
    ]
    lost = [(reference * np.log(reference / each)).sum(axis=1).mean() for each in found]
    assert (np.diff(lost) < 0).all() and lost[1] < lost[0] / 2
    assert np.abs(found[-1] - reference).max() < 1e-4


# -------------------------------------------------------------------------------------- sign estimator


def voted(theta: np.ndarray, seed: int = 0) -> np.ndarray:
    """Feature differences, chosen minus rejected, of one label of each person with these tastes [n, 2]."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=theta.shape)
    ahead = rng.random(len(x)) < expit((x * theta).sum(axis=1))
    return np.where(ahead[:, None], x, -x)


def cosine(weights: np.ndarray, to: tuple[float, float]) -> float:
    return float(weights @ np.array(to) / np.linalg.norm(weights) / np.linalg.norm(to))


def test_signs_find_the_mean_of_people_who_differ_more_in_one_thing():
    """Tastes (1, 1) + N(0, diag(0, 16)): Bradley-Terry hears less of what people differ in."""
    theta = np.array([1.0, 1.0]) + np.random.default_rng(1).normal(size=(20_000, 2)) * [0.0, 4.0]
    x = voted(theta)
    usual = fit_linear(x, 1.0)
    away, found = (np.arccos(cosine(each, (1, 1))) for each in (usual, fit_sign(x, usual, 0.1)))
    assert away > np.deg2rad(15) and found < away / 2


def test_signs_of_opposed_groups_are_the_majoritys():
    theta = np.where(np.arange(6000)[:, None] % 5 < 3, 1, -1) * np.array([2.0, -1.0])
    x = voted(theta)
    assert cosine(fit_sign(x, np.array([1.0, 1.0]), 0.1), (2, -1)) > 0.98


def test_a_sign_counts_as_far_as_its_label_is_certain():
    """k votes of m are k labels one way and m - k the other; ties say nothing."""
    x, rng = voted(np.tile([1.0, 0.5], (300, 1))), np.random.default_rng(0)
    k, start = rng.integers(1, 5, len(x)), np.array([1.0, 0.0])
    again = np.repeat(np.arange(len(x)), 4)
    lost = np.tile(np.arange(4), len(x)) >= k[again]
    shares = fit_sign(x, start, 0.3, k / 4)
    votes = fit_sign(np.where(lost[:, None], -x[again], x[again]), start, 0.3)
    assert shares == pytest.approx(votes, abs=1e-4)
    assert fit_sign(x, start, 0.3, np.full(len(x), 0.5)) == pytest.approx(start)


def test_a_reward_by_signs_is_one_of_the_worlds_features(bench):
    """The policy is the exact optimum of a reward linear in them, of unit spread."""
    world, found = bench.problem.world, aligned(bench, "sign_estimator", kl_coefficient=0.2).policy
    reward = 0.2 * (found.table - np.log(world.reference))
    within = world.features - world.features.mean(axis=1, keepdims=True)
    target = reward - reward.mean(axis=1, keepdims=True)
    flat = within.reshape(-1, within.shape[2])
    weights, *_ = np.linalg.lstsq(flat, target.ravel(), rcond=None)
    assert flat @ weights == pytest.approx(target.ravel(), abs=1e-8)
    assert same(bench, found, aligned(bench, "single_reward", kl_coefficient=0.2).policy) > 1e-3
