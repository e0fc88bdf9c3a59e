"""Shares of a batch for each of several processes (`prefbench.team`).

With FSDP2 the frozen weights under the adapters are cut up over the processes (`sharding.py`). A pass through
the model is then something that all do at once, so everybody makes as many passes as everybody else; those
that count for nothing are parts of weight 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prefbench.team import Team, team

if TYPE_CHECKING:
    import torch

    from prefbench.backbone.language.memory import Limit


@dataclass(frozen=True)
class Part:
    """Rows of a batch that go through a model at once."""

    rows: np.ndarray
    """Positions of these rows in the batch."""
    weight: float = 1.0
    """0 for a pass that only keeps step with other processes: nothing that comes of it counts."""


@dataclass(frozen=True)
class ProcessShare:
    """Rows of a table that one process computes.

    Every process has as many places as every other. The last one of some holds a row that is computed by
    another process too, and is not counted.
    """

    team: Team
    rows: np.ndarray
    """The row at each place."""
    lengths: Sequence[int]
    """Tokens of the longest row that any process has at each place, so that all cut alike."""
    own: int
    """Number of places that count."""
    total: int
    """Rows of the whole table."""

    def parts(self, limit: Limit) -> list[Part]:
        """These rows in parts within a limit; as many as the others have, under the same limit."""
        result = []
        for places in limit.split(self.lengths):
            counted = places[places < self.own]
            result.append(
                Part(self.rows[counted]) if len(counted) else Part(self.rows[places[:1]], weight=0.0)
            )
        return result

    def whole(self, values: torch.Tensor) -> torch.Tensor:
        """The whole table [total, ...] from the values [places, ...] of every process."""
        if self.team.size == 1:
            return values
        result = values.new_zeros((self.total, *values.shape[1:]))
        result[self.rows[: self.own]] = values[: self.own]
        return self.team.sum(result)


def deal(lengths: Sequence[int]) -> ProcessShare:
    """This process's share of rows that have so many tokens: as many long and short ones as anyone's."""
    ours, total = team(), len(lengths)
    if ours.size == 1:
        return ProcessShare(ours, np.arange(total), lengths, total, total)
    order = np.argsort(np.asarray(lengths), kind="stable")[::-1]
    own, longest = order[ours.rank :: ours.size], order[:: ours.size]
    rows = np.concatenate([own, order[-1:]])[: len(longest)]
    return ProcessShare(ours, rows, [lengths[i] for i in longest], len(own), total)
