"""Run files, and the specifications that follow from one and from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefbench.errors import UserError

if TYPE_CHECKING:
    from prefbench.spec import RunSpec

MOST_SEEDS = 10_000
"""More is a slip of the finger, and its specifications alone would fill the memory."""


def read_config(path: str) -> dict[str, Any]:
    """A run file, its keys and their types checked."""
    from prefbench.config import RunFile, read

    return read(RunFile, path).given()


def merged(
    table: Mapping[str, Mapping[str, Any]], typed: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The tables of a run file with what --set says instead."""
    result: dict[str, dict[str, Any]] = {section: dict(options) for section, options in table.items()}
    for section, options in typed.items():
        result.setdefault(section, {}).update(options)
    return result


def specs_of(settings: Mapping[str, Any]) -> list[RunSpec]:
    """One specification for each seed, all of them checked before the first one runs."""
    from prefbench.registry import load_plugins
    from prefbench.spec import make_spec

    load_plugins(settings.get("plugin", []))
    count = settings.get("seeds", 1)
    if count < 1:
        raise UserError(f"seeds '{count}' is not a whole number from 1 up.")
    if count > MOST_SEEDS:
        raise UserError(f"seeds '{count}' is more than {MOST_SEEDS}: start with fewer and go on with --seed.")
    names = ("task", "aligner", "model", "data", "minority_ratio")
    chosen = {name: settings[name] for name in names if name in settings}
    first = settings.get("seed", 0)
    return [make_spec(**chosen, seed=first + i, sets=settings["set"]) for i in range(count)]
