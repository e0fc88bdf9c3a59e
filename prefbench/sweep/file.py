"""A sweep's TOML file: its keys and types, checked before anything is expanded or run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefbench import file_plugins, registry
from prefbench.config import GridTable, SweepFile, read
from prefbench.errors import UserError
from prefbench.spec import SECTIONS, get_model, name_outside
from prefbench.sweep.grid import NAMED, Exclude, Grid, Setting, SweepSpec, names_of, toml_key
from prefbench.sweep.tuned import Tuned, read_tuned


def read_sweep(
    path: str,
    plugins: Sequence[str] = (),
    stance: file_plugins.Stance = "refuse",
    tuned: str | None = None,
) -> SweepSpec:
    """Read a sweep file, check its keys and types, and load plug-ins.

    Args:
        path: the file.
        plugins: Python files that whoever runs the sweep named.
        stance: what becomes of plug-ins that only the file names.
        tuned: a file of tuned options in place of the one that the sweep file names.

    Raises:
        UserError: one line on the first thing that is wrong.
    """
    file = read(SweepFile, path, "", "; docs/sweeps.md shows what to write into it")
    files, left_out = file_plugins.plugins_of_file(file.plugin, plugins, path, stance)
    registry.load_plugins(files)
    top = {key: value for key, value in file.given().items() if key in GridTable.model_fields}
    tuned = tuned or file.tuned
    options = None if tuned is None else (tuned, read_tuned(Path(tuned)))
    base = settings_of(top.pop("set", {}), path)
    with file_plugins.knowing_nothing_of(left_out):
        made = [_grid(top, {}, base, path, options)] if not file.grid else []
        for number, grid in enumerate(file.grid, 1):
            made.append(_grid(top, grid.given(), base, f"{path}: [[grid]] {number}", options))
    for setting in base:
        _check_owner(setting, made, path)
    return SweepSpec(
        path=path,
        grids=tuple(made),
        excludes=tuple(
            _exclude(table.given(), f"{path}: [[exclude]] {number}", path)
            for number, table in enumerate(file.exclude, 1)
        ),
        plugins=files,
        left_out=left_out,
        runs_dir=file.runs_dir,
        cpus=file.resources.cpus,
        gpus=file.resources.gpus,
    )


def _grid(
    top: Mapping[str, Any],
    own: Mapping[str, Any],
    base: Sequence[Setting],
    where: str,
    tuned: tuple[str, Tuned] | None,
) -> Grid:
    """A grid from its own table, and from the top of the file where it says nothing."""
    merged = dict(top)
    if own.keys() & {"seed", "seeds"}:  # two ways to say one thing
        merged = {key: value for key, value in merged.items() if key not in ("seed", "seeds")}
    merged |= {key: value for key, value in own.items() if key != "set"}
    mine = settings_of(own.get("set", {}), where)
    settings = {(s.section, s.owner, s.option): s for s in (*base, *mine)}
    for key in ("task", "aligner"):
        if key not in merged and not (key == "aligner" and "policy" in merged):
            raise UserError(f'{where}: no {key}: write {key} = "NAME" or a list of names.')
    policies = merged.get("policy", ())
    _check_apart(merged.get("aligner", ()), policies, where)
    grid = Grid(
        where=where,
        task=merged["task"],
        aligner=(*merged.get("aligner", ()), *policies),
        model=merged.get("model", (None,)),
        data=merged.get("data", ("synthetic",)),
        minority_ratio=merged.get("minority_ratio", (0.2,)),
        seed=_seeds(merged, where),
        settings=tuple(settings.values()),
        tuned=tuned,
        strengths=merged.get("strengths"),
    )
    for names in grid.names():  # unknown names come before what is wrong with their options
        _registered(names, where)
    for setting in mine:
        _check_owner(setting, [grid], where)
    return grid


def _check_apart(aligners: Sequence[str], policies: Sequence[str], where: str) -> None:
    """Refuse policies among aligners: what has a colon is one, and what has none is none."""
    for policy in policies:
        try:
            name_outside(policy)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    for aligner in aligners:
        if ":" in aligner:
            raise UserError(f'{where}: aligner "{aligner}" is a policy: write policy = "{aligner}".')


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


def settings_of(table: Mapping[str, Mapping[str, Any]], where: str) -> tuple[Setting, ...]:
    """`[set.task]`, `[set.aligner.NAME]` and so on, flattened."""
    found: list[Setting] = []
    for section, options in table.items():
        if section not in SECTIONS:
            raise UserError(
                f"{where}: unknown option section '{section}'.{registry.suggest(section, SECTIONS)}"
            )
        for key, value in options.items():
            if isinstance(value, dict):
                if section not in NAMED:
                    raise UserError(
                        f"{where}: set.{section}.{key} is a table, and not a value or a list"
                        ": write it without brackets."
                    )
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
            raise UserError(f"{where} is a table, and not a value or a list: write it without brackets.")
        if isinstance(item, float) and not math.isfinite(item):
            raise UserError(f"{where} = {item} is not a finite number: write one.")
    return tuple(values)


def _seeds(table: Mapping[str, Any], where: str) -> Sequence[int]:
    """`seeds` counts from `seed` up; without it `seed` is a number or a list of them."""
    seed: tuple[int, ...] = table.get("seed", (0,))
    if "seeds" not in table:
        return seed
    if len(seed) > 1:
        raise UserError(f"{where}: seed is a list, so leave out seeds, which counts from one seed up.")
    return range(seed[0], seed[0] + table["seeds"])


def _exclude(table: Mapping[str, Any], where: str, path: str) -> Exclude:
    keys = {key: value for key, value in table.items() if key != "set"}
    settings = settings_of(table.get("set", {}), where)
    if not keys and not settings:
        raise UserError(
            f"{where} says nothing, and would leave out every cell of {path}"
            ": take it out, or say which cells."
        )
    return Exclude(where, keys, settings)
