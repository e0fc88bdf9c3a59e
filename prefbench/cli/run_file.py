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
    from prefbench.registry import get, load_plugins
    from prefbench.spec import make_spec

    load_plugins(settings.get("plugin", []))
    seeds = seeds_from(settings.get("seeds", 1), settings.get("seed", 0))
    names = ("task", "aligner", "model", "data", "minority_ratio")
    chosen = {name: settings[name] for name in names if name in settings}
    sets, tuning = settings["set"], None
    if "tuned" in settings and "aligner" in chosen:
        from prefbench.sweep.tuned import chosen_options, read_tuned, refuse_other_problem

        path = settings["tuned"]
        tuned = read_tuned(Path(path))
        get("aligner", chosen["aligner"])
        options, tuning = chosen_options(tuned, path, chosen["aligner"], sets.get("aligner", {}))
        sets = {**sets, "aligner": options}
    specs = [make_spec(**chosen, seed=seed, sets=sets, tuning=tuning) for seed in seeds]
    if "tuned" in settings:
        refuse_other_problem(tuned, path, specs[0])
    return specs
