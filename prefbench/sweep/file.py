"""A sweep's TOML file: its keys and types, checked before anything is expanded or run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefbench import registry
from prefbench.errors import UserError
from prefbench.spec import SECTIONS, get_model, parse_ratio, read_toml
from prefbench.sweep.grid import MOST_CELLS, NAMED, Exclude, Grid, Setting, SweepSpec, names_of, toml_key

GRID_KEYS = ("task", "aligner", "model", "data", "minority_ratio", "seed", "seeds", "set")
TOP_KEYS = (*GRID_KEYS, "runs_dir", "plugin", "grid", "exclude", "resources")
EXCLUDE_KEYS = tuple(key for key in GRID_KEYS if key != "seeds")


def read_sweep(path: str, plugins: Sequence[str] = (), stance: registry.Stance = "refuse") -> SweepSpec:
    """Read a sweep file, check its keys and types, and load plug-ins.

    Args:
        path: the file.
        plugins: Python files that whoever runs the sweep named.
        stance: what becomes of plug-ins that only the file names.

    Raises:
        UserError: one line on the first thing that is wrong.
    """
    table = read_toml(path, "", "; docs/sweeps.md shows what to write into it")
    _known(table, TOP_KEYS, path)
    named = _strings(table.get("plugin", []), f"{path}: plugin", empty=True)
    files, left_out = registry.plugins_of_file(named, plugins, path, stance)
    registry.load_plugins(files)
    grids = _tables(table, "grid", path)
    top = {key: value for key, value in table.items() if key in GRID_KEYS}
    base = _settings(top.pop("set", {}), f"{path}: set", path)
    with registry.knowing_nothing_of(left_out):
        made = [_grid(top, {}, base, path)] if not grids else []
        for where, grid in grids:
            _known(grid, GRID_KEYS, where)
            made.append(_grid(top, grid, base, where))
    for setting in base:
        _check_owner(setting, made, path)
    runs_dir = table.get("runs_dir")
    if runs_dir is not None and not (isinstance(runs_dir, str) and runs_dir):
        raise UserError(f"{path}: runs_dir = {runs_dir!r} is not the name of a folder.")
    resources = table.get("resources", {})
    if not isinstance(resources, dict):
        raise UserError(f"{path}: resources is not a table: write [resources] and below it cpus and gpus.")
    _known(resources, ("cpus", "gpus"), f"{path}: [resources]")
    return SweepSpec(
        path=path,
        grids=tuple(made),
        excludes=tuple(_exclude(table, where, path) for where, table in _tables(table, "exclude", path)),
        plugins=files,
        left_out=left_out,
        runs_dir=runs_dir,
        cpus=_amount(resources.get("cpus", 1), f"{path}: resources.cpus"),
        gpus=_amount(resources.get("gpus", 0), f"{path}: resources.gpus"),
    )


def _known(table: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in table:
        if key not in keys:
            raise UserError(f"{where}: unknown key '{key}'.{registry.suggest(key, keys)}")


def _tables(table: Mapping[str, Any], key: str, path: str) -> list[tuple[str, dict[str, Any]]]:
    """`[[grid]]` tables, each with the words that a message names it by."""
    found = table.get(key, [])
    if not (isinstance(found, list) and all(isinstance(item, dict) for item in found)):
        raise UserError(f"{path}: {key} is not a list of tables: write [[{key}]] and below it its keys.")
    return [(f"{path}: [[{key}]] {number}", item) for number, item in enumerate(found, 1)]


def _grid(top: Mapping[str, Any], own: Mapping[str, Any], base: Sequence[Setting], where: str) -> Grid:
    """A grid from its own table, and from the top of the file where it says nothing."""
    merged = dict(top)
    if own.keys() & {"seed", "seeds"}:  # two ways to say one thing
        merged = {key: value for key, value in merged.items() if key not in ("seed", "seeds")}
    merged |= {key: value for key, value in own.items() if key != "set"}
    mine = _settings(own.get("set", {}), f"{where}: set", where)
    settings = {(s.section, s.owner, s.option): s for s in (*base, *mine)}
    for key in ("task", "aligner"):
        if key not in merged:
            raise UserError(f'{where}: no {key}: write {key} = "NAME" or a list of names.')
    grid = Grid(
        where=where,
        task=_strings(merged["task"], f"{where}: task"),
        aligner=_strings(merged["aligner"], f"{where}: aligner"),
        model=_strings(merged["model"], f"{where}: model") if "model" in merged else (None,),
        data=_strings(merged.get("data", "synthetic"), f"{where}: data"),
        minority_ratio=_ratios(merged.get("minority_ratio", 0.2), f"{where}: minority_ratio"),
        seed=_seeds(merged, where),
        settings=tuple(settings.values()),
    )
    for names in grid.names():  # unknown names come before what is wrong with their options
        _registered(names, where)
    for setting in mine:
        _check_owner(setting, [grid], where)
    return grid


def _registered(names: tuple[str, str, str], where: str) -> None:
    try:
        registry.get("task", names[0])
        registry.get("aligner", names[1])
        get_model(names[2])
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _check_owner(setting: Setting, grids: Sequence[Grid], where: str) -> None:
    if setting.owner is None:
        return
    names = list(dict.fromkeys(name for grid in grids for name in names_of(grid, setting.section)))
    if setting.owner not in names:
        near = registry.suggest(setting.owner, names)
        raise UserError(
            f"{where}: [set.{setting.section}.{toml_key(setting.owner)}] is for a {setting.section} "
            f"that the grid does not have.{near}"
        )


def _settings(table: Any, what: str, where: str) -> tuple[Setting, ...]:
    """`[set.task]`, `[set.aligner.NAME]` and so on, flattened."""
    if not isinstance(table, dict):
        raise UserError(f"{what} is not a table: write [set.task] and below it its options.")
    found: list[Setting] = []
    for section, options in table.items():
        if section not in SECTIONS:
            raise UserError(
                f"{where}: unknown option section '{section}'.{registry.suggest(section, SECTIONS)}"
            )
        if not isinstance(options, dict):
            raise UserError(
                f"{where}: set.{section} is not a table: write [set.{section}] and below it its options."
            )
        for key, value in options.items():
            if isinstance(value, dict):
                if section not in NAMED:
                    raise UserError(f"{where}: set.{section}.{key} is a table, and not a value or a list.")
                for option, inner in value.items():
                    place = f"{where}: set.{section}.{toml_key(key)}.{option}"
                    found.append(Setting(section, option, _values(inner, place), key))
            else:
                found.append(Setting(section, key, _values(value, f"{where}: set.{section}.{key}")))
    return tuple(found)


def _values(value: Any, where: str) -> tuple[Any, ...]:
    """A value, or the values of a list. A value that is itself a list is written as a list in a list."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UserError(f"{where} is an empty list: give it a value or leave it out.")
    for item in values:
        if isinstance(item, dict):
            raise UserError(f"{where} is a table, and not a value or a list.")
        if isinstance(item, float) and not math.isfinite(item):
            raise UserError(f"{where} = {item} is not a finite number.")
    return tuple(values)


def _strings(value: Any, where: str, empty: bool = False) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    if not values and not empty:
        raise UserError(f"{where} is an empty list: give it a value or leave it out.")
    for item in values:
        if not isinstance(item, str):
            raise UserError(f"{where} = {item!r} is not text in quotes or a list of such.")
    return tuple(values)


def _ratios(value: Any, where: str) -> tuple[float, ...]:
    ratios = []
    for item in _values(value, where):
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise UserError(f"{where} = {item!r} is not a number or text such as '4:1', or a list of such.")
        try:
            ratios.append(parse_ratio(item))
        except (UserError, OverflowError) as error:
            raise UserError(f"{where}: {error}") from None
    return tuple(ratios)


def _seeds(table: Mapping[str, Any], where: str) -> Sequence[int]:
    """`seeds` counts from `seed` up; without it `seed` is a number or a list of them."""
    first = table.get("seed", 0)
    if "seeds" in table:
        count = table["seeds"]
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_CELLS:
            raise UserError(
                f"{where}: seeds = {count!r} is not a whole number from 1 up: it is how many, and a list of "
                "them is called seed."
            )
        if isinstance(first, list):
            raise UserError(f"{where}: seed is a list, so leave out seeds, which counts from one seed up.")
        (start,) = _whole_numbers(first, f"{where}: seed")
        return range(start, start + count)
    return _whole_numbers(first, f"{where}: seed")


def _whole_numbers(value: Any, where: str) -> tuple[int, ...]:
    for item in _values(value, where):
        if isinstance(item, bool) or not isinstance(item, int) or item < 0:
            raise UserError(f"{where} = {item!r} is not a whole number from 0 up or a list of such.")
    return _values(value, where)


def _amount(value: Any, where: str) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value < 10_000:
        raise UserError(f"{where} = {value!r} is not a number of them.")
    return float(value)


def _exclude(table: Mapping[str, Any], where: str, path: str) -> Exclude:
    _known(table, EXCLUDE_KEYS, where)
    readers: Mapping[str, Callable[[Any, str], tuple[Any, ...]]] = {
        **dict.fromkeys(("task", "aligner", "model", "data"), _strings),
        "minority_ratio": _ratios,
        "seed": _whole_numbers,
    }
    keys = {key: readers[key](value, f"{where}: {key}") for key, value in table.items() if key != "set"}
    settings = _settings(table.get("set", {}), f"{where}: set", where)
    if not keys and not settings:
        raise UserError(f"{where} says nothing, and would leave out every cell of {path}.")
    return Exclude(where, keys, settings)
