"""Times of runs with default options on another machine, for where no run was made yet.

`timed.json` is written by `leaderboard/scripts/timings.py` of published records.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field

from prefbench.spec import RunSpec

OTHER_MACHINE = (0.5, 2.0)
"""Factors between which another machine's times are taken to lie: as far apart are processors of a few years,
and a processor that is idle and one that is busy."""

Seconds = Mapping[str, float]


class Timed(BaseModel):
    """Seconds of the stages of one aligner on one task and model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    model: str
    aligner: str
    runs: int = Field(ge=1)
    """Runs behind the figures."""
    shared: Seconds
    """Medians of the stages that other aligners' runs share: `reference`, `pairs` and `labels`."""
    own: Seconds
    """Medians of all other stages."""


class Table(BaseModel):
    """All of `timed.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hardware: str
    """Processor of the runs, as their records name it, and their number of threads."""
    rows: tuple[Timed, ...]


@functools.cache
def table() -> Table:
    """The table that is shipped."""
    return Table.model_validate_json((files("prefbench.estimate") / "timed.json").read_bytes())


@functools.cache
def _by_name() -> Mapping[tuple[str, str, str], Timed]:
    """The rows by task, model and aligner: a sweep asks for each of its cells."""
    return {(row.task, row.model, row.aligner): row for row in table().rows}


def timed(spec: RunSpec) -> Timed | None:
    """The row of a specification's task, model and aligner, whatever its options; None if there is none."""
    return _by_name().get((spec.task, spec.model, spec.aligner))
