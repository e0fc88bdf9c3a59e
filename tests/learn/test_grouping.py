"""Grouping on frozen features: groups that are there are found, however small, and nothing odd breaks it."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from prefbench.errors import Diverged
from prefbench.learn import em, grouping
from prefbench.learn.options import EMOptions
from prefbench.learn.rewards import log_likelihood
from support.tiny import LONG, SHORT, pairs_by_length


def labelled(sizes, pairs, seed, dimensions=12):
    """Linear Bradley-Terry annotators, each group with a feature of its own; differences, whose, groups."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    wanted = 2.0 * np.eye(dimensions)[: len(sizes)]
    unit = np.repeat(np.arange(len(truth)), pairs)
    x = rng.normal(size=(len(unit), dimensions))
    right = rng.random(len(unit)) < 1 / (1 + np.exp(-(x * wanted[truth[unit]]).sum(1)))
    return np.where(right[:, None], x, -x), unit, truth


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [(20, 20), (36, 4), (20, 10, 6)])
def test_it_finds_groups_and_small_ones(sizes, seed):
    x, unit, truth = labelled(sizes, 40, seed)
    found = grouping.group(x, None, unit, len(sizes), restarts=5, seed=seed)
    assert adjusted_rand_score(truth, found.assignment) == 1.0
    assert np.allclose(found.responsibility.sum(axis=1), 1)


def test_four_of_forty_are_found_where_their_own_pairs_deceive():
    """With few pairs and many features rewards know their pairs by heart."""
    new, old = [], []
    for seed in range(4):
        x, unit, truth = labelled((36, 4), 30, seed, dimensions=60)
        found = grouping.group(x, None, unit, 2, restarts=5, seed=seed)
        new.append(adjusted_rand_score(truth, found.assignment))
        old.append(adjusted_rand_score(truth, em.best_start(x, unit, 2, 5, seed).assignment))
    assert np.mean(new) >= 0.9 > np.mean(old)


def test_words_help_where_features_say_nothing():
    x, unit, truth = labelled((24, 16), 30, 0)
    noise = np.random.default_rng(1).normal(size=x.shape)
    blind = grouping.group(noise, None, unit, 2, restarts=3, seed=0)
    told = grouping.group(noise, x, unit, 2, restarts=3, seed=0)
    assert adjusted_rand_score(truth, blind.assignment) < 0.3
    assert adjusted_rand_score(truth, told.assignment) >= 0.9
    assert told.likelihood > blind.likelihood


@pytest.mark.parametrize("pairs", [4, 30])
def test_leaving_out_is_as_fitting_again_without(pairs):
    """In both spaces, with fewer and with more pairs than features."""
    x, unit, _ = labelled((10,), pairs, 0)
    design = grouping.design(x, unit, 12, 4.0)
    weights = np.ones(10)
    w, factor = grouping.fit(design, weights)
    quick = grouping.left_out(design, w, factor, weights)
    for one in range(10):
        without = weights * (np.arange(10) != one)
        again = log_likelihood(x[unit == one] @ grouping.fit(design, without)[0]).sum()
        own = log_likelihood(x[unit == one] @ w).sum()
        assert again < own
        assert abs(quick[one] - again) < 0.35 * (own - again)


def test_those_without_a_part_in_a_reward_are_asked_as_they_are():
    x, unit, _ = labelled((4,), 5, 0)
    design = grouping.design(x, unit, 12, 4.0)
    weights = np.array([1.0, 1.0, 0.0, 0.0])
    w, factor = grouping.fit(design, weights)
    own = np.bincount(unit, weights=log_likelihood(x @ w))
    assert np.allclose(grouping.left_out(design, w, factor, weights)[2:], own[2:])


@pytest.mark.parametrize(
    ("units", "pairs", "clusters"), [(40, 1, 2), (1, 5, 2), (5, 5, 1), (3, 4, 5), (2, 40, 2), (6, 1, 1)]
)
def test_too_little_to_go_on_still_gives_an_assignment(units, pairs, clusters):
    x, unit, _ = labelled((units,), pairs, 0)
    found = grouping.group(x, None, unit, clusters, restarts=2, seed=0)
    assert found.assignment.shape == (units,) and set(found.assignment) <= set(range(clusters))
    assert np.isfinite(found.likelihood)


def test_pairs_that_are_all_alike_are_no_error():
    found = grouping.group(np.zeros((20, 3)), None, np.arange(20) % 4, 2, restarts=2, seed=0)
    assert found.assignment.shape == (4,) and np.isfinite(found.likelihood)


def test_it_is_the_same_twice_and_under_other_numbers():
    x, unit, _ = labelled((12, 6), 20, 3)
    first = grouping.group(x, None, unit, 2, restarts=3, seed=7)
    again = grouping.group(x, None, unit, 2, restarts=3, seed=7)
    assert (first.responsibility == again.responsibility).all() and first.likelihood == again.likelihood
    reordered = np.random.default_rng(0).permutation(len(x))
    other = grouping.group(x[reordered], None, unit[reordered], 2, restarts=3, seed=7)
    assert adjusted_rand_score(first.assignment, other.assignment) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_no_numbers_are_refused(bad):
    x, unit, _ = labelled((4,), 5, 0)
    x[3, :2] = x[7, 2] = bad
    # Nothing is trained before this, so no learning rate is to blame.
    with pytest.raises(Diverged, match=r"the reference .* not finite for 2 of 20 pairs.*: check the model's"):
        grouping.group(x, None, unit, 2, restarts=0, seed=0)


def test_words_are_counted():
    found = grouping.word_differences(["good good film .", "long"], ["bad film .", "long , good"])
    assert found.shape == (2, 5)  # their number, then ". film good long": "bad" and "," are in one response
    assert found[0, 0] > 0 > found[1, 0] and found[1, 0] == -2 * found[0, 0]
    assert found[0, 3] > 0 > found[1, 3] and (found[:, [1, 2, 4]] == 0).all()
    assert (found[:, 0] ** 2).mean() == pytest.approx(grouping.LENGTH_WEIGHT**2)
    assert (found[:, 1:] ** 2).sum(axis=1).mean() == pytest.approx(grouping.WORDS_WEIGHT**2)
    assert grouping.word_differences(["", ""], ["", ""]) is None


@pytest.mark.parametrize("assignment", ["hard", "soft"])
def test_the_mixture_of_reward_models_from_features(assignment, tmp_path, tiny_backbone):
    """Each cluster's reward is trained once, as nobody moves, and the groups are not looked at."""
    backbone = tiny_backbone(folder=tmp_path, pooling="sum")
    pairs = pairs_by_length()
    options = EMOptions(
        em="features", em_assignment=assignment, reward_epochs=2, reward_group_epochs=4, em_restarts=3
    )
    rewards = em.fit_mixture(backbone, pairs, options, seed=0)
    found = [rewards.assignment[100 + u] for u in range(8)]
    assert adjusted_rand_score(np.arange(8) % 2, found) == 1.0
    assert rewards.em["iterations"] <= 2 and rewards.em["stopped"] == "assignment stable"
    scores = rewards(["the film"] * 2, [LONG, SHORT])
    assert scores[0, found[0]] > scores[1, found[0]]
    assert scores[0, 1 - found[0]] < scores[1, 1 - found[0]]
    misled = replace(pairs, group=np.where(np.arange(80) % 3 == 0, "a", "b").astype(object))
    again = em.fit_mixture(backbone, misled, options.model_copy(update={"em_iterations": 9}), seed=0)
    assert again.assignment == rewards.assignment
