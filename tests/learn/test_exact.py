"""Exact optima against closed forms, a generic solver and mirror descent, and their certificates."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from prefbench.errors import PrefbenchError, UserError
from prefbench.learn import concave, exact, newton
from prefbench.learn.game import CERTIFICATE, Game, Solution, group_optima, utilitarian
from prefbench.learn.welfare import Welfare


def random_game(seed: int, groups: int = 2, states: int = 3, responses: int = 4, beta: float = 0.5) -> Game:
    rng = np.random.default_rng(seed)
    reference = rng.dirichlet(np.full(responses, 3.0), size=states)
    rewards = rng.normal(size=(states, responses, groups))
    return Game(rewards, reference, rng.dirichlet(np.full(states, 5.0)), beta)


@st.composite
def games(draw):
    return random_game(
        draw(st.integers(0, 10_000)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 6)),
        draw(st.integers(2, 7)),
        10 ** draw(st.floats(-2, 1)),
    )


def opposed(beta: float) -> Game:
    """One state, two responses, each group wants the other one."""
    return Game(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.array([[0.5, 0.5]]), np.array([1.0]), beta)


def primal_by_scipy(game: Game, objective, start: np.ndarray) -> float:
    """max of a concave function of the groups' values over all policies (as logits), without duality."""
    shape = game.reference.shape

    def value(logits):
        table = logits.reshape(shape)
        return objective(game.values(table - logsumexp(table, axis=1, keepdims=True)))

    found = minimize(lambda x: -value(x), start.ravel(), method="BFGS", options={"gtol": 1e-9})
    return float(value(found.x))


def maxmin_by_scipy(game: Game) -> float:
    """max t subject to V_g >= t, over all policies."""
    states, responses, _ = game.rewards.shape
    size = states * responses

    def log(x):
        return np.log(np.maximum(x[:size].reshape(states, responses), 1e-300))

    total = np.hstack([np.kron(np.eye(states), np.ones(responses)), np.zeros((states, 1))])
    start = np.append(game.reference.ravel(), game.values(np.log(game.reference)).min())
    found = minimize(
        lambda x: -x[-1],
        start,
        jac=lambda x: np.append(np.zeros(size), -1.0),
        method="SLSQP",
        constraints=[
            {"type": "eq", "fun": lambda x: total @ x - 1},
            {"type": "ineq", "fun": lambda x: game.values(log(x)) - x[-1]},
        ],
        bounds=[(1e-12, 1)] * size + [(None, None)],
        options={"ftol": 1e-13, "maxiter": 2000},
    )
    return float(game.values(log(found.x)).min())


def maxmin_by_mirror_descent(game: Game, steps: int = 20_000, step: float = 0.3) -> Solution:
    logits = np.zeros(game.groups)
    for _ in range(steps):
        before = softmax(logits)
        logits = logits - step * game.dual(before)[1]
        if np.abs(softmax(logits) - before).max() < 1e-15:  # each later step is as short
            break
    weights = softmax(logits)
    logprob = game.policy(weights)
    values = game.values(logprob)
    return Solution(weights, logprob, values, float(values.min()), np.nan)


# ------------------------------------------------------------------------------- closed forms


def test_one_group_is_the_tilted_reference():
    """pi ~ pi_ref exp(r / beta), and its value is beta log Z."""
    game = Game(np.array([[[0.0], [1.0]]]), np.array([[0.75, 0.25]]), np.array([1.0]), 0.5)
    z = 0.75 + 0.25 * np.exp(2)
    for solution in (
        utilitarian(game),
        exact.maxmin(game),
        exact.optimum(game, Welfare("per_sample_min")),
    ):
        assert np.allclose(np.exp(solution.logprob), [[0.75 / z, 0.25 * np.exp(2) / z]])
        assert solution.values[0] == pytest.approx(0.5 * np.log(z))


@pytest.mark.parametrize("beta", [0.01, 0.3, 5.0])
def test_opposed_groups_meet_in_the_middle(beta):
    solution = exact.maxmin(opposed(beta))
    assert np.allclose(np.exp(solution.logprob), 0.5, atol=1e-9)
    assert solution.group_weights == pytest.approx([0.5, 0.5], abs=1e-6)
    assert solution.welfare == pytest.approx(0.5, abs=1e-8)


def test_opposed_groups_with_shares_by_hand():
    """share-weighted reward (0.8, 0.2): pi ~ exp(0.6 / beta) : 1."""
    odds = np.exp(0.6 / 0.3)
    solution = utilitarian(opposed(0.3), np.array([0.8, 0.2]))
    assert np.exp(solution.logprob[0, 0]) == pytest.approx(odds / (1 + odds))


# ------------------------------------------------------------- T6: three ways to one answer


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("groups", [2, 3])
def test_dual_generic_solver_and_mirror_descent_agree(seed, groups):
    game = random_game(seed, groups)
    ours, descended = exact.maxmin(game), maxmin_by_mirror_descent(game)
    assert ours.gap <= CERTIFICATE
    assert ours.welfare == pytest.approx(maxmin_by_scipy(game), abs=1e-6)
    assert ours.welfare == pytest.approx(descended.welfare, abs=1e-6)
    assert np.abs(np.exp(ours.logprob) - np.exp(descended.logprob)).max() < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_nash_and_alpha_agree_with_a_generic_solver(seed):
    game = random_game(seed, 2)
    shares = np.array([0.7, 0.3])
    at_reference = game.expected(np.log(game.reference))
    nash = exact.nash(game, shares)
    start = exact.maxmin(game, at_reference).logprob
    theirs = primal_by_scipy(game, lambda v: shares @ np.log(np.maximum(v - at_reference, 1e-12)), start)
    assert nash.welfare == pytest.approx(theirs, abs=1e-5)
    alpha = exact.alpha_welfare(game, -2.0, shares)
    theirs = primal_by_scipy(game, lambda v: np.log(shares @ np.exp(-2 * v)) / -2, start)
    assert alpha.welfare == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_the_per_sample_minimum_is_another_and_worse_policy(seed):
    """E[min_g r_g] <= min_g E[r_g], so optimising it loses welfare of the population's minimum."""
    game = random_game(seed, 2)
    best, other = exact.maxmin(game), exact.optimum(game, Welfare("per_sample_min"))
    assert other.welfare <= other.values.min() + 1e-9
    assert best.welfare - other.values.min() > 1e-3


# -------------------------------------------------------------------------------- properties


@given(games())
def test_every_optimum_has_a_certificate_and_nothing_beats_it(game):
    rng = np.random.default_rng(0)
    best = exact.maxmin(game)
    alpha = exact.alpha_welfare(game, -1.5)
    assert best.gap <= 1e-8 and alpha.gap <= 1e-8
    assert best.group_weights.min() >= 0 and best.group_weights.sum() == pytest.approx(1)
    for _ in range(20):
        values = game.values(np.log(rng.dirichlet(np.ones(game.reference.shape[1]), len(game.reference))))
        assert values.min() <= best.welfare + 1e-8
        lowest = values.min()
        mean = lowest - np.log(np.exp(-1.5 * (values - lowest)).mean()) / 1.5
        assert mean <= alpha.welfare + 1e-8
        assert (values <= group_optima(game) + 1e-9).all()


@given(games())
def test_regret_is_beta_times_the_divergence_from_the_groups_optimum(game):
    """V_g(pi_g) - V_g(pi) = beta KL(pi || pi_g), the identity behind Theorem 1."""
    rng = np.random.default_rng(1)
    logprob = np.log(rng.dirichlet(np.ones(game.reference.shape[1]), len(game.reference)))
    for group, best in enumerate(group_optima(game)):
        own = game.policy(np.eye(game.groups)[group])
        divergence = (np.exp(logprob) * (logprob - own)).sum(axis=1) @ game.weights
        lost = best - game.values(logprob)[group]
        assert lost == pytest.approx(game.beta * divergence, abs=1e-8 * max(1, divergence))


@given(games())
def test_the_distance_to_the_front_is_zero_on_it_and_a_joint_gain_off_it(game):
    scale = max(1.0, np.abs(game.rewards).max())
    on_front = utilitarian(game)
    assert exact.pareto_distance(game, on_front.values) <= 1e-7 * scale
    at_reference = game.values(np.log(game.reference))
    assert exact.pareto_distance(game, at_reference - 0.25) == pytest.approx(
        exact.pareto_distance(game, at_reference) + 0.25, abs=1e-7 * scale
    )


@given(games())
def test_nash_leaves_nobody_behind_the_reference(game):
    at_reference = game.expected(np.log(game.reference))
    try:
        solution = exact.nash(game)
    except UserError as error:
        assert "prefers" in str(error)
        assume(False)
    assert (solution.values > at_reference).all()
    assert solution.gap <= 1e-8


def test_leximin_is_maxmin_since_the_optimum_is_unique():
    """No other policy gives the worst group as much: averaged with ours it would give more."""
    for seed in range(5):
        game = random_game(seed, 3)
        best = exact.leximin(game)
        states, responses, _ = game.rewards.shape
        policy, rng = np.exp(best.logprob), np.random.default_rng(seed)
        assert np.allclose(policy, np.exp(exact.maxmin(game).logprob))
        for share in (0.01, 0.1, 0.5, 1.0):
            for other in rng.dirichlet(np.ones(responses), size=(50, states)):
                values = game.values(np.log((1 - share) * policy + share * other))
                assert values.min() < best.welfare


def test_alpha_lies_between_the_mean_and_the_minimum():
    game = random_game(3, 3)
    near_mean, near_min = exact.alpha_welfare(game, -1e-4), exact.alpha_welfare(game, -1e4)
    assert np.allclose(np.exp(near_mean.logprob), np.exp(utilitarian(game).logprob), atol=1e-3)
    assert near_min.values.min() == pytest.approx(exact.maxmin(game).welfare, abs=1e-3)


# ------------------------------------------------------- T8: what normalisation is there for


def test_a_rescaled_reward_moves_maxmin_unless_rewards_are_normalised():
    game = random_game(0, 2)
    mass = (game.reference * game.weights[:, None])[..., None]

    def solve(rewards, normalise):
        if normalise:
            mean = (rewards * mass).sum(axis=(0, 1))
            rewards = (rewards - mean) / np.sqrt(((rewards - mean) ** 2 * mass).sum(axis=(0, 1)))
        return np.exp(exact.maxmin(Game(rewards, game.reference, game.weights, game.beta)).logprob)

    rescaled = game.rewards * np.array([1.0, 4.0]) + np.array([0.0, 2.0])
    assert np.abs(solve(rescaled, True) - solve(game.rewards, True)).max() < 1e-6
    assert np.abs(solve(rescaled, False) - solve(game.rewards, False)).sum(axis=1).max() / 2 > 0.05


# ------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan")])
def test_a_kl_weight_that_is_not_positive_is_refused(beta):
    with pytest.raises(UserError, match="positive"):
        opposed(beta)


def test_rewards_that_are_not_finite_are_refused():
    with pytest.raises(PrefbenchError, match="not finite"):
        Game(np.full((1, 2, 2), np.nan), np.full((1, 2), 0.5), np.ones(1), 1.0)


def test_alpha_must_be_negative():
    with pytest.raises(UserError, match="concave"):
        exact.alpha_welfare(opposed(1.0), 0.5)


def test_nash_needs_something_to_bargain_over():
    with pytest.raises(UserError, match="every group prefers"):
        exact.nash(opposed(0.5))


def test_a_solution_without_its_certificate_is_not_returned(monkeypatch):
    monkeypatch.setattr(newton, "NEWTON_STEPS", 0)
    with pytest.raises(PrefbenchError, match="duality gap"):
        exact.maxmin(random_game(0, 3))


def test_rewards_on_wildly_different_scales_are_solved_or_refused():
    game = random_game(0, 2)
    wild = Game(game.rewards * np.array([1.0, 1e9]), game.reference, game.weights, 1e-6)
    try:
        assert exact.maxmin(wild).gap <= 1e-8
    except PrefbenchError as error:
        assert "duality gap" in str(error)


# ------------------------------------------------------------------- welfares of one's own


def gini(values):
    """An ordered weighted mean: the worst group counts most. Concave, with kinks."""
    return torch.sort(values).values @ torch.tensor([2.0**-k for k in range(len(values))], dtype=values.dtype)


def roots(values):
    return torch.sqrt(values + 8).sum()


@pytest.mark.parametrize("groups", [1, 2, 3, 5])
@pytest.mark.parametrize("beta", [0.02, 0.5, 3.0])
def test_a_welfare_of_ones_own_has_the_optimum_that_is_known(groups, beta):
    """Minimum, mean and alpha as functions of values: the general solver ends where each one's own does."""
    game = random_game(1, groups, beta=beta)
    for own, known in (
        (Welfare.of_values(lambda v: v.min(), concave=True), exact.maxmin(game)),
        (Welfare.of_values(lambda v: v.mean(), concave=True), utilitarian(game)),
        (
            Welfare.of_values(lambda v: -torch.logsumexp(-2 * v, 0) / 2, concave=True),
            exact.alpha_welfare(game, -2.0),
        ),
    ):
        found = exact.optimum(game, own)
        assert found.gap <= 1e-8
        assert np.abs(np.exp(found.logprob) - np.exp(known.logprob)).max() < 1e-3
    shift = np.log(groups) / 2  # the mean of exponentials, not their sum
    assert found.welfare + shift == pytest.approx(known.welfare, abs=1e-8)


def test_opposed_groups_with_a_welfare_of_ones_own_by_hand():
    """By p of the first response the slope is s (1 - c) / F_1 - (1 - s) (1 + c) / F_2, c = beta dKL/dp."""
    beta, share = 0.3, 0.8

    def weighted(v):
        return share * torch.log(v[0] + 3) + (1 - share) * torch.log(v[1] + 3)

    found = exact.optimum(opposed(beta), Welfare.of_values(weighted, concave=True))
    p = np.exp(found.logprob[0, 0])
    kl = p * np.log(2 * p) + (1 - p) * np.log(2 * (1 - p))
    first, second = share / (3 + p - beta * kl), (1 - share) / (4 - p - beta * kl)
    assert first - second == pytest.approx((first + second) * beta * np.log(p / (1 - p)), abs=2e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("own", [gini, roots], ids=["kinks", "smooth"])
def test_a_welfare_of_ones_own_agrees_with_a_generic_solver(seed, own):
    game = random_game(seed, 3)
    best = exact.optimum(game, Welfare.of_values(own, concave=True))

    def objective(values):
        return float(own(torch.from_numpy(values)))

    start = best.logprob + np.random.default_rng(seed).normal(scale=0.3, size=best.logprob.shape)
    theirs = max(primal_by_scipy(game, objective, s) for s in (start, np.log(game.reference)))
    assert best.welfare >= theirs - 1e-8
    assert best.welfare == pytest.approx(theirs, abs=1e-6 if own is roots else 2e-2)
    assert best.welfare == pytest.approx(objective(best.values), abs=1e-12)


def test_a_gradient_may_be_given_in_place_of_torch():
    game = random_game(0, 2)
    by_hand = Welfare.of_values(
        lambda v: float(np.log(v + 3).sum()), gradient=lambda v: 1 / (v + 3), concave=True
    )
    by_torch = Welfare.of_values(lambda v: torch.log(v + 3).sum(), concave=True)
    ours, theirs = exact.optimum(game, by_hand), exact.optimum(game, by_torch)
    assert ours.welfare == pytest.approx(theirs.welfare, abs=1e-10)


@settings(max_examples=10)
@given(games())
def test_nothing_beats_a_certified_welfare_of_ones_own(game):
    rng = np.random.default_rng(0)
    shift = 1 - float(group_optima(Game(-game.rewards, game.reference, game.weights, game.beta)).min())
    shift += float(np.abs(game.rewards).max()) + game.beta * float(-np.log(game.reference).min()) + 1

    def own(values):
        return torch.log(values + shift).sum() + values.min()

    best = exact.optimum(game, Welfare.of_values(own, concave=True))
    assert best.gap <= 1e-8 * max(1.0, 1 + game.groups / shift)
    for _ in range(20):
        table = np.log(rng.dirichlet(np.ones(game.reference.shape[1]), len(game.reference)))
        assert float(own(torch.from_numpy(game.values(table)))) <= best.welfare + 1e-7


LIARS = {
    "convex": (lambda v: (v**2).sum() + 5 * v.sum(), "declared concave, but is not between"),
    "best": (lambda v: v.max(), "declared concave, but is not between"),
    "a bump": (lambda v: v.sum() + torch.exp(-30 * (v[0] - 0.2) ** 2), "declared concave"),
    "falling": (lambda v: -v.sum(), "falls when group 0 gains"),
    "spread": (lambda v: v.mean() - 3 * v.var(), "falls when group"),
    "flat": (lambda v: torch.clamp(v.sum(), max=-5.0), "does not rise"),
    "nowhere": (lambda v: torch.log(v - 50).sum(), "finite at no policy"),
    "infinite": (lambda v: v.sum() / 0.0 + 1, "infinite|finite at no policy"),
    "a float": (lambda v: 1.0, "computed with torch"),
    "a vector": (lambda v: 2 * v, "a tensor of one, computed"),
}


@pytest.mark.parametrize("liar", LIARS)
def test_a_false_declaration_is_found_out(liar):
    function, said = LIARS[liar]
    with pytest.raises(UserError, match=said) as error:
        exact.optimum(random_game(2, 2), Welfare.of_values(function, concave=True))
    assert "\n" not in str(error.value)


def test_a_wrong_gradient_is_found_out():
    wrong = Welfare.of_values(lambda v: float(np.sqrt(v + 8).sum()), lambda v: 1 / (v + 8), concave=True)
    with pytest.raises(UserError, match="or its gradient is wrong"):
        exact.optimum(random_game(2, 2), wrong)
    short = Welfare.of_values(lambda v: float(v.sum()), lambda v: np.ones(1), concave=True)
    with pytest.raises(UserError, match=r"not the shapes \(\) and \(1,\)"):
        exact.optimum(random_game(2, 2), short)


def test_what_is_not_declared_concave_is_refused_and_told_how():
    with pytest.raises(UserError, match=r"not declared concave.*concave=True.*model\.optimiser=ppo"):
        exact.optimum(random_game(2, 2), Welfare.of_values(roots))


def test_a_function_of_rewards_is_a_welfare_of_single_responses():
    game = random_game(3, 2)

    def lowest(rewards):
        return rewards.min(axis=1)

    own, known = exact.optimum(game, lowest), exact.optimum(game, Welfare("per_sample_min"))
    assert np.array_equal(own.logprob, known.logprob) and own.welfare == known.welfare
    # The minimum of the groups' values is another welfare, and keeps being one.
    population = exact.optimum(game, Welfare.of_values(lambda v: v.min(), concave=True))
    assert population.values.min() - own.values.min() > 1e-3
    # Any function will do, concave or not: in the policy its expectation is linear.
    square = exact.optimum(game, lambda rewards: (rewards**2).sum(axis=1))
    table = np.log(game.reference) + (game.rewards**2).sum(axis=2) / game.beta
    expected = table - logsumexp(table, axis=1, keepdims=True)
    assert square.logprob == pytest.approx(expected)


def in_company(rewards):
    """Algorithm 1 on a batch: the group with the lowest mean."""
    return rewards[:, rewards.mean(axis=0).argmin()]


def in_order(rewards):
    return rewards[:, 0] + np.arange(len(rewards))


class Gini(Welfare):
    """The minimum by its kind, something else by what it does."""

    def __call__(self, rewards, values=None, past=None):
        return rewards @ np.array([0.9, 0.1])


@pytest.mark.parametrize(
    ("welfare", "said"),
    [
        (in_company, "welfare 'in_company' gives a response another number in another batch"),
        (in_order, "another number in another batch"),
        (Gini("population_min"), r"subclass of Welfare \(Gini\) has no exact optimum"),
        (lambda rewards: rewards, "one number per response"),
        (lambda rewards: 0.0, "one number per response"),
        ("maxmin", "no welfare"),
    ],
)
def test_a_welfare_without_an_exact_optimum_is_an_error_and_never_another_welfare(welfare, said):
    with pytest.raises(UserError, match=said) as error:
        exact.optimum(random_game(3, 2), welfare)
    assert "\n" not in str(error.value)


def test_an_unknown_kind_of_welfare_is_refused():
    with pytest.raises(UserError, match=r"no welfare 'gini': choose among population_min, .*of_values"):
        Welfare("gini")
    with pytest.raises(UserError, match="of_values"):
        Welfare("of_values")


def test_an_optimum_of_ones_own_without_its_certificate_is_not_returned(monkeypatch):
    monkeypatch.setattr(concave, "TANGENTS", 1)

    def soft_minimum(values):
        return -torch.logsumexp(-2 * values, 0) / 2

    with pytest.raises(PrefbenchError, match="the exact soft_minimum optimum was not reached"):
        exact.optimum(random_game(1, beta=0.1), Welfare.of_values(soft_minimum, concave=True))
