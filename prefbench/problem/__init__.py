"""The problem that a task states: groups, prompts, annotators.

Light to import: plug-ins import it to be listed. What computes lives in `preferences`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from prefbench.errors import UserError
from prefbench.problem.utilities import Utility

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.problem.world import World

HELD_OUT_PAIRS = 800
"""At most so many test pairs: enough to read a reward model's accuracy to about 3.5 points."""


@dataclass(frozen=True)
class Group:
    """A sub-population with one utility."""

    name: str
    share: float
    """Share of annotators asked for; `apportion` makes whole annotators of it."""
    utility: Utility
    instruction: str | None = None
    """Text before a prompt that asks outright for what the group wants; policies are measured with it too."""


@dataclass(frozen=True)
class Prompts:
    """Prompts of the three splits, disjoint.

    A train prompt may be repeated, where several pairs of its responses are labelled.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        everything = [*set(self.train), *self.validation, *self.test]
        if len(set(everything)) != len(everything):
            raise ValueError("a prompt appears twice: de-duplicate before splitting.")


@dataclass(frozen=True)
class Problem:
    """What a task returns and everything downstream starts from."""

    groups: tuple[Group, ...]
    """Two or more, the minority being the one with the smallest share (the last one of equals)."""
    prompts: Prompts
    """One train prompt per labelled pair: `annotators * pairs_per_annotator` of them."""
    corpus: tuple[str, ...]
    """Texts that a reference policy may be trained on; holds no test prompt."""
    annotators: int
    pairs_per_annotator: int
    temperature: float
    """Preference noise, in standard deviations of the group's utility over reference responses."""
    response_tokens: int
    """Longest response, in tokens of the model."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What the task wants said of itself in the record (JSON values)."""
    world: World | None = None
    """The world of a task for the `finite` backbone; it needs no corpus."""
    chat: bool = False
    """Prompts are messages to an assistant, not texts to continue: a chat model gets them in its template."""
    given: pd.DataFrame | None = None
    """Labelled pairs of real annotators in place of sampled ones: `split, prompt, chosen, rejected, user_id,
    group`, of which the train rows are as many as asked for."""

    def __post_init__(self) -> None:
        names = [group.name for group in self.groups]
        if len(names) < 2 or len(set(names)) != len(names):
            raise ValueError(f"a problem needs two or more groups with different names, not {names}.")
        if len(self.prompts.train) != self.annotators * self.pairs_per_annotator:
            raise ValueError("a problem needs one train prompt for each labelled pair.")

    @property
    def minority(self) -> str:
        """Name of the group with the smallest share; the last one of equals."""
        return min(reversed(self.groups), key=lambda group: group.share).name


def apportion(shares: Sequence[float], seats: int) -> list[int]:
    """Whole annotators per group by largest remainder (Hamilton's method), ties to the earlier group.

    Exact rational arithmetic: 0.2 of 40 is 8 and never 7.999.

    Raises:
        UserError: a group would get no annotator.
    """
    exact = [Fraction(str(share)) * seats for share in shares]
    counts = [int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for index in order[: seats - sum(counts)]:
        counts[index] += 1
    if min(counts) == 0:
        smallest = min(Fraction(str(share)) for share in shares)
        raise UserError(
            f"{seats} annotators at a minority share of {float(smallest):g} leave a group without any: "
            f"set task.annotators to {-(-1 // smallest)} or more."
        )
    return counts


def with_instruction(prompt: str, instruction: str) -> str:
    """The prompt as it is put to a model that is told what is wanted."""
    return f"{instruction} {prompt}"
