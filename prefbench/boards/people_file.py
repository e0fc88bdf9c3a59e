"""People's figures of a board as a frame and a CSV file: a row for each configuration and stratum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench.boards.columns import DECIMALS
from prefbench.boards.csv_file import number_of, read_cells, text_of
from prefbench.boards.names import config_hash, joined, setting_key, tuning_of, variant
from prefbench.boards.people import MEASURES, Difference, PeopleFigures, PeopleRow, people_rows
from prefbench.boards.rows import Row
from prefbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_TEXT = (
    *("board", "task", "model", "data", "setting", "aligner", "options", "needs", "sees", "role"),
    *("seeds", "tuning", "config_hash", "known", "context", "worst_group", "single", "single_hash"),
    *("beats_single_from", "control"),
)
_WHOLE = ("n_seeds", "numerics", "n", "people")
_SIGNED = ("minus_single", "own_minus")
PEOPLE_COLUMNS = (
    *("board", "task", "model", "data", "setting", "minority_ratio", "aligner", "options", "needs", "sees"),
    *("role", "n_seeds", "seeds", "numerics", "tuning", "config_hash"),
    *("known", "n", "context", "people", "worst_group"),
    *(f"{name}{end}" for name in MEASURES for end in ("", "_low", "_high")),
    *("kl", "single", "single_hash", "beats_single_from"),
    *("minus_single", "minus_single_low", "minus_single_high", "minus_single_p"),
    *("control", "own_minus", "own_minus_low", "own_minus_high", "room_single", "room_own"),
)
"""Columns, in order. `board` names what may be compared; `setting` has the options of task, model and
evaluation that are not defaults, and `options` the aligner's. `known` is `seen` or `unseen`, `n` the pairs
that are known of the unseen, `context` whose they are. `single` is the best single policy of the board;
`minus_single` is the worst group less that one's, with p corrected by Holm over `n`, and `beats_single_from`
the least n at which it is beaten. `control` is the answer of a control, and `own_minus` the win rate with
the own context less that with the control's. `room_single` and `room_own` are the ends of the exact room in
values V, means over seeds."""


def beside(path: Path) -> Path:
    """The file of people's figures beside a leaderboard's file."""
    return path.with_name(f"{path.stem}-people{path.suffix}")


def people_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The frame of a board's rows; without rows where it matters nowhere who is answered."""
    return _typed(cells for row in people_rows(rows) for cells in _rows_of(row))


def _typed(cells: Iterable[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(list(cells), columns=list(PEOPLE_COLUMNS))
    for name in PEOPLE_COLUMNS:
        if name in _TEXT:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), "").astype(str).astype("str")
        else:
            frame[name] = pd.to_numeric(frame[name]).astype("Int64" if name in _WHOLE else "float64")
    return frame


def _rows_of(row: PeopleRow) -> list[dict[str, Any]]:
    first = row.row.first
    single = None if row.single is None else row.single.first
    named = {
        "board": setting_key(first),
        "task": f"{first.task}@{first.task_version}",
        "model": first.model,
        "data": first.data,
        "setting": variant(first, ("task", "model", "evaluate")),
        "minority_ratio": first.minority_ratio,
        "aligner": first.aligner,
        "options": variant(first, ("aligner",)),
        "needs": " ".join(first.needs) or "nothing",
        "sees": " ".join(first.sees) or "nothing",
        "role": "best single policy" if row.is_single else row.role,
        "n_seeds": len(row.row.records),
        "seeds": joined(row.row.records),
        "numerics": row.row.numerics,
        "tuning": tuning_of(first),
        "config_hash": config_hash(first.spec),
        "single": None if single is None else single.aligner,
        "single_hash": None if single is None else config_hash(single.spec),
        "beats_single_from": row.beats,
        "room_single": None if row.room is None else _rounded(row.room.single),
        "room_own": None if row.room is None else _rounded(row.room.own),
    }
    return [named | _cells(each) for each in row.strata]


def _cells(each: PeopleFigures) -> dict[str, Any]:
    cells: dict[str, Any] = {
        "known": "seen" if each.known.seen else "unseen",
        "n": each.known.n,
        "context": each.known.context,
        "people": each.people,
        "worst_group": each.worst_group,
        "kl": None if each.kl is None else _rounded(each.kl),
        "control": each.answer,
    }
    for name, (estimate, interval) in each.figures.items():
        cells |= _bounded(name, estimate, interval)
    for name, difference in (("minus_single", each.minus_single), ("own_minus", each.own_minus)):
        if difference is not None:
            cells |= _difference(name, difference)
    return cells


def _difference(name: str, difference: Difference) -> dict[str, float]:
    cells = _bounded(name, difference.estimate, difference.interval)
    if name == "minus_single" and difference.p_value is not None:
        cells[f"{name}_p"] = _rounded(difference.p_value)
    return cells


def _bounded(name: str, estimate: float, interval: tuple[float, float] | None) -> dict[str, float]:
    cells = {name: _rounded(estimate)}
    if interval is not None:
        cells |= {f"{name}_low": _rounded(interval[0]), f"{name}_high": _rounded(interval[1])}
    return cells


def _rounded(value: float) -> float:
    return round(value, DECIMALS) + 0.0  # no minus before a zero


def read_people(path: Path) -> pd.DataFrame:
    """A file that `csv_file.write_csv` wrote of `people_frame`, with the same types.

    Raises:
        UserError: it is missing, lacks a column, or has something else where a number belongs.
    """
    cells = []
    for number, row in enumerate(read_cells(Path(path), PEOPLE_COLUMNS), start=2):
        cells.append({name: _read(name, row[name], path, number) for name in PEOPLE_COLUMNS})
    return _typed(cells)


def _read(name: str, text: str, path: Path, row: int) -> str | int | float | None:
    if name in _TEXT:
        return text_of(text)
    if not text and name != "minority_ratio":
        return None
    value = number_of(text, whole=name in _WHOLE)
    least = -1 if name.startswith(_SIGNED) else 0
    most = 1 if name.startswith((*MEASURES, *_SIGNED)) else 2**53
    wide = name.startswith(("room", "kl"))
    if value is None or not (wide or least <= value <= most):
        raise UserError(f"'{path}', row {row}: {name} is {text[:20]!r}, no such number: build it again.")
    return value
