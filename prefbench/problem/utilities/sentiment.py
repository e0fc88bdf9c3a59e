"""Utilities of word valences: how pleased a response sounds."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prefbench.errors import UserError
from prefbench.problem.utilities.protocol import Scores, Utility, check_lengths
from prefbench.text import lower_words


@dataclass(frozen=True)
class VaderSum(Utility):
    """The sum of VADER's word valences, which grows with every pleased word and does not saturate.

    VADER's own compound score is squeezed into (-1, 1) and so hardly tells five pleased words from ten;
    its rules for negation and emphasis are left out with it, so the utility is additive over words.

    Attributes:
        empty: what a response without a word earns, in valence.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version, the lexicon's digest and `empty`."""
        return f"vader_sum/1:{_vader()[1][:12]}:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Summed valence; single words lie between -4 and 4."""
        return "summed VADER valence"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Sum the valences of each response's words; words outside the lexicon count zero."""
        check_lengths(prompts, responses)
        return np.array([self._score(response) for response in responses], dtype=np.float64)

    def _score(self, response: str) -> float:
        words = lower_words(response)
        lexicon = _vader()[0]
        return float(sum(lexicon.get(word, 0.0) for word in words)) if words else self.empty


@functools.cache
def _vader() -> tuple[dict[str, float], str]:
    """The lexicon of the installed vaderSentiment package, and the SHA-256 (hex) of its file."""
    # Reading the file itself spares the import, which builds an emoji table that words have no use for.
    spec = importlib.util.find_spec("vaderSentiment")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "vader_lexicon.txt"
        if path.is_file():
            content = path.read_bytes()
            break
    else:
        raise UserError("VADER's lexicon is not installed: pip install vaderSentiment.")
    fields = (line.split("\t") for line in content.decode("utf-8").splitlines() if line.strip())
    return {row[0]: float(row[1]) for row in fields}, hashlib.sha256(content).hexdigest()


_NEUTRAL_WORDS = 20


@dataclass(frozen=True)
class Warmth(Utility):
    """Warmth of a response, whatever its length: VADER's valence per hundred different words.

    100 sum(valence of different words) / (different words + 20). Each word counts once, so that a response
    stuck in a loop is no warmer for it; the twenty, which are as if neutral, keep a single kind word from
    being warmer than any letter.

    Attributes:
        empty: what a response without a word earns, in valence per hundred words.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version, the lexicon's digest and `empty`."""
        return f"warmth/1:{_vader()[1][:12]}:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Valence, where single words lie between -4 and 4, of a hundred words."""
        return "VADER valence per 100 words"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Weigh the valences of each response's different words; words outside the lexicon count zero."""
        check_lengths(prompts, responses)
        return np.array([self._score(response) for response in responses], dtype=np.float64)

    def _score(self, response: str) -> float:
        # In order of first occurrence: floating-point sums depend on it, and a set's order on the process.
        words = dict.fromkeys(lower_words(response))
        lexicon = _vader()[0]
        total = sum(lexicon.get(word, 0.0) for word in words)
        return 100 * total / (len(words) + _NEUTRAL_WORDS) if words else self.empty
