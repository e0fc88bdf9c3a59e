"""Many runs: a grid in a TOML file, what its cells share, and running them all, whatever happens."""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from prefbench import consent, machine, registry
from prefbench.backbone.options import ModelOptions, PretrainedOptions
from prefbench.boards.declared import declare_seeds
from prefbench.boards.names import setting_digest
from prefbench.errors import UserError
from prefbench.spec import SECTIONS, RunSpec, get_model, make_spec, parse_ratio, read_toml
from prefbench.sweep.cell import Job, Outcome, in_order, is_done, label, labels_key, reference_key

if TYPE_CHECKING:
    from rich.console import Console

Engine = Literal["local", "ray"]

GRID_KEYS = ("task", "aligner", "model", "data", "minority_ratio", "seed", "seeds", "set")
TOP_KEYS = (*GRID_KEYS, "runs_dir", "plugin", "grid", "exclude", "resources")
EXCLUDE_KEYS = tuple(key for key in GRID_KEYS if key != "seeds")
NAMED = ("task", "aligner", "model")
"""Sections whose options may be given for one name only, as in [set.aligner.maxmin]."""
MOST_CELLS = 100_000
SHARED_STAGES = ("reference", "pairs", "labels")


# ------------------------------------------------------------------------------- what to run


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
        """Whether a cell's task, aligner and so on are among those excluded."""
        return all(names[key] in values for key, values in self.keys.items())

    def matches_options(self, spec: RunSpec) -> bool:
        """Whether its options are, too; one that the cell does not have matches nothing."""
        return all(
            _is_for(setting, spec) and _options(spec, setting.section).get(setting.option) in setting.values
            for setting in self.settings
        )


@dataclass(frozen=True)
class Grid:
    """Every combination of its values."""

    where: str
    """How a message names it."""
    task: tuple[str, ...]
    aligner: tuple[str, ...]
    model: tuple[str | None, ...]
    data: tuple[str, ...]
    minority_ratio: tuple[float, ...]
    seed: Sequence[int]
    settings: tuple[Setting, ...] = ()

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
        """What is set for them; an option set for a name goes before the same one set for all."""
        owners = {"task": task, "aligner": aligner, "model": model}
        found: dict[tuple[str, str], Setting] = {}
        for setting in sorted(self.settings, key=lambda s: s.owner is not None):
            if setting.owner in (None, owners.get(setting.section)):
                found[setting.section, setting.option] = setting
        return list(found.values())


@dataclass(frozen=True)
class SweepSpec:
    """What a sweep file says."""

    path: str
    grids: tuple[Grid, ...]
    excludes: tuple[Exclude, ...] = ()
    plugins: tuple[str, ...] = ()
    """Those that were loaded."""
    left_out: tuple[str, ...] = ()
    """Those that the file names and that were not run."""
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
        with registry.knowing_nothing_of(self.left_out):
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
    try:
        return make_spec(**names, sets=sets)
    except UserError as error:
        raise UserError(f"{grid.where}: {error}") from None


def _check_owned(grid: Grid, setting: Setting, names: Mapping[str, Any]) -> None:
    """An option that one name of the grid lacks and another has belongs into a table of its own."""
    section, option = setting.section, setting.option
    if section not in NAMED or option in _option_names(section, names[section]):
        return
    having = [name for name in _names_of(grid, section) if option in _option_names(section, name)]
    if having:
        raise UserError(
            f"{grid.where}: {section} '{names[section]}' has no option '{option}': "
            f"write it under [set.{section}.{_toml_key(having[0])}], for those that have it."
        )


def _option_names(section: str, name: str) -> set[str]:
    if section == "model":
        return set(get_model(name).options.model_fields)
    return set(registry.get("task" if section == "task" else "aligner", name).options.model_fields)


def _names_of(grid: Grid, section: str) -> list[str]:
    index = NAMED.index(section)
    return list(dict.fromkeys(names[index] for names in grid.names()))


def _options(spec: RunSpec, section: str) -> Mapping[str, Any]:
    options: Mapping[str, Any] = getattr(spec, f"{section}_options")
    return options


def _is_for(setting: Setting, spec: RunSpec) -> bool:
    owners = {"task": spec.task, "aligner": spec.aligner, "model": spec.model}
    return setting.owner in (None, owners.get(setting.section))


# ------------------------------------------------------------------------------- the file


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
    names = list(dict.fromkeys(name for grid in grids for name in _names_of(grid, setting.section)))
    if setting.owner not in names:
        near = registry.suggest(setting.owner, names)
        raise UserError(
            f"{where}: [set.{setting.section}.{_toml_key(setting.owner)}] is for a {setting.section} "
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
                    place = f"{where}: set.{section}.{_toml_key(key)}.{option}"
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


def _toml_key(name: str) -> str:
    plain = name.replace("_", "").replace("-", "")
    return name if plain.isascii() and plain.isalnum() else f'"{name}"'


# ------------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Plan:
    """The cells of a sweep, which of them are done, and what the others will take."""

    specs: tuple[RunSpec, ...]
    """In the order in which they are started."""
    done: frozenset[str]
    """Hashes of those that need not run."""
    shared: Mapping[str, int]
    """How many different references, pairs and labels the cells to run need, at the most."""
    seconds: float | None
    """Work that is left, by what past runs took; none if there are no such runs."""
    untimed: tuple[str, ...]
    """Aligners of cells to run that no past run tells about; they are not in `seconds`."""
    runs_timed: int
    """Past runs behind the estimate."""

    @property
    def todo(self) -> list[RunSpec]:
        """Cells that have to run."""
        return [spec for spec in self.specs if spec.hash not in self.done]


def make_plan(specs: Sequence[RunSpec], runs_dir: Path) -> Plan:
    """What a sweep has to do, as far as names, options and a look into the runs folder tell."""
    done = frozenset(spec.hash for spec in specs if is_done(spec, runs_dir))
    todo = [spec for spec in specs if spec.hash not in done]
    references = {reference_key(spec) for spec in todo}
    labels = {labels_key(spec) for spec in todo}
    made = [spec for spec in specs if spec.hash in done]
    timings = _Timings(runs_dir)
    seconds, untimed = timings.estimate(todo, made)
    return Plan(
        specs=tuple(in_order(specs)),
        done=done,
        shared={"reference": len(references), "pairs": len(references), "labels": len(labels)},
        seconds=seconds,
        untimed=untimed,
        runs_timed=timings.runs,
    )


class _Timings:
    """What each stage took in the runs of a folder."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs = 0
        self._shared: dict[tuple[str, ...], list[float]] = {}
        self._own: dict[tuple[str, ...], list[float]] = {}
        if not runs_dir.is_dir():
            return
        from prefbench.record.files import find_records

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # records that cannot be read
            records = find_records(runs_dir)
        for _, record in records:
            if record.status != "ok":
                continue
            self.runs += 1
            where = (record.task, record.model)
            own = 0.0
            for stage, seconds in record.timings.items():
                if stage in SHARED_STAGES:
                    self._shared.setdefault((*where, stage), []).append(seconds)
                else:
                    own += seconds
            exact = str(record.spec.get("aligner_options")), str(record.spec.get("task_options"))
            for key in ((*where, record.aligner), (*where, record.aligner, *exact)):
                self._own.setdefault(key, []).append(own)

    def estimate(
        self, todo: Sequence[RunSpec], made: Sequence[RunSpec]
    ) -> tuple[float | None, tuple[str, ...]]:
        """Seconds of work, and the aligners that nothing is known about.

        A stage that several cells share counts once, and not at all where a finished cell had it.
        """
        total = 0.0
        untimed: set[str] = set()
        for spec in todo:
            where = (spec.task, spec.model, spec.aligner)
            exact = str(dict(spec.aligner_options)), str(dict(spec.task_options))
            times = self._own.get((*where, *exact)) or self._own.get(where)
            if times:
                total += _typical(times)
            else:
                untimed.add(spec.aligner)
        for stage in SHARED_STAGES:
            key = labels_key if stage == "labels" else reference_key
            there = {key(spec) for spec in made}
            for spec in {key(spec): spec for spec in todo if key(spec) not in there}.values():
                times = self._shared.get((spec.task, spec.model, stage))
                total += _typical(times) if times else 0.0
        timed = len({spec.aligner for spec in todo}) > len(untimed)
        return (total if timed or not todo else None), tuple(sorted(untimed))


def _typical(times: Sequence[float]) -> float:
    """The median of those that computed the stage; the others only read it, in next to no time."""
    return median(seconds for seconds in times if seconds >= max(times) / 10)


def describe(plan: Plan) -> tuple[str, list[str], list[list[str]]]:
    """The cells as a table: a title that says what all share, a header, and a row for all seeds of a cell."""
    changing = _changing(plan.specs)
    rows: dict[tuple[str, ...], list[RunSpec]] = {}
    for spec in plan.specs:
        options = ", ".join(
            f"{option}={_options(spec, section)[option]}"
            for section, option in changing
            if option in _options(spec, section)
        )
        key = (spec.task, spec.aligner, spec.model, spec.data, f"{spec.minority_ratio:g}", options)
        rows.setdefault(key, []).append(spec)
    result = []
    for row in sorted(rows, key=lambda row: (row[0], row[3], row[2], -float(row[4]), row[1], row[5])):
        seeds = sorted(spec.seed for spec in rows[row])
        finished = sum(spec.hash in plan.done for spec in rows[row])
        result.append([*row, _ranges(seeds), f"{finished}/{len(seeds)}"])
    header = ["task", "aligner", "model", "data", "ratio", "options", "seeds", "done"]
    varying = [i for i in range(len(header)) if i >= 6 or len({row[i] for row in result}) > 1]
    same = {header[i]: result[0][i] for i in range(len(header)) if i not in varying and result[0][i]}
    title = ", ".join(f"ratio {value}" if name == "ratio" else value for name, value in same.items())
    return title, [header[i] for i in varying], [[row[i] for i in varying] for row in result]


def plan_lines(plan: Plan, job: Job) -> list[str]:
    """What a plan amounts to, in sentences."""
    from prefbench.text import clock

    todo = len(plan.todo)
    lines = [f"{len(plan.specs)} cells: {len(plan.done)} done before, {todo} to run"]
    if not todo:
        return lines
    stages = ", ".join(f"{count} {stage}" for stage, count in plan.shared.items())
    lines.append(f"shared by the {todo}, at the most: {stages} (each is computed once)")
    at_once = max(1, min(job.workers or todo, todo))
    who = (
        f"{at_once} worker{'s' if at_once > 1 else ''}"
        if job.workers
        else "as many workers as the cluster has"
    )
    if plan.seconds is None:
        lines.append("no estimate of the time: the runs folder has no run of these aligners")
    else:
        spread = f", {clock(plan.seconds / at_once)} with {who}" if job.workers else f" for {who}"
        runs = "run" if plan.runs_timed == 1 else "runs"
        lines.append(f"about {clock(plan.seconds)} of work{spread}, by {plan.runs_timed} past {runs}")
        if plan.untimed:
            lines.append(f"not in it, for want of a past run: {', '.join(plan.untimed)}")
    return lines


def _changing(specs: Sequence[RunSpec]) -> list[tuple[str, str]]:
    """The options that differ between cells of the same task, aligner or model."""
    seen: dict[tuple[str, str, str], set[str]] = {}
    for spec in specs:
        for section in SECTIONS:
            owner = getattr(spec, section) if section in NAMED else ""
            for option, value in _options(spec, section).items():
                seen.setdefault((section, owner, option), set()).add(repr(value))
    return sorted({(section, option) for (section, _, option), values in seen.items() if len(values) > 1})


def _ranges(numbers: Sequence[int]) -> str:
    """`0-4 7` for 0, 1, 2, 3, 4, 7."""
    parts: list[str] = []
    for _, run in itertools.groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        parts.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return " ".join(parts)


# ------------------------------------------------------------------------------- running it


@dataclass(frozen=True)
class Result:
    """What became of a sweep."""

    cells: int
    done: int
    """Cells that ended well in this sweep."""
    before: int
    """Cells that were done when it began, or that another sweep did in the meantime."""
    failed: tuple[tuple[RunSpec, Outcome], ...]
    seconds: float
    times: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each cell that ran, by the specification's hash."""


def make_job(
    sweep: SweepSpec,
    specs: Sequence[RunSpec],
    runs_dir: Path,
    *,
    engine: Engine,
    workers: int | None,
    retries: int,
    address: str | None,
) -> Job:
    """How the cells are run: how many at a time, with how many threads.

    Raises:
        UserError: the engine is not installed or does not have such an option.
    """
    if engine == "local" and address is not None:
        raise UserError("--address is of a Ray cluster: say --engine ray as well.")
    if engine == "ray":
        from prefbench.sweep.ray_cluster import import_ray

        import_ray(address)
    here, stored = machine.cores(), machine.stored()
    asked = {_threads(spec) for spec in specs}

    def found() -> int:
        return machine.threads_that_pay(here) if stored is None else stored.recommended.sweep_threads_large

    threads = max(found() if number is None else number for number in asked)
    fitting = usual = max(1, here // threads)
    if stored is not None and any(_is_language_model(spec) for spec in specs):
        usual = min(fitting, stored.recommended.workers_small)  # as many as the memory holds
    if engine == "local":
        workers = min(workers or usual, fitting)
    return Job(
        runs_dir=runs_dir.expanduser().absolute(),
        plugins=tuple(str(Path(file).absolute()) for file in sweep.plugins),
        hosts=consent.allowed(),
        workers=workers or 0,
        threads=min(threads, here),
        retries=retries,
        address=address,
        cpus=sweep.cpus,
        gpus=sweep.gpus,
    )


def _is_language_model(spec: RunSpec) -> bool:
    return issubclass(get_model(spec.model).options, ModelOptions)


def _threads(spec: RunSpec) -> int | None:
    """CPU threads of a cell: what the option says, else one for what is small, None if it was not said."""
    chosen = spec.model_options.get("threads")
    if isinstance(chosen, int) and chosen > 0:
        return chosen
    return None if issubclass(get_model(spec.model).options, PretrainedOptions) else 1


def check_data(specs: Sequence[RunSpec], runs_dir: Path) -> None:
    """Make one problem of each kind, and look at the runs folder, before anything is started or written.

    Raises:
        UserError: the data cannot be read, the ratio cannot be met, or the folder cannot be written.
    """
    from prefbench.problem.problem import apportion
    from prefbench.store.stages import Store

    Store(runs_dir)
    kinds: dict[str, RunSpec] = {}
    for spec in sorted(specs, key=lambda spec: spec.minority_ratio):  # the smallest is the hardest to meet
        kinds.setdefault(repr((spec.task, spec.data, dict(spec.task_options))), spec)
    for spec in kinds.values():
        function = registry.get("task", spec.task).function
        problem = function(spec.data, spec.minority_ratio, spec.seed, **spec.task_options)
        apportion([group.share for group in problem.groups], problem.annotators)


def run_sweep(plan: Plan, job: Job, engine: Engine, quiet: bool, console: Console) -> Result:
    """Run the cells of a plan that are not done, until each of them ended or failed.

    Raises:
        PrefbenchError: something that every cell would meet, such as a full disk.
        KeyboardInterrupt: it was interrupted or asked to end. What is stored stays.
    """
    from prefbench.sweep.progress import progress
    from prefbench.sweep.schedule import Schedule

    started = time.monotonic()
    declare_seeds(job.runs_dir, _seeds_of_boards(plan.specs))
    schedule = Schedule(plan.todo, job.retries)
    with (
        progress(len(plan.specs), len(plan.done), quiet, console) as shown,
        _ended_like_interrupted(),
    ):
        if engine == "ray":
            from prefbench.sweep.ray_cluster import run_ray

            run_ray(schedule, job, shown)
        else:
            from prefbench.sweep.local import run_local

            run_local(schedule, job, shown)
    ended = [(spec, schedule.outcomes[spec.hash]) for spec in plan.todo]
    statuses = Counter(outcome.status for _, outcome in ended)
    return Result(
        cells=len(plan.specs),
        done=statuses["ok"],
        before=len(plan.done) + statuses["before"],
        failed=tuple((spec, out) for spec, out in ended if out.status not in ("ok", "before")),
        seconds=round(time.monotonic() - started, 3),
        times={spec.hash: out.seconds for spec, out in ended if out.status == "ok"},
    )


def _seeds_of_boards(specs: Sequence[RunSpec]) -> dict[str, set[int]]:
    """The seeds of each board that the cells are on, as the leaderboard keeps them."""
    seeds: dict[str, set[int]] = {}
    for spec in specs:
        version = registry.get("task", spec.task).version
        seeds.setdefault(setting_digest(spec.task, version, spec.to_dict()), set()).add(spec.seed)
    return seeds


@contextlib.contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """SIGTERM, which a cluster sends before it kills, stops a sweep as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def to_json(plan: Plan, runs_dir: Path, result: Result | None = None) -> dict[str, Any]:
    """A plan, and what became of it, as JSON values."""
    from prefbench.spec import run_name

    failed = {} if result is None else {spec.hash: outcome for spec, outcome in result.failed}

    def status(spec: RunSpec) -> str:
        if spec.hash in failed:
            return failed[spec.hash].status
        return "ok" if result is not None or spec.hash in plan.done else "to run"

    cells = [
        {
            **spec.to_dict(),
            "spec_hash": spec.hash,
            "folder": str(runs_dir / run_name(spec)),
            "status": status(spec),
            "message": failed[spec.hash].message if spec.hash in failed else None,
            "seconds": None if result is None else result.times.get(spec.hash),
        }
        for spec in plan.specs
    ]
    summary: dict[str, Any] = {"runs_dir": str(runs_dir), "n_cells": len(cells)}
    if result is None:
        summary |= {"done": len(plan.done), "to_run": len(plan.todo), "stages": dict(plan.shared)}
        summary |= {"estimated_seconds": plan.seconds, "untimed": list(plan.untimed)}
    else:
        summary |= {"done": result.done, "done_before": result.before, "failed": len(result.failed)}
        summary |= {"seconds": result.seconds}
    return {**summary, "cells": cells}


def failure_lines(result: Result) -> list[str]:
    """One line for each cell that did not end well."""
    return [f"{outcome.status}: {label(spec)}: {outcome.message}" for spec, outcome in result.failed]
