"""Adaptive policies against closed forms, a generic solver and listed experiments."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from prefbench.errors import PrefbenchError
from prefbench.learn import adaptive, exact, experiment
from prefbench.learn.adaptive import dual, least_favourable, of_prior, posterior, values_of
from prefbench.learn.game import Game, group_optima


def random_game(seed: int, groups: int, states: int = 3, responses: int = 4, beta: float = 0.5) -> Game:
    rng = np.random.default_rng(seed)
    reference = rng.dirichlet(np.full(responses, 3.0), size=states)
    rewards = rng.normal(size=(states, responses, groups))
    return Game(rewards, reference, rng.dirichlet(np.full(states, 5.0)), beta)


def random_experiment(seed: int, groups: int, contexts: int = 6) -> experiment.Experiment:
    chances = np.random.default_rng(seed).dirichlet(np.full(contexts, 0.7), size=groups).T
    return experiment.listed(np.log(chances + 1e-9) - np.log1p(contexts * 1e-9))


def opposed(beta: float) -> Game:
    """One state, two responses, each group wants the other one."""
    return Game(np.array([[[1.0, 0.0], [0.0, 1.0]]]), np.array([[0.5, 0.5]]), np.array([1.0]), beta)


def one_pair(game: Game) -> np.ndarray:
    """log P(C | g) [C, G] of every context of one labelled pair: both responses, the chosen one first."""
    logs = []
    for weight, reference, rewards in zip(game.weights, game.reference, game.rewards, strict=True):
        margin = rewards[:, None] - rewards[None]
        both = np.log(2 * weight * reference[:, None] * reference[None])[..., None]  # in either order
        logs.append((both + np.log(expit(margin))).reshape(-1, game.groups))
    return np.concatenate(logs)


def two_pairs(game: Game) -> np.ndarray:
    one = one_pair(game)
    return (one[:, None] + one[None]).reshape(-1, game.groups)


def simulated(game: Game, pairs: int, contexts: int, seed: int) -> experiment.Experiment:
    margins = experiment.draw_contexts(
        game.rewards, game.reference, game.weights, contexts=contexts, pairs=pairs, seed=seed
    )
    return experiment.simulated(experiment.log_likelihood(margins))


some_games = st.builds(
    random_game,
    st.integers(0, 10_000),
    st.integers(2, 4),
    st.integers(1, 4),
    st.integers(2, 5),
    st.floats(0.05, 5),
)


# ---------------------------------------------------------------------------------------------- two ends


@settings(max_examples=30)
@given(some_games)
def test_who_is_told_nothing_has_the_maxmin_optimum(game: Game) -> None:
    found, single = least_favourable(game, experiment.nothing(game.groups)), exact.maxmin(game)
    assert found.value == pytest.approx(single.welfare, abs=1e-8)
    assert found.gap <= 1e-8 and found.error == found.bound_error == 0
    assert game.values(game.policy(found.prior)) == pytest.approx(found.values, abs=1e-10)


@settings(max_examples=30)
@given(some_games)
def test_who_is_told_the_group_gives_each_its_own_optimum(game: Game) -> None:
    found = least_favourable(game, experiment.everything(game.groups))
    assert found.values == pytest.approx(group_optima(game), abs=1e-10)
    assert found.value == pytest.approx(group_optima(game).min(), abs=1e-8)


# ------------------------------------------------------------------------------------------ between them


@pytest.mark.parametrize("beta", [0.1, 0.5, 3.0])
def test_one_pair_of_two_opposed_answers_by_hand(beta: float) -> None:
    # Either group prefers its own answer with chance s, so by symmetry the prior is even, the posterior
    # (s, 1 - s) or the other way round, and the value that of mixed rewards s and 1 - s.
    sure = expit(1 / 0.5)
    told = experiment.listed(np.log([[sure, 1 - sure], [1 - sure, sure]]))
    found = least_favourable(opposed(beta), told)
    assert found.prior == pytest.approx([0.5, 0.5], abs=1e-6)
    mixed = beta * math.log((math.exp(sure / beta) + math.exp((1 - sure) / beta)) / 2)
    assert found.value == pytest.approx(mixed, abs=1e-8)


@pytest.mark.parametrize(("groups", "seed"), [(2, 0), (2, 1), (3, 2), (3, 3)])
def test_a_generic_solver_on_policies_finds_the_same_optimum(groups: int, seed: int) -> None:
    """max t subject to E_{C|g} V_g >= t over a policy for each context: knows nothing of duality."""
    game, told = random_game(seed, groups, 2, 3), random_experiment(seed, groups, 3)
    contexts = len(told.chances)
    shape = (contexts, *game.reference.shape)

    def values(x: np.ndarray) -> np.ndarray:
        table = x[:-1].reshape(shape)
        table = table - logsumexp(table, axis=2, keepdims=True)
        return (told.chances * np.array([game.values(one) for one in table])).sum(axis=0)

    start = np.append(np.tile(np.log(game.reference).ravel(), contexts), 0.0)
    start[-1] = values(start).min()
    found = minimize(
        lambda x: -x[-1],
        start,
        method="SLSQP",
        constraints=[{"type": "ineq", "fun": lambda x: values(x) - x[-1]}],
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert least_favourable(game, told).value == pytest.approx(values(found.x).min(), abs=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), groups=st.integers(2, 4), drawn=st.booleans(), at=st.floats(0.01, 0.99))
def test_the_dual_is_convex_and_bounds_every_prior(seed: int, groups: int, drawn: bool, at: float) -> None:
    game = random_game(seed, groups)
    told = simulated(game, 2, 50, seed) if drawn else random_experiment(seed, groups)
    best = least_favourable(game, told)
    first, second = np.random.default_rng(seed).dirichlet(np.ones(groups), size=2) + 1e-6
    ends = at * dual(game, told, first)[0] + (1 - at) * dual(game, told, second)[0]
    between = at * first + (1 - at) * second
    assert dual(game, told, between)[0] <= ends + 1e-10
    other = of_prior(game, told, between / between.sum())
    assert other.value <= best.value + 1e-8 and best.value <= other.bound + 1e-8
    assert other.gap == pytest.approx(other.bound - other.value)


def test_the_dual_is_the_sum_over_contexts_and_its_derivatives_are_its_own() -> None:
    game, told = random_game(5, 3, beta=0.2), random_experiment(5, 3)
    w = np.array([0.2, 0.5, 0.3])
    value, gradient, hessian = dual(game, told, w)
    by_context = [game.values(game.policy(p)) for p in posterior(told.loglik, w)]
    assert gradient == pytest.approx((told.chances * by_context).sum(axis=0), abs=1e-12)
    assert value == pytest.approx(w @ gradient)
    for index, step in enumerate(1e-6 * np.eye(3)):
        above, below = dual(game, told, w + step), dual(game, told, w - step)
        assert (above[0] - below[0]) / 2e-6 == pytest.approx(gradient[index], abs=1e-7)
        assert (above[1] - below[1]) / 2e-6 == pytest.approx(hessian[index], abs=1e-6)


def test_values_of_many_beliefs_are_those_of_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    game = random_game(7, 3, beta=0.02)
    beliefs = np.vstack([np.eye(3), np.random.default_rng(0).dirichlet(np.ones(3), size=5)])
    monkeypatch.setattr(adaptive, "BLOCK", 3 * game.reference.size)  # three at once, and two in the last turn
    values, hessians = values_of(game, beliefs)
    for p, found, curved in zip(beliefs, values, hessians, strict=True):
        assert found == pytest.approx(game.values(game.policy(p)), abs=1e-11)
        assert curved == pytest.approx(game.dual(p)[2], abs=1e-9)


def test_a_prior_that_is_not_the_optimum_is_not_passed_off_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "minimise_on_simplex", lambda *_: np.array([0.9, 0.1]))
    with pytest.raises(PrefbenchError, match="least favourable prior was not found"):
        least_favourable(random_game(1, 2), random_experiment(1, 2))


# --------------------------------------------------------------------------------------------- posteriors


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), groups=st.integers(2, 4), pairs=st.integers(1, 8))
def test_posteriors_do_not_depend_on_the_order_and_one_more_pair_multiplies_the_odds(
    seed: int, groups: int, pairs: int
) -> None:
    rng = np.random.default_rng(seed)
    margins, prior = 2 * rng.normal(size=(pairs, groups)), rng.dirichlet(np.ones(groups)) + 1e-3
    before = posterior(experiment.log_likelihood(margins), prior)
    assert posterior(experiment.log_likelihood(rng.permutation(margins)), prior) == pytest.approx(before)
    one = 2 * rng.normal(size=groups)
    after = posterior(experiment.log_likelihood(np.vstack([margins, one])), prior)
    ratio = expit(one) / expit(one[0])
    assert after / after[0] == pytest.approx(before / before[0] * ratio, rel=1e-9)
    assert posterior(np.zeros(groups), prior) == pytest.approx(prior / prior.sum())


def test_posteriors_of_labels_beyond_doubt_are_numbers() -> None:
    told = experiment.log_likelihood(np.array([[1e6, -1e6], [1e6, -1e6]]))
    assert posterior(told, np.array([1e-9, 1.0])).tolist() == [1.0, 0.0]


# --------------------------------------------------------------------------------------------- simulation


def test_simulated_contexts_agree_with_listed_ones_within_their_error() -> None:
    game, shares = random_game(17, 3, 2, 3, beta=0.3), np.array([0.6, 0.3, 0.1])
    for pairs, listing in ((1, one_pair), (2, two_pairs)):
        listed = experiment.listed(listing(game))
        truth = least_favourable(game, listed).value, of_prior(game, listed, shares).value
        off, errors = [], []
        for seed in range(60):
            told = simulated(game, pairs, 200, seed)
            best, shared = least_favourable(game, told), of_prior(game, told, shares)
            off.append([best.value - truth[0], shared.value - truth[1]])
            errors.append([best.bound_error, shared.error])
        spread, stated = np.std(off, axis=0, ddof=1), np.mean(errors, axis=0)
        assert (np.abs(np.mean(off, axis=0)) < 3 * spread / 60**0.5 + 0.1 * stated).all()
        # The standard deviation of 60 is known to a tenth.
        assert (np.abs(spread / stated - 1) < 0.3).all()


def test_more_pairs_are_never_worse_and_end_at_every_groups_own_optimum() -> None:
    game = random_game(17, 3, 2, 3, beta=0.3)
    found = [least_favourable(game, simulated(game, n, 500, 0)) for n in (1, 4, 16, 64, 256)]
    values = [exact.maxmin(game).welfare, *(one.value for one in found), group_optima(game).min()]
    errors = [0.0, *(one.bound_error for one in found), 0.0]
    for n in range(len(values) - 1):
        assert values[n] < values[n + 1] + 3 * math.hypot(errors[n], errors[n + 1]) + 1e-8
    assert values[0] < values[2] < values[4] and values[-2] == pytest.approx(values[-1], abs=0.01)


def test_a_longer_context_begins_with_the_shorter_one() -> None:
    game = random_game(3, 2)
    short, long = (
        experiment.draw_contexts(game.rewards, game.reference, game.weights, contexts=20, pairs=n, seed=4)
        for n in (2, 5)
    )
    assert short.shape == (2, 20, 2, 2) and (long[:, :, :2] == short).all()
    assert not (long[:, :, 2] == long[:, :, 1]).all()


def test_contexts_are_drawn_as_often_as_they_are_likely() -> None:
    game = random_game(17, 2, 2, 2)
    margins = experiment.draw_contexts(
        game.rewards, game.reference, game.weights, contexts=20_000, pairs=1, seed=0
    )[:, :, 0]
    expected = np.exp(one_pair(game))
    kinds = [(rewards[:, None] - rewards[None]).reshape(-1, 2) for rewards in game.rewards]
    kinds = np.concatenate(kinds)
    for group in range(2):
        for kind in np.unique(kinds, axis=0):
            chance = expected[(kinds == kind).all(axis=1), group].sum()
            drawn = (margins[group] == kind).all(axis=1).mean()
            assert abs(drawn - chance) < 4 * (chance * (1 - chance) / 20_000) ** 0.5


def test_chances_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="do not sum to one"):
        experiment.listed(np.log([[0.5, 0.4], [0.5, 0.5]]))
