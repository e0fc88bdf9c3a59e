"""The leaderboard as a CSV file, written and read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.boards.beyond import BEYOND_RATES
from prefbench.boards.columns import (
    BEFORE,
    COLUMNS,
    LATER,
    RATES,
    REGRETS,
    TEXT,
    TEXT_LAST,
    TEXT_LATER,
    WHOLE,
    typed_frame,
)
from prefbench.errors import UserError
from prefbench.files import CSV_BYTES, read_text
from prefbench.store.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _guard(text: str) -> str:
    """Text that a spreadsheet shows rather than runs: an apostrophe before what starts a formula.

    An apostrophe before such a start is doubled, so that reading gives back what was written.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def text_of(text: str) -> str:
    """The text that a cell was written from."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text


def to_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV text, one line per row; numbers as they are, text guarded against formulas."""
    lines = [",".join(frame.columns)]
    missing = frame.isna().to_numpy()
    for i, row in enumerate(frame.itertuples(index=False, name=None)):
        cells = (
            ""
            if missing[i, j]
            else _quoted(_guard(value))
            if isinstance(value, str)
            else repr(_number(value))
            for j, value in enumerate(row)
        )
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """The text of a cell.

    The csv module would leave a lone carriage return bare, which starts a row when read.
    """
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text


def _number(value: Any) -> int | float:
    return int(value) if isinstance(value, int | np.integer) else float(value)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write the leaderboard so that a reader sees the old file or the whole new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_csv(frame))


def read_csv(path: Path) -> pd.DataFrame:
    """A leaderboard that `write_csv` wrote, with the same types.

    Raises:
        UserError: if it is missing, lacks a column, or has text where a number belongs.
    """
    path = Path(path)
    needed = [name for name in COLUMNS if name not in LATER]
    cells = [
        {name: _parse(name, {**BEFORE, **row}.get(name, ""), path, number) for name in COLUMNS}
        for number, row in enumerate(read_cells(path, needed), start=2)
    ]
    return typed_frame(cells)


def read_cells(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    """The cells of a CSV file that `write_csv` wrote, a dictionary by column for each row.

    Raises:
        UserError: it is missing, cannot be read, lacks a column that is needed, or has a row of another
            length.
    """
    try:
        text = read_text(path, CSV_BYTES)
        rows = list(csv.reader(io.StringIO(text, newline="")))  # a carriage return in a cell stays one
    except FileNotFoundError:
        raise UserError(f"no leaderboard at '{path}': make one with `prefbench leaderboard build`.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"leaderboard '{path}' cannot be read ({error}): build it again.") from None
    header, body = (rows[0], rows[1:]) if rows else ([], [])
    lacking = [name for name in needed if name not in header]
    if lacking:
        raise UserError(f"leaderboard '{path}' has no column '{lacking[0]}': build it again.")
    for number, row in enumerate(body, start=2):
        if len(row) != len(header):
            raise UserError(
                f"leaderboard '{path}', row {number}: {len(row)} cells, not {len(header)}: build it again."
            )
    return [dict(zip(header, row, strict=True)) for row in body]


def _parse(name: str, text: str, path: Path, row: int) -> str | int | float | None:
    if name in (*TEXT, *TEXT_LAST, *TEXT_LATER):
        return text_of(text)
    if not text and name != "minority_ratio":
        return None
    number = number_of(text, whole=name in WHOLE)
    if number is None or (name in WHOLE and not 0 < number < 2**53):
        raise UserError(
            f"leaderboard '{path}', row {row}: {name} is {text[:20]!r}, not a number: build it again."
        )
    if name == "minority_ratio" and not 0 < number <= 0.5:
        raise UserError(
            f"leaderboard '{path}', row {row}: {name} is {text}, not in (0, 0.5]: build it again."
        )
    if (name in REGRETS or name.endswith("_sd")) and number < 0:
        raise UserError(f"leaderboard '{path}', row {row}: {name} is {text}, less than 0: build it again.")
    rates = (*RATES, *BEYOND_RATES)
    if name.removesuffix("_low").removesuffix("_high") in rates and not 0 <= number <= 1:
        raise UserError(
            f"leaderboard '{path}', row {row}: {name} is {text}, not a rate between 0 and 1: build it again."
        )
    return number


def number_of(text: str, whole: bool = False) -> int | float | None:
    """The number that a cell was written from; None if it is none, or not whole where that is asked for."""
    try:
        number = float(text)
        if whole:  # pandas and spreadsheets write 3.0 where a column has gaps
            return int(text) if "." not in text else int(number) if number.is_integer() else None
    except ValueError:
        return None
    return number if np.isfinite(number) else None
