"""Ease of reading a response."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prefbench.problem.utilities.protocol import Scores, Utility, check_lengths
from prefbench.text import is_empty, lower_words

_FLESCH = (206.835, 1.015, 84.6)
_FLESCH_RANGE = (-100.0, 121.0)  # the upper end is near what one short word a sentence earns
# A run is looked at from its first mark only, and once: a page of dots takes no longer than a page of words.
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"')\]\u2019\u201d*_]*+(?=\s|$)|\n")


@dataclass(frozen=True)
class Readability(Utility):
    """Ease of reading a response: Flesch's reading ease of English, clipped to [-100, 121].

    206.835 - 1.015 words per sentence - 84.6 syllables per word (Flesch, A new readability yardstick, Journal
    of Applied Psychology 32, 1948). Syllables are pyphen's hyphenation points and one, which misses some that
    no line is broken at: "even" counts as one. Scores are therefore a little higher than by ear.

    Attributes:
        empty: what a response without a word earns, in Flesch points.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version, the digest of the hyphenation patterns and `empty`."""
        return f"readability/1:{_hyphenation()[1][:12]}:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Points of reading ease; plain English has 60 to 70."""
        return "Flesch points"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Reading ease of each response."""
        check_lengths(prompts, responses)
        return np.array([self._score(response) for response in responses], dtype=np.float64)

    def _score(self, response: str) -> float:
        words = lower_words(response)
        if not words:
            return self.empty
        syllables = sum(map(count_syllables, words))
        constant, per_sentence, per_word = _FLESCH
        ease = (
            constant
            - per_sentence * len(words) / count_sentences(response)
            - per_word * syllables / len(words)
        )
        low, high = _FLESCH_RANGE
        return min(max(ease, low), high)


def count_sentences(text: str) -> int:
    """Number of sentences of `text`: pieces with a word in them, between full stops, ! and ?, and line ends.

    A line end counts so that a list or a heading is not one endless sentence.
    """
    return sum(not is_empty(piece) for piece in _SENTENCE_END.split(text))


@functools.lru_cache(maxsize=1 << 17)
def count_syllables(word: str) -> int:
    """Number of syllables of a word, at least one, by the hyphenation of American English.

    The parts of a word with hyphens are counted each for itself.
    """
    hyphens = _hyphenation()[0]
    return sum(len(hyphens.positions(part)) + 1 for part in word.split("-"))


@functools.cache
def _hyphenation() -> tuple[Any, str]:
    """pyphen's patterns for American English, and the SHA-256 (hex) of their file."""
    import pyphen

    content = Path(pyphen.LANGUAGES["en_US"]).read_bytes()
    return pyphen.Pyphen(lang="en_US"), hashlib.sha256(content).hexdigest()
