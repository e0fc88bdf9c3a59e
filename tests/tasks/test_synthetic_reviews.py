import re
import time
from collections import Counter

import numpy as np
import pytest

from prefbench.problem.utilities.content import Conciseness
from prefbench.problem.utilities.sentiment import VaderSum
from prefbench.text import lower_words
from prefbench_tasks.synthetic_reviews import REVIEW_WORDS, Labelled, synthetic_reviews

OPENING_WORDS = 6


@pytest.fixture(scope="module")
def reviews() -> Labelled:
    return synthetic_reviews(60_000, np.random.default_rng(1))


@pytest.fixture(scope="module")
def endings(reviews) -> list[str]:
    return [" ".join(text.split()[OPENING_WORDS:]) for text in reviews.texts]


@pytest.fixture(scope="module")
def valence(endings) -> np.ndarray:
    return VaderSum(0.0)([""] * len(endings), endings)


@pytest.fixture(scope="module")
def length(endings) -> np.ndarray:
    return -Conciseness(0.0)([""] * len(endings), endings)


def test_same_generator_state_gives_the_same_reviews_and_another_others():
    first = synthetic_reviews(50, np.random.default_rng(7))
    assert first == synthetic_reviews(50, np.random.default_rng(7))
    assert first != synthetic_reviews(50, np.random.default_rng(8))


def test_a_shorter_call_gives_the_beginning_of_a_longer_one():
    short, long = (synthetic_reviews(n, np.random.default_rng(3)) for n in (20, 5000))
    assert (short.texts, short.labels) == (long.texts[:20], long.labels[:20])
    assert synthetic_reviews(0, np.random.default_rng(3)) == Labelled((), ())


def test_form_of_every_review(reviews):
    clause = r"[a-z]+(?: [a-z]+)*"
    form = re.compile(rf"{clause}(?:[.,] {clause})*\.")
    assert all(form.fullmatch(text) for text in reviews.texts)


def test_openings_are_six_plain_words_and_distinct_by_the_thousand(reviews):
    openings = [tuple(text.split()[:OPENING_WORDS]) for text in reviews.texts]
    assert all(word.isalpha() for opening in openings for word in opening)
    assert len(set(openings)) > 20_000


def test_articles_agree_with_the_next_word(reviews):
    for article, following in re.findall(r"\b(an?) (\w+)", " ".join(reviews.texts)):
        assert (article == "an") == (following[0] in "aeiou"), (article, following)


def test_no_word_twice_on_end_and_no_slot_left_open(reviews):
    assert not re.search(r"\b(\w+) \1\b|\b(\w+) and \2\b", " ".join(reviews.texts))


def test_openings_say_nothing_of_the_tone(reviews, valence):
    openings = [" ".join(text.split()[:OPENING_WORDS]) for text in reviews.texts]
    assert not VaderSum(0.0)(openings, openings).any()
    # The commonest last words of an opening are all followed by pleased and displeased endings.
    film = np.array([opening.split()[-1] for opening in openings])
    for word, count in Counter(film).most_common(10):
        assert count > 1000
        assert abs(valence[film == word].mean()) < 0.5
        assert valence[film == word].std() > 3


def test_vocabulary_has_both_sides_of_the_lexicon(reviews):
    words = sorted({word for text in reviews.texts for word in re.findall(r"[a-z]+", text)})
    assert 250 <= len(words) <= 400
    scores = VaderSum(0.0)(words, words)
    assert (scores >= 1).sum() >= 50
    assert (scores <= -1).sum() >= 50
    assert (scores == 0).sum() >= 100


def test_tone_and_length_vary_widely_and_independently(valence, length):
    assert length.min() == 2
    assert length.std() >= 5
    assert np.mean((length >= 2) & (length <= 25)) > 0.85
    assert valence.std() >= 3
    assert abs(valence.mean()) < 0.3
    assert abs(np.corrcoef(length, valence)[0, 1]) < 0.05
    # Both are wide among the two-word endings too, the ones a brief policy ends with.
    assert valence[length == 2].std() > 1.5


def test_labels_are_balanced_and_follow_the_tone(reviews, valence):
    labels = np.array(reviews.labels)
    assert abs(labels.mean() - 0.5) < 0.02
    assert valence[labels == 1].mean() > 1.5
    assert valence[labels == 0].mean() < -1.5
    told = valence != 0
    assert np.mean((valence > 0)[told] == (labels == 1)[told]) > 0.8


def test_fast_enough_to_write_anew_on_each_run():
    start = time.perf_counter()
    synthetic_reviews(20_000, np.random.default_rng(0))
    assert time.perf_counter() - start < 2.0  # measured at 0.2 s


def test_the_lexicon_is_every_word_that_is_written(reviews):
    assert {word for text in reviews.texts for word in lower_words(text)} == REVIEW_WORDS
