"""Classes of labels by intervals of a normal difference: their chances, their loss, and who will disagree."""

import numpy as np
import pytest

from prefbench.learn.graded import auroc, chances, classes, divergence, graded
from prefbench.learn.interface import Pairs
from prefbench.learn.mean_spread import fit_mean_spread
from prefbench.learn.rewards import fit_linear
from prefbench.learn.votes import votes_of
from support.gradients import gradient_gap

EDGES = np.array([-1.5, -0.5, 0.5, 1.5])


def test_chances_sum_to_one_and_keep_their_digits_far_out():
    d, spread = np.linspace(-30, 30, 13), np.linspace(0.3, 3, 13)
    found = chances(d, spread, EDGES)
    assert found.sum(axis=1) == pytest.approx(np.ones(13)) and (found >= 0).all()
    assert found == pytest.approx(chances(-d, spread, EDGES)[:, ::-1], rel=1e-9)


def test_without_spread_the_classes_are_thresholds():
    d = np.array([-2.0, -1.0, 0.2, 0.7, 1.6])
    assert chances(d, np.full(5, 1e-6), EDGES) == pytest.approx(np.eye(5))


@pytest.mark.parametrize("edges", [np.array([0.0]), EDGES])
def test_derivatives_are_those_of_the_divergence(edges):
    frequency = np.random.default_rng(0).dirichlet(np.ones(len(edges) + 1), size=40)
    loss = graded(frequency, edges, 0.4)
    assert gradient_gap(loss) < 1e-6
    d, one, other = np.random.default_rng(1).uniform(0.5, 1, size=(3, 40))
    spread = np.sqrt(one**2 + other**2 - 0.8 * one * other)
    exact = graded(chances(d, spread, edges), edges, 0.4)(d, one, other)[0]
    assert exact == pytest.approx(np.zeros(40), abs=1e-12) and (loss(d, one, other)[0] > 0).all()


def labelled(strength, turned):
    chosen = np.where(turned, "b", "a").tolist()
    rejected = np.where(turned, "a", "b").tolist()
    return Pairs(["p"] * len(chosen), chosen, rejected, strength=np.array(strength))


@pytest.mark.parametrize(
    ("strength", "frequency", "edges"),
    [
        ([1.0, 1.0, 1.0], [1 / 3, 2 / 3], [0.0]),
        ([1.0, 0.5, 1.0], [1 / 3, 1 / 3, 1 / 3], [-0.5, 0.5]),
        ([1.0, 0.75, 1.0], [1 / 3, 0, 1 / 3, 1 / 3], [-1.5, 0, 1.5]),
        ([1.0, 0.5, 0.75], [0, 1 / 3, 1 / 3, 0, 1 / 3], [-1.5, -0.5, 0.5, 1.5]),
    ],
)
def test_labels_have_the_intervals_that_they_use(strength, frequency, edges):
    """The third label prefers the second response."""
    pairs = labelled(strength, [False, False, True])
    found, cut = classes(votes_of(pairs), pairs.strength)
    assert cut == pytest.approx(edges) and found[0] == pytest.approx(frequency)


def test_where_people_disagree_is_found_better_than_by_a_small_margin():
    """Responses have a quality that all want and a topic that half of the people want and half do not."""
    rng = np.random.default_rng(0)
    quality, topic = rng.normal(size=(2, 300)), rng.random((2, 300)) < 0.2
    disputed = topic[0] != topic[1]
    wants = (quality[0] - quality[1]) + np.array([[2.0], [-2.0]]) * (topic[0] * 1.0 - topic[1])
    votes = rng.random((3, 2, 300)) < 1 / (1 + np.exp(-2 * wants))  # three of each group
    share = votes.mean(axis=(0, 1))
    sides = [np.stack([q, t, np.ones(300)], axis=1) for q, t in zip(quality, topic, strict=True)]
    loss = graded(np.stack([1 - share, share], axis=1), np.array([0.0]), 0.0)
    found = fit_mean_spread(*sides, loss, ridge=0.1, spread_ridge=0.1, weights=np.full(300, 6.0))
    usual = np.abs((sides[0] - sides[1]) @ fit_linear(sides[0] - sides[1], 0.1, strength=share))
    ours, margin = (auroc(-score, disputed) for score in (divergence(found, *sides), usual))
    assert ours > 0.75 > 0.65 > margin


def test_auroc_is_the_chance_of_a_larger_score():
    assert auroc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, True, False, True])) == pytest.approx(
        3.5 / 4
    )
    assert auroc(np.arange(3.0), np.zeros(3, bool)) is None
