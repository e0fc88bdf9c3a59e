"""Run files, and the specifications that follow from one and from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefbench.spec import RunSpec


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
    from prefbench.api.runs import seeds_from
    from prefbench.registry import load_plugins
    from prefbench.sweep.tuned import make_tuned_spec, read_tuned

    load_plugins(settings.get("plugin", []))
    seeds = seeds_from(settings.get("seeds", 1), settings.get("seed", 0))
    names = ("task", "aligner", "policy", "named", "model", "data", "minority_ratio")
    chosen = {name: settings[name] for name in names if name in settings}
    path = settings.get("tuned")
    tuned = None if path is None else (path, read_tuned(Path(path)))
    return [make_tuned_spec(tuned, **chosen, seed=seed, sets=settings["set"]) for seed in seeds]
