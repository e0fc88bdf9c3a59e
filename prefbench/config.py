"""Files that people write, for runs, sweeps, tuning and gates, and one way to say what is wrong in them.

Each is a model with a type for every key. A type refuses a value with words that follow the key's name, as in
`seed = -1 is not a whole number from 0 up or a list of such.`; `checked` says in which file and table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from prefbench.errors import PrefbenchError, UserError
from prefbench.registry import suggest
from prefbench.spec import parse_ratio, read_toml

MOST_CELLS = 100_000
"""The most cells of a sweep, and so the most seeds that a grid may ask for."""


class FileTable(BaseModel):
    """A table of a file; a key that it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def given(self) -> dict[str, Any]:
        """The keys that the file has, with their values."""
        return {key: getattr(self, key) for key in type(self).model_fields if key in self.model_fields_set}


AnyTable = TypeVar("AnyTable", bound=FileTable)


# ---------------------------------------------------------------------------------- types of values


def _refusal(words: str) -> PydanticCustomError:
    """An error whose words follow the name of a key."""
    return PydanticCustomError("refused", "{words}", {"words": words})


def _refuse_other(value: Any, kinds: tuple[type, ...], words: str) -> None:
    fits = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
    huge = float in kinds and isinstance(value, int) and abs(value) > 10**18  # no float need be so large
    if huge or not fits:
        raise _refusal(f" = {'that number' if huge else repr(value)} is not {words}.")


def _one(words: str, *kinds: type) -> BeforeValidator:
    """A single value of one of these kinds."""

    def check(value: Any) -> Any:
        _refuse_other(value, kinds, words)
        return value

    return BeforeValidator(check)


def _several(words: str, *kinds: type, empty: bool = False) -> Callable[[Any], tuple[Any, ...]]:
    """A value of one of these kinds, or a list of them, as a tuple."""

    def check(value: Any) -> tuple[Any, ...]:
        values = value if isinstance(value, list) else [value]
        if not values and not empty:
            raise _refusal(" is an empty list: give it a value or leave it out.")
        for item in values:
            _refuse_other(item, kinds, f"{words} or a list of such")
        return tuple(values)

    return check


def _share(value: Any) -> float:
    try:
        return parse_ratio(value)
    except PrefbenchError as error:
        raise _refusal(f": {error}") from None


def _shares(value: Any) -> tuple[float, ...]:
    return tuple(_share(item) for item in _several(f"{RATIO},", str, int, float)(value))


def _seeds(value: Any) -> tuple[int, ...]:
    words = "a whole number from 0 up"
    values = _several(words, int)(value)
    for item in values:
        if item < 0:
            raise _refusal(f" = {item!r} is not {words} or a list of such.")
    return values


def _one_seed(value: Any) -> int:
    if isinstance(value, list):
        raise _refusal(f" = {value!r} is not one whole number from 0 up.")
    return _seeds(value)[0]


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_CELLS:
        raise _refusal(
            f" = {value!r} is not a whole number from 1 up: it is how many, and a list of them is called "
            "seed."
        )
    return value


def _strengths(value: Any) -> int | tuple[float, ...]:
    words = "a whole number from 2 up, or a list of positive numbers"
    if isinstance(value, int) and not isinstance(value, bool) and 2 <= value <= MOST_CELLS:
        return value
    numbers = value if isinstance(value, list) else []
    good = [isinstance(one, int | float) and not isinstance(one, bool) for one in numbers]
    if not numbers or not all(good) or not all(0 < one < 1e18 for one in numbers):
        raise _refusal(f" = {value!r} is not {words}.")
    return tuple(float(one) for one in numbers)


def _amount(value: Any) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good or not 0 <= value < 10_000:
        raise _refusal(f" = {value!r} is not a number of them.")
    return float(value)


def _folder(value: Any) -> str:
    if not (isinstance(value, str) and value):
        raise _refusal(f" = {value!r} is not the name of a folder.")
    return value


def _file(value: Any) -> str:
    if not (isinstance(value, str) and value and "\0" not in value):
        raise _refusal(f" = {value!r} is not the name of a file.")
    return value


def _files(value: Any) -> list[str]:
    _refuse_other(value, (list,), "a list")
    if not all(isinstance(file, str) and "\0" not in file for file in value):
        raise _refusal(" is not a list of file names.")
    return list(value)


def _file_or_files(value: Any) -> list[str]:
    return _files(list(_several("text in quotes", str, empty=True)(value)))


def _sections(value: Any) -> dict[str, dict[str, Any]]:
    how = "is not a table: write [set.task] and below it its options."
    if not isinstance(value, dict):
        raise _refusal(f" {how}")
    for section, options in value.items():
        if not isinstance(options, dict):
            raise _refusal(f".{section} {how}")
    return value


RATIO = "a number or text such as '4:1'"
Text = Annotated[str, _one("text in quotes", str)]
Whole = Annotated[int, _one("a whole number", int)]
Number = Annotated[float, _one("a number", int, float)]
Flag = Annotated[bool, _one("true or false", bool)]
Share = Annotated[float, BeforeValidator(_share), _one(RATIO, str, int, float)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_several("text in quotes", str))]
Shares = Annotated[tuple[float, ...], BeforeValidator(_shares)]
Seeds = Annotated[tuple[int, ...], BeforeValidator(_seeds)]
Sections = Annotated[dict[str, dict[str, Any]], BeforeValidator(_sections)]


# ------------------------------------------------------------------------------------------- files


class RunFile(FileTable):
    """`prefbench run --config`; `prefbench.spec.make_spec` judges the ratio, which may also be typed."""

    task: Text | None = None
    aligner: Text | None = None
    policy: Text | None = None
    """A policy from outside in an aligner's place, `KIND:SOURCE`."""
    model: Text | None = None
    data: Text | None = None
    minority_ratio: Annotated[str | int | float, _one(RATIO, str, int, float)] | None = None
    seed: Whole | None = None
    seeds: Whole | None = None
    runs_dir: Text | None = None
    tuned: Text | None = None
    plugin: Annotated[list[str], BeforeValidator(_files)] | None = None
    set: Sections | None = None


class CellsTable(FileTable):
    """Names, values and options of cells: what `[[exclude]]` leaves out."""

    task: Texts | None = None
    aligner: Texts | None = None
    model: Texts | None = None
    data: Texts | None = None
    minority_ratio: Shares | None = None
    seed: Seeds | None = None
    set: Sections = {}


class GridTable(CellsTable):
    """`[[grid]]`: every combination of its values."""

    policy: Texts | None = None
    """Policies from outside beside the aligners, each `KIND:SOURCE`."""
    seeds: Annotated[int, BeforeValidator(_count)] | None = None
    strengths: Annotated[int | tuple[float, ...], BeforeValidator(_strengths)] | None = None
    """Values of each aligner's strength, or how many of them over the range that it declares."""


class Resources(FileTable):
    """`[resources]`: what a cluster sets aside for a cell."""

    cpus: Annotated[float, BeforeValidator(_amount)] = 1.0
    gpus: Annotated[float, BeforeValidator(_amount)] = 0.0


class SweepFile(GridTable):
    """`prefbench sweep`; what stands outside the tables holds for each of them."""

    runs_dir: Annotated[str, BeforeValidator(_folder)] | None = None
    tuned: Annotated[str, BeforeValidator(_file)] | None = None
    """A file that `tune` wrote, whose options its aligners take."""
    plugin: Annotated[list[str], BeforeValidator(_file_or_files)] = []
    grid: list[GridTable] = []
    exclude: list[CellsTable] = []
    resources: Resources = Field(default_factory=Resources)


class TuneFile(FileTable):
    """`prefbench tune`: a problem, aligners, and how much each of them may try."""

    task: Text
    aligner: Texts = ("all",)
    """Names, or `all`: every learner that fits the task."""
    model: Text | None = None
    data: Text = "synthetic"
    minority_ratio: Share = parse_ratio("10:1")
    """The one ratio that is tuned at, where groups are hardest to please together."""
    configurations: Annotated[int, BeforeValidator(_count)] = 16
    """Configurations of each aligner, its defaults among them."""
    seed: Seeds = (100, 101, 102)
    """Seeds of the rungs of halving, which no result is reported on."""
    search_seed: Annotated[int, BeforeValidator(_one_seed)] = 0
    """Seed of the draws of configurations."""
    set: Sections = {}
    runs_dir: Annotated[str, BeforeValidator(_folder)] | None = None
    plugin: Annotated[list[str], BeforeValidator(_file_or_files)] = []
    resources: Resources = Field(default_factory=Resources)


class Check(FileTable):
    """`[[check]]` of a gate file: a metric, how much of it may be lost, and in which rows."""

    metric: Text = "minority_win_rate"
    """One of `prefbench.boards.gate_file.GATE_METRICS`, or `group/NAME`."""
    margin: Number = 0.03
    """The drop that is tolerated, a share (0.05 is five points)."""
    task: Text | None = None
    """Task of the rows, `name` or `name@version`; None for any."""
    aligner: Text | None = None
    """Aligner of the rows; None for any."""
    minority_ratio: Share | None = None
    """Share of the rows; None for any."""


class GateFile(FileTable):
    """`prefbench gate --config`; None where the file does not say."""

    level: Number | None = None
    strict: Flag | None = None
    allow_undecided: Flag | None = None
    prompts_only: Flag | None = None
    check: list[Check] = []


class WishTable(FileTable):
    """`[[group]]` of a groups file: a group's name and, in one of four ways, what it wants of a response."""

    name: Text
    utility: Text | None = None
    """A utility of the text alone, one of `prefbench.problem.utilities.named.UTILITIES`."""
    judge: Text | None = None
    """A sentence that a language model judges by."""
    reward_model: Text | None = None
    """Folder or hub id of a sequence classifier with one logit."""
    function: Text | None = None
    """`FILE.py:NAME` of a function of prompts and responses; code, so that it needs leave."""
    less: Flag = False
    """True for the opposite of the utility, reward or function."""
    margin: Number | None = None
    """The share below one half that this group may be won by less often; None for the file's."""


class JudgeTable(FileTable):
    """`[judge]` of a groups file: the server that is asked for the groups with a sentence."""

    model: Text
    url: Text = "http://127.0.0.1:8000/v1"
    max_tokens: Whole = 256
    concurrency: Whole = 8


class GroupsFile(FileTable):
    """`prefbench compare-models --groups`; None where the file does not say."""

    margin: Number | None = None
    level: Number | None = None
    strict: Flag | None = None
    allow_undecided: Flag | None = None
    group: list[WishTable] = []
    judge: JudgeTable | None = None


# ------------------------------------------------------------------------------------------ reading


def read(kind: type[AnyTable], path: str, named: str = "--config ", hint: str = "") -> AnyTable:
    """A file as its model; errors call it `named` and its path, and end with a hint where it is missing.

    Raises:
        UserError: one line on the first thing that is wrong.
    """
    return checked(kind, read_toml(path, named, hint), f"{named}{path}")


def checked(kind: type[AnyTable], table: Mapping[str, Any], where: str) -> AnyTable:
    """A table as its model.

    Raises:
        UserError: one line on the first thing that is wrong; an unknown key before a wrong value.
    """
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        found = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        raise UserError(_told(kind, found[0], where)) from None


def _told(kind: type[FileTable], error: ErrorDetails, where: str) -> str:
    *tables, key = error["loc"]
    if error["type"] == "extra_forbidden":
        return f"{_place(where, tables)}: unknown key '{key}'.{suggest(str(key), _keys(kind, tables))}"
    if error["type"] == "list_type":
        return f"{where}: {key} is not a list of tables: write [[{key}]] and below it its keys."
    if error["type"] == "model_type":
        header = f"[[{tables[-1]}]]" if tables else f"[{key}]"
        return f"{_place(where, error['loc'])} is not a table: write {header} and below it its keys."
    if len(tables) > 1:  # in one of several tables, which have a number
        return f"{_place(where, tables)}: {key}{error['msg']}"
    return f"{where}: {'.'.join(map(str, error['loc']))}{error['msg']}"


def _place(where: str, loc: Sequence[int | str]) -> str:
    """A file and one of its tables: `sweep.toml: [[grid]] 2` or `sweep.toml: [resources]`."""
    if not loc:
        return where
    return f"{where}: [[{loc[0]}]] {int(loc[1]) + 1}" if len(loc) > 1 else f"{where}: [{loc[0]}]"


def _keys(kind: type[FileTable], tables: Sequence[int | str]) -> list[str]:
    """The keys of a file, or of the table in it that a place names."""
    if not tables:
        return list(kind.model_fields)
    inner: Any = kind.model_fields[str(tables[0])].annotation
    return list((inner.__args__[0] if len(tables) > 1 else inner).model_fields)
