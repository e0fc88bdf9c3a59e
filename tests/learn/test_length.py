"""The smooth line against numbers computed by hand, and rewards without what length explains."""

import numpy as np
import pytest

from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.options import FiniteOptions
from prefbench.learn.interface import Pairs
from prefbench.learn.length import LengthCalibrated
from prefbench.learn.lowess import Lowess
from prefbench.learn.options import PPOOptions
from prefbench.learn.welfare import mean
from prefbench.problem.world import World
from prefbench.store.stages import Store, Work
from support.people import aligned, people_bench, same


def test_the_line_at_a_point_by_hand():
    """Of five points all count at 2, by 1 in the middle, (1 - 1/8)^3 beside it and 0 at the ends."""
    y = np.array([9.0, 1.0, 2.0, 5.0, -9.0])
    beside = (7 / 8) ** 3
    expected = (2.0 + beside * (1.0 + 5.0)) / (1 + 2 * beside)
    assert Lowess.through(np.arange(5.0), y, 1.0)(np.array([2.0])) == pytest.approx([expected])
    # Of the nearest three the outer ones lie at the farthest distance, and only the point itself counts.
    assert Lowess.through(np.arange(5.0), y, 0.6)(np.array([2.0])) == pytest.approx([2.0])
    # At 0 with the nearest three: weights 1 and 7/8^3, a line through two points goes through both.
    assert Lowess.through(np.arange(5.0), y, 0.6)(np.array([0.0, -1.0])) == pytest.approx([9.0, 17.0])


def test_a_straight_line_stays_one_and_goes_on_and_points_at_one_place_are_averaged():
    x = np.array([1.0, 1, 2, 4, 4, 7, 9])
    line = Lowess.through(x, 3 - 2 * x, 0.5)
    assert line(np.array([0.0, 1, 3, 9, 12])) == pytest.approx([3, 1, -3, -15, -21])
    alike = Lowess.through(np.full(4, 5.0), np.array([1.0, 2.0, 3.0, 6.0]), 0.5)
    assert alike(np.array([5.0, 8.0])) == pytest.approx([3.0, 3.0])


# ------------------------------------------------------------------------------------- rewards


def responses(words, count, rng):
    """Texts of so many words, each with a number, and each number's merit."""
    return [f"{'very ' * (words - 1)}{rng.integers(10**9)}" for _ in range(count)]


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return [text for words in (2, 5, 9, 14) for text in responses(words, 50, rng)]


def merit(text):
    return int(text.split()[-1]) % 1000 / 500 - 1


def pairs_between(texts):
    half = len(texts) // 2
    mixed = np.random.default_rng(1).permutation(np.array(texts, dtype=object)).tolist()
    return Pairs(["p"] * half, mixed[:half], mixed[half:])


def said(function, texts):
    return function(["p"] * len(texts), texts)[:, 0]


def test_what_is_left_is_uncorrelated_with_length_and_keeps_the_order_of_equally_long_ones(texts):
    def long_is_good(prompts, responses):
        return np.array([[merit(text) + 0.02 * len(text.split()) ** 2] for text in responses])

    found = LengthCalibrated.over(long_is_good, pairs_between(texts), 0.5)
    words = np.array([len(text.split()) for text in texts])
    assert np.corrcoef(said(long_is_good, texts), words)[0, 1] > 0.8
    assert abs(np.corrcoef(said(found, texts), words)[0, 1]) < 0.1 and found.explained[0] > 0.6
    for length in np.unique(words):
        own = [text for text, n in zip(texts, words, strict=True) if n == length]
        assert (np.argsort(said(found, own)) == np.argsort([merit(text) for text in own])).all()


def test_a_reward_that_does_not_know_length_is_moved_by_a_constant():
    texts = [f"{'very ' * words}{number}" for words in (1, 4, 8) for number in range(6)]

    def blind(prompts, responses):
        return np.array([[float(text.split()[-1])] for text in responses])

    found = LengthCalibrated.over(blind, Pairs(["p"] * 9, texts[::2], texts[1::2]), 0.5)
    number = np.array([float(text.split()[-1]) for text in texts])
    assert said(found, texts) == pytest.approx((number - 2.5) / number.std())
    assert found.explained[0] == pytest.approx(0, abs=1e-9)


def test_whoever_wants_few_words_loses_by_it(tmp_path):
    """One state, merit and words independent, and a reward that is true to people who want both."""
    merits, words = (grid.ravel() for grid in np.meshgrid(np.linspace(-1, 1, 5), [1.0, 3.0, 6.0]))
    texts = tuple(f"{'very ' * (int(n) - 1)}{place}" for place, n in enumerate(words))
    utilities = np.stack([merits, -words], axis=1)[None]
    world = World({"p": 0}, (texts,), utilities, utilities, np.full((1, 15), 1 / 15), 0.2)
    backbone = Finite(world, FiniteOptions(), Store(tmp_path), Work("policy", tmp_path), 0.5)

    def reward(prompts, responses):
        return (utilities[0] @ [1.0, 0.3])[world.columns(world.rows(prompts), responses)][:, None]

    seen = list(texts)
    calibrated = LengthCalibrated.over(reward, Pairs(["p"] * 15, seen, seen[::-1]), 0.5)
    policies = [
        backbone.optimise(r, mean(), PPOOptions(), prompts=["p"], seed=0, names=["r"])
        for r in (reward, calibrated)
    ]
    usual, without = (np.exp(policy.table[0]) @ utilities[0] for policy in policies)
    assert without[1] == pytest.approx(-words.mean()) and without[1] < usual[1] - 1
    assert without[0] > usual[0] - 1e-9


def test_where_all_responses_are_equally_long_it_is_single_reward(tmp_path):
    bench = people_bench(tmp_path)
    assert (
        same(bench, *(aligned(bench, name).policy for name in ("length_calibrated", "single_reward"))) < 1e-9
    )
