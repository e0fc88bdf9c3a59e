"""Labels of one pair by several people, gathered: which pairs there are, and the shares of their votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Bools, Floats, Ints
from prefbench.learn.interface import Pairs


@dataclass(frozen=True)
class Votes:
    """Each different pair once, whichever side of it was chosen, and the labels that it has."""

    pairs: Pairs
    """Prompts with both responses, without ids, groups or strength: `chosen` is the first of the two, not
    the better one."""
    pair: Ints
    """[labels] place of each label's pair."""
    turned: Bools
    """[labels] the label prefers the second response."""
    count: Ints
    """[pairs] labels of each."""
    share: Floats
    """[pairs] share of votes for the first response; of a label of strength Z the share Z is for its chosen
    one."""

    def of_pairs(self, difference: Floats) -> Floats:
        """Differences of labels [labels, d], chosen less rejected, as each pair's, first less second."""
        _, label = np.unique(self.pair, return_index=True)
        return np.asarray(difference[label] * np.where(self.turned[label], -1.0, 1.0)[:, None])

    @property
    def several(self) -> bool:
        """True if a pair has more than one label."""
        return bool((self.count > 1).any())


def votes_of(pairs: Pairs) -> Votes:
    """The votes that labels are; two labels are of one pair if prompt and both responses are the same."""
    turned = np.array([c > r for c, r in zip(pairs.chosen, pairs.rejected, strict=True)], dtype=bool)
    place: dict[tuple[str, str, str], int] = {}
    each = []
    for prompt, chosen, rejected in zip(pairs.prompts, pairs.chosen, pairs.rejected, strict=True):
        key = (prompt, min(chosen, rejected), max(chosen, rejected))
        each.append(place.setdefault(key, len(place)))
    pair = np.array(each, dtype=np.int64)
    certain = np.ones(len(pairs)) if pairs.strength is None else pairs.strength
    count = np.bincount(pair, minlength=len(place))
    share = np.bincount(pair, np.where(turned, 1 - certain, certain), len(place)) / count
    prompts, first, second = ([key[i] for key in place] for i in range(3))
    return Votes(Pairs(prompts, first, second), pair, turned, count, share)
