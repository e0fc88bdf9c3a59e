"""Utilities of words: how few there are, how many say something, and whether they are about the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefbench.problem.utilities.protocol import Scores, Utility, check_lengths
from prefbench.text import count_words, is_empty, lower_words


@dataclass(frozen=True)
class Conciseness(Utility):
    """Minus the number of words: shorter is better, and saying nothing is not being short.

    Attributes:
        empty: what a response without a word earns, in (negative) words.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version and `empty`."""
        return f"conciseness/1:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Words, counted downwards from zero."""
        return "words (negative)"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Count each response's words, negatively."""
        check_lengths(prompts, responses)
        counts = np.array([count_words(response) for response in responses], dtype=np.float64)
        return np.where(counts > 0, -counts, self.empty)


_CONTENT_LETTERS = 4
# Shorter words are no content words anyway. "couldn" and its like are what stands before an apostrophe.
_STOP_WORDS = frozenset(
    """
    about above according across after afterwards again against ahead almost alone along already also
    although always amid among amongst another anybody anyhow anyone anything anyway anywhere apart aren
    around aside away back became because become becomes been before beforehand behind being below beneath
    beside besides between beyond both came cannot come comes could couldn despite didn does doesn doing
    done down during each either else elsewhere enough especially even ever every everybody everyone
    everything everywhere except first five former formerly four from further furthermore gave gets getting
    give given gives giving goes going gone hadn hardly hasn have haven having hence here hereby herself
    himself however indeed inside instead into itself just keep keeps kept last later latter least less lest
    like likely made mainly make makes making many maybe mean meanwhile might mightn mine more moreover most
    mostly much must mustn myself namely near nearly needn neither never nevertheless next nine nobody none
    nonetheless nothing notwithstanding nowhere often once ones only onto other others otherwise ought ours
    ourselves outside over perhaps please quite rather really regarding same seem seemed seeming seems seven
    several shall shan should shouldn since some somebody somehow someone something sometime sometimes
    somewhat somewhere soon still such take taken takes taking than that their theirs them themselves then
    thence there thereafter thereby therefore therein these they thing things this those though three
    through throughout thus till together toward towards under unless unlike until upon used using usually
    various very want wants wasn well went were weren what whatever when whence whenever where whereas
    whereby wherein whereupon wherever whether which whichever while whoever whole whom whose will with
    within without would wouldn your yours yourself yourselves
    """.split()
)


@dataclass(frozen=True)
class Coverage(Utility):
    """Breadth of a response: the number of its different content words.

    A word that is repeated counts once, so that this grows more slowly than length does. Words of the prompt
    count as well: a response that does not take them up is the poorer for it.

    Attributes:
        empty: what a response without a word earns, in content words.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version and `empty`."""
        return f"coverage/1:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Different content words."""
        return "content words"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Count each response's different content words."""
        check_lengths(prompts, responses)
        return np.array([self._score(response) for response in responses], dtype=np.float64)

    def _score(self, response: str) -> float:
        return self.empty if is_empty(response) else float(len(content_words(response)))


def content_words(text: str) -> set[str]:
    """The different words of `text`, in lower case, that are no stop words and have four letters or more.

    What follows an apostrophe is left out, so that "the dog's" and "dogs'" add no words of their own to "dog"
    and "dogs". The stop words are English.
    """
    words = {word.partition("'")[0] for word in lower_words(text)}
    return {word for word in words - _STOP_WORDS if _count_letters(word) >= _CONTENT_LETTERS}


def _count_letters(word: str) -> int:
    return len(word) if word.isalpha() else sum(map(str.isalpha, word))


@dataclass(frozen=True)
class Relevance(Utility):
    """Relevance of a response to what it was asked: the share of the prompt's content words in it.

    Words count in the form that the prompt has them in. A prompt without a content word can be taken up by
    no response, and all of them earn zero. This is the one utility here that reads the prompt.

    Attributes:
        empty: what a response without a word earns, as a share.
    """

    empty: float

    @property
    def name(self) -> str:
        """The utility's version and `empty`."""
        return f"relevance/1:empty={float(self.empty)!r}"

    @property
    def unit(self) -> str:
        """Share of the prompt's content words, 0 to 1."""
        return "share of the prompt's content words"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Share of each prompt's different content words that the response beside it has."""
        check_lengths(prompts, responses)
        pairs = zip(prompts, responses, strict=True)
        return np.array([self._score(prompt, response) for prompt, response in pairs], dtype=np.float64)

    def _score(self, prompt: str, response: str) -> float:
        if is_empty(response):
            return self.empty
        asked = content_words(prompt)
        return len(asked & content_words(response)) / max(1, len(asked))
