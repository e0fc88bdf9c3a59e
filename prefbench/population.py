"""Options that every task has: who the people of its groups are, and how they label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _by_group(given: Any) -> Any:
    """`few=-1,many=2` as a table."""
    if not isinstance(given, str):
        return given
    parts = [part.rpartition("=") for part in given.split(",") if part.strip()]
    if not all(equals for _, equals, _ in parts):
        raise ValueError(f"'{given}' is no list of GROUP=VALUE,...")
    return {name.strip(): value.strip() for name, _, value in parts}


class Population(BaseModel):
    """The people behind the groups; the defaults are one utility for a whole group, and nobody unseen.

    An option at its default is written into no specification, so that it renames no run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    spread: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Distance of a member's own utility from the group's, in standard deviations of it."""
    unseen_annotators: Annotated[int, Field(ge=0, le=10_000)] = 0
    """People with no label in training, who are met when policies are measured."""
    context_pairs: Annotated[int, Field(ge=0, le=1_000)] = 8
    """Labelled pairs of each of them that a policy may be shown, at most."""
    reliability: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of each annotator's labels that she means; the others are those of a fair coin."""
    tie_band: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Utilities nearer to each other than this, in standard deviations, are labelled as a tie."""
    labels_per_pair: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Annotators who label each pair; each of them labels so many times task.pairs_per_annotator."""
    reporting: Annotated[
        dict[str, Annotated[float | str, Field(union_mode="left_to_right")]], BeforeValidator(_by_group)
    ] = {}
    """Groups whose labels are not what they want, as GROUP=FACTOR,... for their utility times the factor, or
    GROUP=GROUP for what another group wants."""
    reporters: Annotated[dict[str, Annotated[int, Field(ge=1)]], BeforeValidator(_by_group)] = {}
    """Annotators who label as task.reporting says, as GROUP=COUNT,...; of a group without a count all do."""

    @property
    def behaviour(self) -> dict[str, Any]:
        """Options of how people label, and not of who they are, that are not at their defaults."""
        return {name: getattr(self, name) for name in _BEHAVIOUR if getattr(self, name) != _usual(name)}


_BEHAVIOUR = ("reliability", "tie_band", "labels_per_pair", "reporting", "reporters")


def _usual(name: str) -> Any:
    return Population.model_fields[name].get_default(call_default_factory=True)


def parted(options: Mapping[str, Any]) -> tuple[dict[str, Any], Population]:
    """A task's own options, and what is said of the population beside them."""
    theirs = {name: value for name, value in options.items() if name in Population.model_fields}
    return {name: value for name, value in options.items() if name not in theirs}, Population(**theirs)
