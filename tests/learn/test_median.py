"""The pessimistic median: against its neighbours, a lie, a solver of policies, and the single reward."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from prefbench.learn.game import Game
from prefbench.learn.median import fit_each, median, pessimistic, reaches
from prefbench.learn.rewards import fit_linear
from support.people import aligned, people_bench, same


def game_of(seed=0, states=3, responses=4, features=3, beta=0.3) -> Game:
    rng = np.random.default_rng(seed)
    return Game(
        rng.normal(size=(states, responses, features)),
        rng.dirichlet(np.full(responses, 3.0), size=states),
        np.full(states, 1 / states),
        beta,
    )


def box_game(coordinates=3, beta=0.5) -> Game:
    """A question for each feature, with a response on either side: policies choose every z_j by itself."""
    features = np.zeros((coordinates, 2, coordinates))
    for j in range(coordinates):
        features[j, :, j] = coordinates, -coordinates
    return Game(features, np.full((coordinates, 2), 0.5), np.full(coordinates, 1 / coordinates), beta)


def worst_value(game: Game, logprob: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """min over the box of <theta, z(pi)> - beta KL, in its closed form."""
    z = game.expected(logprob) - game.expected(np.log(game.reference))
    return float(low @ np.maximum(z, 0) + high @ np.minimum(z, 0)) - game.beta * game.kl(logprob)


@pytest.mark.parametrize("seed", range(4))
def test_the_solution_is_that_of_a_solver_that_knows_policies_alone(seed):
    game, rng = game_of(seed), np.random.default_rng(seed + 10)
    centre, half = rng.normal(size=3), 0.6 * rng.random(3)
    low, high = centre - half, centre + half
    found = pessimistic(game, low, high)
    assert found.gap <= 1e-8
    assert (found.group_weights >= low).all() and (found.group_weights <= high).all()
    assert worst_value(game, found.logprob, low, high) == pytest.approx(found.welfare, abs=1e-12)

    def log_softmax(logits: np.ndarray) -> np.ndarray:
        table = logits.reshape(game.reference.shape)
        return table - np.logaddexp.reduce(table, axis=1, keepdims=True)

    other = -minimize(
        lambda x: -worst_value(game, log_softmax(x), low, high),
        np.log(game.reference).ravel() + 0.1 * rng.normal(size=game.reference.size),
        method="Powell",
        options={"maxiter": 20_000, "ftol": 1e-10, "xtol": 1e-8},
    ).fun
    assert found.welfare >= other - 1e-9
    assert other == pytest.approx(found.welfare, abs=2e-3)


def test_the_bound_is_attained_in_the_box_and_below_every_median_in_it():
    game, rng = game_of(1), np.random.default_rng(1)
    theta, reach = rng.normal(size=(5, 3)), 0.4 * rng.random((5, 3))
    low, high = median(theta - reach), median(theta + reach)
    found = pessimistic(game, low, high)
    z = game.expected(found.logprob) - game.expected(np.log(game.reference))
    inside = [median(theta + reach * rng.uniform(-1, 1, size=theta.shape)) @ z for _ in range(500)]
    attained = np.where(z > 0, low, high) @ z
    assert attained == pytest.approx(found.welfare + game.beta * game.kl(found.logprob), abs=1e-9)
    assert attained <= min(inside)


def test_a_box_of_a_point_is_that_reward_and_one_around_zero_the_reference():
    game, theta = game_of(2), np.array([1.0, -2.0, 0.5])
    assert pessimistic(game, theta, theta).logprob == pytest.approx(game.policy(theta))
    around = pessimistic(game, -np.ones(3), np.ones(3))
    assert np.exp(around.logprob) == pytest.approx(game.reference)


def test_two_of_three_who_agree_decide_and_an_even_number_is_joined_by_zero():
    two, other = np.array([1.0, -3.0, 0.2]), np.array([100.0, 5.0, -7.0])
    assert median(np.stack([two, other, two])).tolist() == two.tolist()
    assert median(np.stack([two, two])).tolist() == two.tolist()
    assert median(np.stack([two, other])).tolist() == [1.0, 0.0, 0.0]


def test_a_report_drags_the_mean_along_and_the_median_to_her_neighbour_at_most():
    theta = np.random.default_rng(3).normal(size=(5, 2))
    others = np.sort(theta[1:], axis=0)
    scales = np.array([1.0, 2.0, 4.0, 100.0])
    told = [np.concatenate([scale * theta[:1], theta[1:]]) for scale in scales]
    means = np.array([each.mean(axis=0) for each in told])
    assert np.diff(means, axis=0) == pytest.approx(np.outer(np.diff(scales), theta[0] / 5))
    medians = np.array([median(each) for each in told])
    assert (medians >= others[1]).all() and (medians <= others[2]).all()


@pytest.mark.parametrize("people", [5, 6])
def test_where_every_feature_is_chosen_by_itself_truth_is_no_worse_than_any_lie(people):
    """Exact: her value is single-peaked in each coordinate, its peak where the reward is hers."""
    game = box_game()
    wants = np.random.default_rng(people).normal(size=(people, 3))

    def value(report: np.ndarray) -> float:
        told = median(np.concatenate([report[None], wants[1:]]))
        logprob = game.policy(told)
        return float(wants[0] @ game.expected(logprob)) - game.beta * game.kl(logprob)

    lies = np.stack(np.meshgrid(*[np.linspace(-4, 4, 9)] * 3), axis=-1).reshape(-1, 3)
    values = [value(lie) for lie in [*lies, *np.outer([-1, 0, 0.5, 2, 10], wants[0])]]
    assert value(wants[0]) >= max(values) - 1e-12
    assert min(values) < value(wants[0]) - 1e-3  # lies do move it


def test_a_box_reaches_as_far_as_the_ellipsoid_in_it():
    rng = np.random.default_rng(4)
    x, user = rng.normal(size=(40, 3)), np.arange(40) % 2
    reach = reaches(x, user, 0.5)
    assert reach.shape == (2, 3)
    mine = x[user == 1]
    matrix = mine.T @ mine + 0.5 * np.eye(3)
    directions = np.linalg.solve(np.linalg.cholesky(matrix).T, _sphere(rng, 20_000).T)
    assert (directions.max(axis=1) <= reach[1] + 1e-12).all()
    assert directions.max(axis=1) == pytest.approx(reach[1], rel=0.01)
    assert fit_each(x, user, 0.5)[1] == pytest.approx(fit_linear(mine, 0.5, precise=True))


def _sphere(rng: np.random.Generator, n: int) -> np.ndarray:
    drawn = rng.normal(size=(n, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


# ------------------------------------------------------------------------------------------ the aligner


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return people_bench(tmp_path_factory.mktemp("median"), "bandit_two_group", features="swapped")


def test_people_who_label_alike_have_the_single_reward(bench):
    rows = bench.rows[bench.rows["group"] == bench.problem.groups[0].name].iloc[:60]
    alike = replace(bench, rows=pd.concat([rows.assign(user_id=user) for user in range(3)]))
    ours = aligned(alike, "pessimistic_median", radius=0.0, person_ridge=1 / 3).policy
    assert same(bench, ours, aligned(alike, "single_reward").policy) < 1e-6
    careful = aligned(alike, "pessimistic_median", radius=1.0, person_ridge=1 / 3).policy
    known = bench.backbone.probabilities
    away = [np.abs(known(policy) - bench.problem.world.reference).sum() for policy in (careful, ours)]
    assert away[0] < away[1]
