"""Coverage, readability and warmth: counted by hand, and finite whatever the text."""

import math
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.problem.utilities.content import Coverage, content_words
from prefbench.problem.utilities.protocol import Utility
from prefbench.problem.utilities.readability import Readability, count_sentences, count_syllables
from prefbench.problem.utilities.sentiment import VaderSum, Warmth
from prefbench.text import count_words, is_empty, lower_words

ALL: list[Utility] = [Coverage(-1.0), Readability(-100.0), Warmth(-400.0)]
texts = st.one_of(st.text(), st.text("aeb.!?-'\u2019 \n\"()*_1"))


def score(utility: Utility, *responses: str) -> list[float]:
    return list(utility([""] * len(responses), responses))


# --- coverage


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat sat on the mat.", set()),  # no word of four letters
        ("Water, WATER everywhere; and the ship's boards did shrink.", {"water", "ship", "boards", "shrink"}),
        ("They couldn't, wouldn\u2019t and didn't see that.", set()),
        ("A well-made film of 2001 and 1234", {"well-made", "film"}),
        ("abc1 abcd1", {"abcd1"}),  # digits are no letters
        ("très longues années", {"très", "longues", "années"}),
    ],
)
def test_content_words_are_those_that_say_something(text, words):
    assert content_words(text) == words
    assert score(Coverage(-1.0), text) == [len(words)]


def test_coverage_counts_a_word_once_and_silence_as_told():
    assert score(Coverage(-1.0), "bread bread Bread butter", "", "...", "so it is") == [2, -1, -1, 0]


@given(texts, texts)
def test_coverage_of_two_texts_lies_between_the_larger_and_the_sum(a, b):
    one, other, both = (len(content_words(text)) for text in (a, b, f"{a} {b}"))
    assert max(one, other) <= both <= one + other


# --- readability


def test_flesch_of_a_known_text():
    # Six words of one syllable in one sentence, then four words (1 + 4 + 2 + 3 syllables) in another.
    cat = "The cat sat on the mat."
    assert score(Readability(-100.0), cat) == pytest.approx([206.835 - 1.015 * 6 - 84.6])
    assert [count_syllables(word) for word in ("the", "information", "number", "yesterday")] == [1, 4, 2, 3]
    both = f"{cat} The information number yesterday!"
    assert score(Readability(-100.0), both) == pytest.approx([206.835 - 1.015 * 10 / 2 - 84.6 * 16 / 10])


def test_flesch_is_clipped_at_both_ends():
    endless = " ".join(["information"] * 40)
    assert score(Readability(-50.0), endless, "Go.", "", " -- ") == [-100, 121, -50, -50]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("...", 0),
        ("one", 1),
        ("One. Two! Three?", 3),
        ("Really?! Yes...", 2),
        ("It costs 3.50 at example.org today.", 1),
        ('He said "go." She went.', 2),
        ("A heading\n\n- first\n- second.\n", 3),
    ],
)
def test_sentences_end_at_marks_and_line_ends(text, sentences):
    assert count_sentences(text) == sentences


def test_parts_of_a_hyphenated_word_are_counted_each():
    assert count_syllables("well-made") == 2
    assert count_syllables("information-number") == 6


@pytest.mark.parametrize(
    "text", ["." * 200_000 + "a", ".)" * 100_000 + "a", "a" * 200_000, "a-" * 100_000, "\n" * 200_000]
)
def test_no_text_takes_long(text):
    start = time.perf_counter()
    for utility in ALL:
        score(utility, text)
    assert time.perf_counter() - start < 10  # a second at most; a quadratic pattern takes minutes


# --- warmth


def test_warmth_by_hand():
    great, awful = score(VaderSum(0.0), "great", "awful")
    neutral = "brick " + " ".join(f"brick{i}" for i in range(8))  # nine words
    assert score(Warmth(-400.0), "great", "GREAT great great", f"great {neutral}") == pytest.approx(
        [100 * great / 21, 100 * great / 21, 100 * great / 30]
    )
    assert score(Warmth(-400.0), "great, awful") == pytest.approx([100 * (great + awful) / 22])
    assert score(Warmth(-7.0), "", "?!") == [-7, -7]


# --- all of them


@given(texts)
def test_any_text_has_a_finite_number(text):
    for utility in ALL:
        (value,) = score(utility, text)
        assert math.isfinite(value)
        assert (value == utility.empty) or not is_empty(text)  # type: ignore[attr-defined]


@given(texts)
def test_words_in_lower_case_are_empty_together_with_the_text(text):
    assert bool(lower_words(text)) == (not is_empty(text))
    assert count_sentences(text) <= count_words(text)
    assert (count_sentences(text) == 0) == is_empty(text)


@pytest.mark.parametrize("kind", [Coverage, Readability, Warmth])
def test_names_hold_what_moves_numbers(kind):
    assert kind(-1.0).name == kind(-1).name != kind(-2.0).name
    assert kind(-1.0).name.startswith(kind.__name__.lower() + "/1:")
    assert kind(-1.0).unit
    with pytest.raises(ValueError, match="one of each belong together"):
        kind(-1.0)(["a"], [])


def test_importing_the_utilities_imports_no_hyphenation():
    code = "import sys, prefbench.problem.utilities.readability; assert 'pyphen' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
