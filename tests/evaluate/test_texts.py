"""Non-words, distinct n-grams and retention: by hand and by listing all draws; length decides nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefbench.evaluate.texts import agreed, count_nonwords, distinct
from prefbench.text import lower_words

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=3).map(" ".join)


def test_nonwords_by_hand():
    lexicon = frozenset({"a", "good", "film", "don't"})
    texts = ["A good film.", "good fil", "xx, a yy zz", "", "Don\u2019t"]
    assert count_nonwords(texts, lexicon) == [0, 1, 3, 0, 0]


def every_draw(texts, n):
    """Mean share of different n-grams over all draws of as many as there are texts."""
    grams = []
    for text in texts:
        words = [""] * (n - 1) + lower_words(text)
        grams += list(zip(*(words[i:] for i in range(n)), strict=False))
    draws = list(itertools.combinations(grams, len(texts)))
    return float(np.mean([len(set(draw)) for draw in draws])) / len(texts)


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4), st.integers(1, 2))
def test_it_is_the_mean_over_all_draws(texts, n):
    assert distinct(texts, n) == pytest.approx(every_draw(texts, n))


def test_what_never_changes_is_as_little_as_can_be_and_what_always_does_is_all():
    assert distinct(["it was it"] * 50, 1) == pytest.approx(2 / 50, rel=1e-3)
    assert distinct([f"word{i}" for i in range(50)], 1) == 1
    assert distinct([f"word{i}" for i in range(50)], 2) == 1
    assert distinct(["", "", "a"], 1) is None  # one word cannot stand for three responses
    assert distinct([], 1) is None


def test_length_does_not_decide():
    """The same source of words in short and in long responses; the plain share of different ones falls."""
    rng = np.random.default_rng(0)
    chances = 1 / np.arange(1, 201)
    chances /= chances.sum()

    def responses(words):
        return [" ".join(f"w{i}" for i in rng.choice(200, words, p=chances)) for _ in range(300)]

    short, long = responses(3), responses(24)
    plain = [
        len({w for t in texts for w in t.split()}) / sum(len(t.split()) for t in texts)
        for texts in (short, long)
    ]
    assert plain[0] > 5 * plain[1]
    assert distinct(short, 1) == pytest.approx(distinct(long, 1), abs=0.02)


def test_what_all_groups_decide_alike():
    won, tied, lost = 1.0, 0.5, 0.0
    scores = np.array(
        [[[won, won]], [[won, lost]], [[lost, lost]], [[tied, won]], [[tied, tied]], [[won, won]]]
    )
    assert agreed(scores) == (3, 2)
    assert agreed(scores[3:5]) == (0, 0)
