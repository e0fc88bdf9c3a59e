"""Hard EM over annotators: that it finds groups that are there, and stays sound where they are not."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from prefbench.learn import em
from prefbench.learn.options import EMOptions
from prefbench.learn.rewards import fit_linear, log_likelihood
from support.tiny import LONG, SHORT, pairs_by_length


def two_groups(users: int, minority: int, pairs: int, seed: int, dimensions: int = 12):
    """Linear Bradley-Terry annotators of whom `minority` want another feature than the rest.

    Returns differences chosen minus rejected, the annotator of each pair, and the annotators' groups.
    """
    rng = np.random.default_rng(seed)
    truth = np.r_[np.zeros(users - minority, int), np.ones(minority, int)]
    wanted = np.zeros((2, dimensions))
    wanted[0, 0], wanted[1, 1] = 2.0, 2.0
    user = np.repeat(np.arange(users), pairs)
    difference = rng.normal(size=(users * pairs, dimensions))
    right = rng.random(len(user)) < 1 / (1 + np.exp(-(difference * wanted[truth[user]]).sum(1)))
    return np.where(right[:, None], difference, -difference), user, truth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("minority", [20, 4])
def test_it_finds_two_groups(seed, minority):
    difference, user, truth = two_groups(40, minority, 50, seed)
    start = em.best_start(difference, user, 2, restarts=5, seed=seed)
    assert adjusted_rand_score(truth, start.assignment) >= 0.95


def test_the_likeliest_of_the_starts_is_kept():
    difference, user, _ = two_groups(40, 20, 20, seed=0)
    alone = em.best_start(difference, user, 2, restarts=0, seed=0)
    assert alone.name == "spectral" and alone.index == 0
    assert em.best_start(difference, user, 2, restarts=8, seed=0).likelihood >= alone.likelihood


def classification_likelihood(difference, user, assignment, clusters):
    total = 0.0
    for cluster in range(clusters):
        mine = assignment[user] == cluster
        penalty = difference.shape[1] / em.LINEAR_PRIOR_VARIANCE
        weights = fit_linear(difference[mine], penalty)
        total += log_likelihood(difference[mine] @ weights).sum() - penalty * weights @ weights / 2
    return total


@pytest.mark.parametrize("seed", range(5))
def test_its_objective_is_no_worse_than_where_it_began(seed):
    """Both steps raise the penalised likelihood of the assigned pairs, so the end is above the start."""
    difference, user, _ = two_groups(20, 8, 10, seed)
    first = np.random.default_rng(seed).integers(2, size=20)
    last, _ = em.linear_em(difference, user, first, 2)
    before = classification_likelihood(difference, user, first, 2)
    assert classification_likelihood(difference, user, last, 2) >= before - 1e-6


@pytest.mark.parametrize(("users", "pairs", "clusters"), [(40, 1, 2), (1, 5, 2), (5, 5, 1), (3, 4, 5)])
def test_too_little_to_go_on_still_gives_an_assignment(users, pairs, clusters):
    difference, user, _ = two_groups(users, users // 3, pairs, seed=0)
    start = em.best_start(difference, user, clusters, restarts=2, seed=0)
    assert start.assignment.shape == (users,)
    assert set(start.assignment) <= set(range(clusters))
    assert np.isfinite(start.likelihood)


def test_an_empty_cluster_gets_somebody():
    difference, user, _ = two_groups(30, 10, 40, seed=1)
    assignment, _ = em.linear_em(difference, user, np.zeros(30, dtype=np.int64), 2)
    assert set(assignment) == {0, 1}


@pytest.mark.parametrize("clusters", [1, 2, 3])
def test_the_mixture_of_reward_models(clusters, tmp_path, tiny_backbone):
    """Half of the annotators want long answers and half short ones; reward models find out who."""
    backbone = tiny_backbone(folder=tmp_path, pooling="sum")
    pairs = pairs_by_length()
    options = EMOptions(clusters=clusters, reward_epochs=2, reward_group_epochs=4, em_restarts=3)
    rewards = em.fit_mixture(backbone, pairs, options, seed=0)
    assert sorted(rewards.assignment) == list(range(100, 108))
    assert sum(rewards.em["cluster_sizes"]) == 8 and len(rewards.em["cluster_sizes"]) == clusters
    assert len(rewards.models) <= clusters
    found = [rewards.assignment[100 + u] for u in range(8)]
    if clusters == 2:
        assert adjusted_rand_score(np.arange(8) % 2, found) == 1.0
        serves_long = found[0]
        scores = rewards(["the film"] * 2, [LONG, SHORT])
        assert scores[0, serves_long] > scores[1, serves_long]
        assert scores[0, 1 - serves_long] < scores[1, 1 - serves_long]
    trace = rewards.em["log_likelihood"]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(trace)), trace
