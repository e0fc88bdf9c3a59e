"""Labels of one pair by several people, gathered: which pairs there are, and the shares of their votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Bools, Floats, Ints
from prefbench.learn.interface import Pairs


@dataclass(frozen=True)
class PairVotes:
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
    disputed: Bools
    """[pairs] somebody's label prefers the first, and another's the second."""

    def sides(self, chosen: Floats, rejected: Floats) -> tuple[Floats, Floats]:
        """Numbers of each pair's first and second response, [pairs, d], from those of labels [labels, d]."""
        _, label = np.unique(self.pair, return_index=True)
        turned = self.turned[label][:, None]
        one, other = chosen[label], rejected[label]
        return np.where(turned, other, one), np.where(turned, one, other)

    @property
    def several(self) -> bool:
        """True if a pair has more than one label."""
        return bool((self.count > 1).any())


def votes_of(pairs: Pairs) -> PairVotes:
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
    first_better = np.where(turned, 1 - certain, certain)
    share = np.bincount(pair, first_better, len(place)) / count
    forth, back = (
        np.bincount(pair, side, len(place)) > 0 for side in (first_better > 0.5, first_better < 0.5)
    )
    prompts, first, second = ([key[i] for key in place] for i in range(3))
    return PairVotes(Pairs(prompts, first, second), pair, turned, count, share, forth & back)
