"""Figures beside a win rate, which does not see them: words that are none, sameness, loss of common ground.

Nothing here asks a group. Each figure is computed of the policy's responses and of the reference's alike, so
that what a task or a model does to all policies is seen beside what an aligner did.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from prefbench.arrays import Floats
from prefbench.text import lower_words

_BEFORE = ""
"""The word before the first one of a response, in its n-grams."""


def count_nonwords(texts: Sequence[str], lexicon: Collection[str]) -> list[int]:
    """The number of words in each text that are not in the lexicon.

    Words are those of `prefbench.text.lower_words`, so the lexicon is in lower case.
    """
    return [sum(word not in lexicon for word in lower_words(text)) for text in texts]


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams in as many n-grams as there are texts, as a share of them, 0 to 1.

    Distinct-n (Li et al. 2016, arXiv 1510.03055) divides the different n-grams by all of them, and so falls
    with the length of responses whatever they say. Here every set of responses is cut down to one number of
    n-grams, one for each text: the value is the mean over all ways to draw so many without replacement,
    which has a closed form (rarefaction, Hurlbert 1971; of words, the HD-D of McCarthy and Jarvis 2010). An
    n-gram may begin before the first word, so a text has as many as it has words.

    Args:
        texts: responses, to different prompts.
        n: words of an n-gram.

    Returns:
        None where there are fewer n-grams than texts.
    """
    found: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        words = [*[_BEFORE] * (n - 1), *lower_words(text)]
        found.update(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    counts = np.fromiter(found.values(), np.float64, len(found))
    if not texts or counts.sum() < len(texts):
        return None
    return min(1.0, _rarefied(counts, len(texts)) / len(texts))


def _rarefied(counts: Floats, drawn: int) -> float:
    """Expected number of kinds among `drawn` things out of so many of each kind, without replacement."""
    from scipy.special import gammaln

    every = counts.sum()
    others = every - counts
    possible = others >= drawn  # else one of this kind is always drawn
    rest = others[possible]
    # C(N - N_i, n) / C(N, n): the chance that none is drawn.
    missed = gammaln(rest + 1) - gammaln(rest - drawn + 1) - gammaln(every + 1) + gammaln(every - drawn + 1)
    return float(len(counts) - np.exp(missed).sum())


def agreed(scores: Floats) -> tuple[int, int]:
    """Comparisons that all groups decide alike, and those of them that the policy wins.

    Ties decide nothing. An empty response loses for every group, and so is among them.

    Args:
        scores: outcomes `[..., groups]` of `win_rate.outcomes`: 1 won, 0.5 tied, 0 lost.
    """
    won, lost = (scores == 1).all(axis=-1), (scores == 0).all(axis=-1)
    return int(won.sum() + lost.sum()), int(won.sum())
