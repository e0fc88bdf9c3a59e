"""Run files, and the specifications that follow from one and from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefbench.errors import UserError

if TYPE_CHECKING:
    from prefbench.spec import RunSpec

MOST_SEEDS = 10_000
"""More is a slip of the finger, and its specifications alone would fill the memory."""

CONFIG_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "task": str,
    "aligner": str,
    "model": str,
    "data": str,
    "minority_ratio": (str, int, float),
    "seed": int,
    "seeds": int,
    "runs_dir": str,
    "plugin": list,
    "set": dict,
}
"""Keys of a run file and what their values may be."""


def read_config(path: str) -> dict[str, Any]:
    """A run file, its keys and their types checked."""
    from prefbench.registry import suggest
    from prefbench.spec import read_toml

    settings = read_toml(path)
    for key, value in settings.items():
        if key not in CONFIG_KEYS:
            raise UserError(f"--config {path}: unknown key '{key}'.{suggest(key, CONFIG_KEYS)}")
        if isinstance(value, bool) or not isinstance(value, CONFIG_KEYS[key]):
            raise UserError(f"--config {path}: {key} = {value!r} is not {_wanted(CONFIG_KEYS[key])}.")
    for section, options in settings.get("set", {}).items():
        if not isinstance(options, dict):
            raise UserError(
                f"--config {path}: set.{section} is not a table: write [set.task] and below it its options."
            )
    if not all(isinstance(file, str) for file in settings.get("plugin", [])):
        raise UserError(f"--config {path}: plugin is not a list of file names.")
    return settings


def _wanted(kind: type | tuple[type, ...]) -> str:
    words = {str: "text in quotes", int: "a whole number", list: "a list", dict: "a table"}
    return words[kind] if isinstance(kind, type) else "a number or text such as '4:1'"


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
