"""Options that every task has: who the people of its groups are, and how they label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Population(BaseModel):
    """The people behind the groups; the defaults are one utility for a whole group, and nobody unseen.

    An option at its default is written into no specification, so that it renames no run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    spread: Annotated[float, Field(ge=0, le=100)] = 0.0
    """How far a member's own utility lies from the group's, in standard deviations of it."""
    unseen_annotators: Annotated[int, Field(ge=0, le=10_000)] = 0
    """People with no label in training, who are met when policies are measured."""
    context_pairs: Annotated[int, Field(ge=0, le=1_000)] = 8
    """Labelled pairs of each of them that a policy may be shown, at most."""


def parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], Population]:
    """A task's own options, and what is said of the population beside them."""
    theirs = {name: value for name, value in options.items() if name in Population.model_fields}
    return {name: value for name, value in options.items() if name not in theirs}, Population(**theirs)
