"""The cells of a sweep: every combination of a grid's values, less those that are excluded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefbench import registry
from prefbench.config import MOST_CELLS
from prefbench.errors import UserError
from prefbench.file_plugins import knowing_nothing_of
from prefbench.search import LogUniform, spaced
from prefbench.spec import RunSpec, get_model
from prefbench.sweep.tuned import Tuned, make_tuned_spec

NAMED = ("task", "aligner", "model")
"""Sections whose options may be given for one name only, as in [set.aligner.maxmin]."""


@dataclass(frozen=True)
class Setting:
    """One option and the values that it goes through."""

    section: str
    option: str
    values: tuple[Any, ...]
    owner: str | None = None
    """The task, aligner or model that it is for; none for every one of the grid."""


@dataclass(frozen=True)
class Exclude:
    """Cells that are left out: those that match every one of its keys."""

    where: str
    keys: Mapping[str, tuple[Any, ...]]
    settings: tuple[Setting, ...] = ()

    def matches_names(self, names: Mapping[str, Any]) -> bool:
        """True if a cell's task, aligner and so on are among those excluded."""
        return all(names[key] in values for key, values in self.keys.items())

    def matches_options(self, spec: RunSpec) -> bool:
        """True if its options are, too; one that the cell does not have matches nothing."""
        return all(
            _is_for(setting, spec) and options_of(spec, setting.section).get(setting.option) in setting.values
            for setting in self.settings
        )


@dataclass(frozen=True)
class Grid:
    """Every combination of its values."""

    where: str
    """Name of it in messages."""
    task: tuple[str, ...]
    aligner: tuple[str, ...]
    """Aligners, and policies from outside as `KIND:SOURCE`."""
    model: tuple[str | None, ...]
    data: tuple[str, ...]
    minority_ratio: tuple[float, ...]
    seed: Sequence[int]
    settings: tuple[Setting, ...] = ()
    tuned: tuple[str, Tuned] | None = None
    """A file of tuned options and what it says; its aligners take them."""
    strengths: int | tuple[float, ...] | None = None
    """Values of each aligner's strength, or how many of them; None leaves it as it is. One that has a ladder
    instead goes up that."""

    def size(self) -> int:
        """Cells, before exclusions and duplicates."""
        each = len(self.data) * len(self.minority_ratio) * len(self.seed)
        return each * sum(
            math.prod(len(setting.values) for setting in self.settings_of(*names)) for names in self.names()
        )

    def names(self) -> Iterator[tuple[str, str, str]]:
        """Every task, aligner and model of the grid together; the task's own model where none is named."""
        for task, aligner, model in itertools.product(self.task, self.aligner, self.model):
            yield task, aligner, model or registry.BACKBONES[registry.get("task", task).backbone]

    def settings_of(self, task: str, aligner: str, model: str) -> list[Setting]:
        """The settings for them; an option set for a name overrides the same one set for all."""
        owners = {"task": task, "aligner": aligner, "model": model}
        found: dict[tuple[str, str], Setting] = {}
        for setting in sorted(self.settings, key=lambda s: s.owner is not None):
            if setting.owner in (None, owners.get(setting.section)):
                found[setting.section, setting.option] = setting
        options = registry.get("aligner", aligner).options
        axis, backbone = registry.axis_of(options), get_model(model).backbone
        if self.strengths is None or axis is None or ("aligner", axis) in found:
            return list(found.values())
        if registry.plays_a_part(options, axis, backbone):
            ladder = getattr(options, "ladder", None)
            values = self._strengths_of(aligner, axis, model) if ladder is None else tuple(ladder[1])
            found["aligner", axis] = Setting("aligner", axis, values, aligner)
        return list(found.values())

    def _strengths_of(self, aligner: str, strength: str, model: str) -> tuple[float, ...]:
        """The values of an aligner's strength; so many of them lie evenly in log over its declared range."""
        if isinstance(self.strengths, tuple):
            return self.strengths
        assert self.strengths is not None
        entry = registry.get("aligner", aligner)
        declared = registry.search_space(entry.options, get_model(model).backbone).get(strength)
        if not isinstance(declared, LogUniform) or declared.times is not None:
            raise UserError(
                f"{self.where}: aligner '{aligner}' declares no range of its {strength}: list the strengths."
            )
        return spaced(declared.low, declared.high, self.strengths)


@dataclass(frozen=True)
class SweepSpec:
    """A sweep file as read."""

    path: str
    grids: tuple[Grid, ...]
    excludes: tuple[Exclude, ...] = ()
    plugins: tuple[str, ...] = ()
    """Plug-ins that were loaded."""
    left_out: tuple[str, ...] = ()
    """Plug-ins that the file names and that were not run."""
    runs_dir: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0

    def expand(self) -> list[RunSpec]:
        """Every cell once, checked, seeds innermost so that neighbours share little and wait little.

        Raises:
            UserError: one line on the first thing that is wrong.
        """
        size = sum(grid.size() for grid in self.grids)
        if size > MOST_CELLS:
            raise UserError(f"{self.path}: {size} cells are more than {MOST_CELLS}: split the grid.")
        found: dict[str, RunSpec] = {}
        used: set[str] = set()
        with knowing_nothing_of(self.left_out):
            for grid in self.grids:
                for spec in _cells(grid, self.excludes, used):
                    found.setdefault(spec.hash, spec)
        for exclude in self.excludes:
            if exclude.where not in used:
                raise UserError(f"{exclude.where} matches no cell: mend it or take it out.")
        if not found:
            raise UserError(f"{self.path}: every cell is excluded: nothing is left to run.")
        return list(found.values())


def _cells(grid: Grid, excludes: Sequence[Exclude], used: set[str]) -> Iterator[RunSpec]:
    """The cells of a grid that no exclusion matches; `used` takes in those exclusions that matched one."""
    # A cell that is excluded by its names need not be one that could run.
    for (task, aligner, model), data, ratio in itertools.product(
        grid.names(), grid.data, grid.minority_ratio
    ):
        settings = grid.settings_of(task, aligner, model)
        combinations = itertools.product(*(setting.values for setting in settings))
        for values, seed in itertools.product(combinations, grid.seed):
            names = {
                "task": task,
                "aligner": aligner,
                "model": model,
                "data": data,
                "minority_ratio": ratio,
                "seed": seed,
            }
            near = [exclude for exclude in excludes if exclude.matches_names(names)]
            by_name = [exclude for exclude in near if not exclude.settings]
            if not by_name:
                spec = _checked(grid, names, settings, values)
                near = [exclude for exclude in near if exclude.matches_options(spec)]
            used.update(exclude.where for exclude in (by_name or near))
            if not (by_name or near):
                yield spec


def _checked(
    grid: Grid, names: Mapping[str, Any], settings: Sequence[Setting], values: Sequence[Any]
) -> RunSpec:
    sets: dict[str, dict[str, Any]] = {}
    for setting, value in zip(settings, values, strict=True):
        _check_owned(grid, setting, names)
        sets.setdefault(setting.section, {})[setting.option] = value
    aligner = names["aligner"]
    chosen = {**names, "aligner": None, "policy": aligner} if ":" in aligner else names
    try:
        return make_tuned_spec(grid.tuned, **chosen, sets=sets)
    except UserError as error:
        raise UserError(f"{grid.where}: {error}") from None


def _check_owned(grid: Grid, setting: Setting, names: Mapping[str, Any]) -> None:
    """An option that one name of the grid lacks and another has belongs into a table of its own."""
    section, option = setting.section, setting.option
    if section not in NAMED or option in _option_names(section, names[section]):
        return
    having = [name for name in names_of(grid, section) if option in _option_names(section, name)]
    if having:
        raise UserError(
            f"{grid.where}: {section} '{names[section]}' has no option '{option}': "
            f"write it under [set.{section}.{toml_key(having[0])}], for those that have it."
        )


def _option_names(section: str, name: str) -> set[str]:
    if section == "model":
        return set(get_model(name).options.model_fields)
    return set(registry.get("task" if section == "task" else "aligner", name).options.model_fields)


def names_of(grid: Grid, section: str) -> list[str]:
    """The tasks, aligners or models of a grid, each once."""
    index = NAMED.index(section)
    return list(dict.fromkeys(names[index] for names in grid.names()))


def options_of(spec: RunSpec, section: str) -> Mapping[str, Any]:
    """The options of one section of a specification."""
    options: Mapping[str, Any] = getattr(spec, f"{section}_options")
    return options


def _is_for(setting: Setting, spec: RunSpec) -> bool:
    owners = {"task": spec.task, "aligner": spec.aligner, "model": spec.model}
    return setting.owner in (None, owners.get(setting.section))


def toml_key(name: str) -> str:
    """A name as a key of a TOML file, in quotes where it needs them."""
    plain = name.replace("_", "").replace("-", "")
    return name if plain.isascii() and plain.isalnum() else f'"{name}"'
