"""Walks on a grid: what can be counted by hand, linear programs against each other, and whole runs."""

import dataclasses
import time

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from prefbench.backbone.finite.policies import FinitePolicy
from prefbench.errors import PrefbenchError, UserError
from prefbench.learn import exact, occupancy
from prefbench.learn.game import Game
from prefbench.learn.occupancy import (
    group_values,
    leximin_occupancy,
    markov_policy,
    maxmin_occupancy,
    occupancy_of,
    utilitarian_occupancy,
)
from prefbench.problem.process import Process
from prefbench.running.run import run
from prefbench.spec import make_spec
from prefbench_baselines.occupancy_maxmin import state_rewards
from prefbench_tasks.gridworld_two_group import MOVES, grid, gridworld_two_group

SMALL = {"annotators": "8", "pairs_per_annotator": "10", "test_prompts": "40", "horizon": "4"}
RIGHT, TOP, FAR = 1, 2, 3
"""Cells of the 2 x 2 grid; the start is cell 0."""


def cells(process, *goals, worth=1.0):
    """Rewards [S, G]: each group has its own cell."""
    return np.eye(len(process.next_state))[:, list(goals)] * worth


def over_walks(process, rewards, offset=0.0):
    """The maxmin value by a linear program over distributions on walks."""
    values = process.visits @ rewards + offset
    walks, groups = values.shape
    found = linprog(
        np.r_[np.zeros(walks), -1.0],
        A_ub=np.column_stack([-values.T, np.ones(groups)]),
        b_ub=np.zeros(groups),
        A_eq=np.r_[np.ones(walks), 0.0][None],
        b_eq=[1.0],
        bounds=[(0, None)] * walks + [(None, None)],
    )
    return -found.fun


def random_case(seed, groups=3):
    """A process with random moves, some of them illegal, and random rewards."""
    rng = np.random.default_rng(seed)
    next_state = rng.integers(-1, 6, size=(6, 3))
    next_state[:, 0] = np.abs(next_state[:, 0])
    return Process(next_state, 4, 0.9, start=2), rng.normal(size=(6, groups)), rng.normal(size=groups)


# Processes


def test_the_smallest_grid_is_as_counted_by_hand():
    process = grid(2, 2, 0.5)
    assert process.count == len(process.actions) == 9  # three moves in each corner
    words = list(MOVES)
    walks = [" ".join(words[move] for move in row) for row in process.actions]
    assert walks == sorted(walks, key=lambda walk: [words.index(word) for word in walk.split()])
    at = walks.index("right up")
    assert process.states[at].tolist() == [0, RIGHT, FAR]
    assert process.visits[at].tolist() == [0, 1, 0, 0.5]
    assert process.visits[walks.index("stay stay")].tolist() == [1.5, 0, 0, 0]
    np.testing.assert_allclose(np.exp(process.log_probability(process.uniform_policy)), 1 / 9)


def test_walks_that_the_reference_takes_have_the_product_of_its_choices():
    process = grid(3, 2, 1.0)
    walks = process.actions.tolist()
    moves = list(MOVES)
    logprob = process.log_probability(process.uniform_policy)
    # Three moves in a corner, four at an edge.
    assert np.exp(logprob[walks.index([moves.index("right"), moves.index("up")])]) == pytest.approx(1 / 12)
    assert np.exp(logprob[walks.index([moves.index("stay"), moves.index("up")])]) == pytest.approx(1 / 9)
    assert np.exp(logprob).sum() == pytest.approx(1)


def test_counting_walks_needs_no_list_of_them():
    assert grid(3, 5, 0.95).count == len(grid(3, 5, 0.95).actions) == 599
    assert grid(10, 60, 0.95).count > 2**64


@pytest.mark.parametrize(
    "changes",
    [
        {"next_state": np.array([[0, 2], [1, 1]])},
        {"next_state": np.array([[0, 1], [-1, -1]])},
        {"next_state": np.array([0, 1])},
        {"horizon": 0},
        {"discount": 1.5},
        {"start": 2},
    ],
)
def test_a_process_that_does_not_fit_is_refused(changes):
    good = {"next_state": np.array([[0, 1], [1, 1]]), "horizon": 2, "discount": 0.9, "start": 0}
    with pytest.raises(ValueError):
        Process(**{**good, **changes})


# Optima


def test_maxmin_splits_what_one_walk_cannot_give():
    process = grid(2, 2, 0.5)
    found = maxmin_occupancy(process, cells(process, RIGHT, TOP))
    assert found.value == pytest.approx(0.75, abs=1e-12)  # half of 1 + 0.5
    np.testing.assert_allclose(found.group_weights, [0.5, 0.5])
    assert found.gap <= 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_occupancy_measures_and_distributions_on_walks_have_the_same_optimum(seed):
    process, rewards, offset = random_case(seed)
    found = maxmin_occupancy(process, rewards, offset)
    assert found.value == pytest.approx(over_walks(process, rewards, offset), abs=1e-8)
    assert 0 <= found.gap <= 1e-8
    assert found.values.min() == found.value
    assert found.group_weights.min() >= 0 and found.group_weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(4))
def test_no_walk_beats_the_bound_of_the_weights(seed):
    process, rewards, offset = random_case(seed)
    found = maxmin_occupancy(process, rewards, offset)
    assert ((process.visits @ rewards + offset) @ found.group_weights).max() <= found.value + 1e-8


@pytest.mark.parametrize("seed", range(4))
def test_an_optimal_policy_reproduces_its_occupancy(seed):
    process, rewards, _ = random_case(seed)
    found = maxmin_occupancy(process, rewards)
    policy = markov_policy(process, found.occupancy)
    np.testing.assert_allclose(policy.sum(axis=2), 1)
    assert (policy[:, ~process.legal] == 0).all()
    np.testing.assert_allclose(occupancy_of(process, policy), found.occupancy, atol=1e-12)
    np.testing.assert_allclose(found.occupancy.sum(axis=(1, 2)), 1)
    mass = np.exp(process.log_probability(policy))
    assert mass.sum() == pytest.approx(1)
    np.testing.assert_allclose(mass @ process.visits @ rewards, found.values, atol=1e-12)
    np.testing.assert_allclose(group_values(process, found.occupancy, rewards), found.values, atol=1e-12)


def test_an_unreached_state_has_a_uniform_policy():
    process = grid(2, 1, 1.0)
    policy = markov_policy(process, utilitarian_occupancy(process, cells(process, TOP), np.ones(1)).occupancy)
    assert policy[0, 0, list(MOVES).index("up")] == 1
    np.testing.assert_allclose(policy[0, FAR], process.uniform_policy[0, FAR])


def test_the_utilitarian_optimum_leaves_the_minority_unvisited():
    process = grid(3, 5, 0.95)
    rewards = cells(process, 2, 6)
    most = utilitarian_occupancy(process, rewards, np.array([0.8, 0.2]))
    alone = 0.95 + 0.95**2 + 0.95**3 + 0.95**4
    np.testing.assert_allclose(most.values, [alone, 0], atol=1e-12)
    assert most.value == pytest.approx(0.8 * alone)
    both = maxmin_occupancy(process, rewards)
    np.testing.assert_allclose(both.values, alone / 2, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_backward_dynamic_programming_finds_the_best_walk(seed):
    process, rewards, _ = random_case(seed)
    weights = np.array([1.0, 2.0, 3.0])
    found = utilitarian_occupancy(process, rewards, weights)
    assert found.value == pytest.approx((process.visits @ rewards @ weights / 6).max(), abs=1e-12)


def test_leximin_also_serves_those_whom_the_minimum_does_not_see():
    """The poorest group wants the far corner, the others the cells of which one is on the way there."""
    process = grid(2, 2, 0.5)
    rewards = np.column_stack([cells(process, FAR, worth=0.1), cells(process, RIGHT, TOP)])
    found = leximin_occupancy(process, rewards)
    np.testing.assert_allclose(found.values, [0.05, 0.5, 0.5], atol=1e-9)
    assert found.value == pytest.approx(maxmin_occupancy(process, rewards).value, abs=1e-9)
    assert 0 <= found.gap <= 1e-8
    # Going right three times of four is a maxmin optimum too, and worse for the second worst.
    policy = np.zeros_like(process.uniform_policy)
    moves = list(MOVES)
    policy[0, 0, [moves.index("right"), moves.index("up")]] = [0.75, 0.25]
    policy[1, RIGHT, moves.index("up")] = policy[1, TOP, moves.index("right")] = 1
    other = group_values(process, occupancy_of(process, policy), rewards)
    assert other.min() == pytest.approx(found.value, abs=1e-9)
    assert sorted(other)[1] < sorted(found.values)[1] - 0.2


@pytest.mark.parametrize("seed", range(6))
def test_leximin_is_a_maxmin_optimum_and_lexicographically_no_worse(seed):
    process, rewards, offset = random_case(seed, groups=4)
    offset[0] -= 10  # far below the others, whose minimum is then left open
    first, refined = maxmin_occupancy(process, rewards, offset), leximin_occupancy(process, rewards, offset)
    assert refined.value == pytest.approx(first.value, abs=1e-8)
    worse = np.sort(first.values) - np.sort(refined.values)
    decisive = worse[np.abs(worse) > 1e-7]
    assert len(decisive) == 0 or decisive[0] < 0
    # The others share what is left: their minimum is the best that is compatible with the first.
    assert refined.values[1:].min() >= first.values[1:].min() - 1e-8


def test_a_small_kl_charge_tends_to_the_linear_program_from_below():
    process = grid(3, 4, 0.95)
    rewards = cells(process, 2, 6)
    reference = np.exp(process.log_probability(process.uniform_policy))
    limit = maxmin_occupancy(process, rewards).value
    table = (process.visits @ rewards)[None]
    shortfall = [
        limit - exact.maxmin(Game(table, reference[None], np.ones(1), beta)).welfare
        for beta in (0.3, 0.1, 0.03, 0.01)
    ]
    assert shortfall == sorted(shortfall, reverse=True) and shortfall[-1] >= 0
    assert shortfall[-1] <= 0.01 * -np.log(reference.min())


def test_a_program_far_larger_than_its_list_of_walks_is_solved_quickly():
    process = grid(6, 20, 0.95)
    began = time.perf_counter()
    found = maxmin_occupancy(process, cells(process, 5, 30))
    assert found.gap <= 1e-8 and time.perf_counter() - began < 2
    # Going from one goal to the other takes ten moves: walks that visit both do better than a coin.
    assert (
        found.value
        >= utilitarian_occupancy(process, cells(process, 5, 30), np.array([0.8, 0.2])).values[0] / 2
    )


def test_rewards_that_are_no_numbers_are_refused():
    process = grid(2, 2, 0.5)
    with pytest.raises(PrefbenchError, match="not finite"):
        maxmin_occupancy(process, np.full((4, 2), np.nan))


def test_an_optimum_without_its_certificate_is_not_given_out(monkeypatch):
    process = grid(2, 2, 0.5)
    solve = occupancy._solve

    def careless(*given):
        found = solve(*given)
        found.x = np.zeros_like(found.x)  # read as the uniform policy
        return found

    monkeypatch.setattr(occupancy, "_solve", careless)
    with pytest.raises(PrefbenchError, match="duality gap is 0"):
        maxmin_occupancy(process, cells(process, RIGHT, TOP))


# The task and the aligner


def test_the_task_states_what_it_says():
    problem = gridworld_two_group("synthetic", 0.2, 0)
    world = problem.world
    assert world is not None and world.process is not None
    assert world.features.shape == (1, 599, 9)
    at = world.responses[0].index("right right up stay up")
    np.testing.assert_allclose(world.utilities[0, at], [0.95, 0])
    at = world.responses[0].index("up up stay stay stay")
    np.testing.assert_allclose(world.utilities[0, at], [0, 0.95 + 0.95**2 + 0.95**3 + 0.95**4])
    assert problem.minority == "top corner"
    assert problem.report["occupancy_maxmin"] == pytest.approx(1.762190625, abs=1e-9)
    assert problem.report["occupancy_utilitarian_worst"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 12}, "lower task.horizon"),
        ({"size": 6, "horizon": 4}, "a goal is 5 moves away"),
        ({"beta": 0.0}, "task.beta"),
    ],
)
def test_a_world_that_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        gridworld_two_group("synthetic", 0.2, 0, **options)


def test_a_grid_of_one_cell_is_refused():
    with pytest.raises(UserError, match="size"):
        make_spec(task="gridworld_two_group", aligner="reference", sets={"task": {"size": "1"}})


def test_other_data_are_refused():
    with pytest.raises(UserError, match="reads no data"):
        gridworld_two_group("imdb", 0.2, 0)


def test_rewards_of_states_are_recovered_up_to_what_makes_no_difference():
    process = grid(3, 4, 0.95)
    true = np.random.default_rng(0).normal(size=(9, 2))
    table = process.visits @ true + [1.0, -2.0]
    np.testing.assert_allclose(process.visits @ state_rewards(process, table), table, atol=1e-10)
    with pytest.raises(UserError, match=r"model\.reward=linear"):
        state_rewards(process, table**2)


def test_walks_that_a_policy_never_takes_are_never_drawn():
    problem = gridworld_two_group("synthetic", 0.2, 0, horizon=3)
    world = problem.world
    assert world is not None and world.process is not None
    found = maxmin_occupancy(world.process, cells(world.process, 2, 6))
    logprob = world.process.log_probability(markov_policy(world.process, found.occupancy))
    policy = FinitePolicy(world, logprob[None])
    prompts = list(problem.prompts.test)
    drawn = [row[0] for row in policy.sample(prompts, 1, np.random.SeedSequence(0))]
    assert np.isfinite(policy.logprob(prompts, drawn)).all()
    game = Game(world.utilities, world.reference, np.ones(1), 0.1)
    assert np.isfinite(game.kl(policy.table)) and np.isfinite(game.values(policy.table)).all()


def test_the_reference_runs_end_to_end(tmp_path):
    spec = make_spec(task="gridworld_two_group", aligner="reference", sets={"task": SMALL})
    _, record = run(spec, tmp_path)
    assert record.status == "ok", record.message
    assert record.task_report["occupancy_maxmin"] == pytest.approx((0.95 + 0.95**2 + 0.95**3) / 2)


@pytest.mark.parametrize("leximin", ["false", "true"])
def test_occupancy_maxmin_runs_end_to_end_and_serves_both(tmp_path, leximin):
    sets = {
        "task": {**SMALL, "pairs_per_annotator": "40"},
        "aligner": {"leximin": leximin, "em_restarts": "2"},
    }
    spec = make_spec(task="gridworld_two_group", aligner="occupancy_maxmin", minority_ratio=0.25, sets=sets)
    folder, record = run(spec, tmp_path)
    assert record.status == "ok", record.message
    items = pd.read_parquet(folder / "items.parquet")
    assert np.isfinite(items["kl"]).all()
    for name in ("right corner", "top corner"):
        assert items[f"utility/{name}"].mean() > items[f"reference_utility/{name}"].mean()


def test_the_aligner_says_what_it_needs(tmp_path):
    spec = make_spec(
        task="gridworld_two_group",
        aligner="occupancy_maxmin",
        sets={"task": SMALL, "model": {"reward": "tabular"}, "aligner": {"em_restarts": "0"}},
    )
    with pytest.raises(UserError, match=r"model\.reward=linear"):
        run(spec, tmp_path)
    spec = make_spec(task="bandit_two_group", aligner="occupancy_maxmin")
    with pytest.raises(UserError, match="states and moves, such as gridworld_two_group"):
        run(spec, tmp_path)


def test_a_world_without_a_process_is_still_a_world():
    problem = gridworld_two_group("synthetic", 0.2, 0)
    assert problem.world is not None
    assert dataclasses.replace(problem.world, process=None).digest == problem.world.digest
