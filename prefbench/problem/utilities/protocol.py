"""The wishes of groups: numbers that a response earns, larger is better.

A utility is a frozen object with a `name` that holds everything which can move its numbers, so that a
hash of the name is a hash of the utility. All but `Relevance` look at the response alone: the prompt is the
same for every response that it is compared with, and words that a policy did not write should earn it
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]


class Utility:
    """The wish of a group: a number per response. The base of all utilities.

    One has `name`, `unit` and `__call__`; the rest is for those that a run makes ready, or that only compare.
    """

    judges_pairs: ClassVar[bool] = False
    """True if it only tells which of two responses is better (`compare`), and has no number for one of
    them."""
    is_prepared: ClassVar[bool] = False
    """`prepare` makes another one of it, with more behind its name."""

    if TYPE_CHECKING:  # as a property or as an attribute

        @property
        def name(self) -> str:
            """Everything that can move a number, in one line; part of the hashes of what depends on it."""

        @property
        def unit(self) -> str:
            """One unit of the utility, for tables and plots."""

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Scores:
        """Score each response (`float64 [n]`, larger is better) as the answer to the prompt beside it."""
        raise NotImplementedError(f"{type(self).__name__} scores nothing")

    @property
    def fitted_to(self) -> tuple[int, bool] | None:
        """Number of pairs that a run fits it to, and whether they come labelled; None of one not fitted."""
        return None

    def prepare(self, backbone: Any, runs_dir: Path, seed: int) -> Utility:
        """The utility that a run uses, made ready with its model and its folder before anything else."""
        return self

    def compare(
        self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
    ) -> tuple[Scores, Scores]:
        """Utilities of two responses to each prompt, [n] each."""
        both = self([*prompts, *prompts], [*first, *second])
        return both[: len(first)], both[len(first) :]

    def recall(self, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]) -> None:
        """Take into the report what was compared before, by a run whose results are stored."""

    def report(self) -> dict[str, Any] | None:
        """JSON values that the record is to have of it; None for nothing."""
        return None

    def recalled(
        self, runs_dir: Path, prompts: Sequence[str], first: Sequence[str], second: Sequence[str]
    ) -> tuple[Scores, Scores] | None:
        """Utilities as of `compare` without a model; None where they need the run's own.

        A pair of which no more is known is NaN.
        """
        return None if self.is_prepared else self.compare(prompts, first, second)


def check_lengths(prompts: Sequence[str], responses: Sequence[str]) -> None:
    """Refuse prompts and responses of which one has no counterpart.

    Raises:
        ValueError: there are more of one than of the other.
    """
    if len(prompts) != len(responses):
        raise ValueError(
            f"{len(prompts)} prompts but {len(responses)} responses: one of each belong together."
        )
