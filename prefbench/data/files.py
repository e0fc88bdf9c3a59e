"""Tables that a user names: parquet, csv and jsonl files as columns of Python values.

What cannot be read ends as one `UserError` that names the way out; nothing outside the file or folder that
the user named is ever opened.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prefbench import files
from prefbench.errors import UserError
from prefbench.text import message_or_type

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json", ".json.gz")
# What a damaged, truncated or mislabelled file raises in the readers used below; ValueError covers
# undecodable text and the errors of json, pandas and pyarrow.
UNREADABLE = (OSError, ValueError, EOFError, zlib.error)

Columns = dict[str, list[object]]


def is_hub_trouble(error: Exception) -> bool:
    """True if `error` is the network's or the cache's doing rather than a mistake in this package."""
    # Being offline, a missing repository and HTTP errors are OSErrors (ConnectionError among them); a
    # broken cache is a DatasetsError or a ValueError; what the HTTP client raises itself is neither.
    from datasets.exceptions import DatasetsError

    is_http = type(error).__module__.split(".")[0].startswith(("httpx", "httpcore", "huggingface_hub"))
    return is_http or isinstance(error, (OSError, ValueError, DatasetsError))


def _suffix(path: Path) -> str | None:
    """The known extension that `path` ends in, the longest first; None where there is none."""
    name = path.name.lower()
    return max((s for s in SUFFIXES if name.endswith(s)), key=len, default=None)


def refuse_way_out(folder: Path, path: Path) -> None:
    """Raise where `path`, its links followed, lies outside `folder`: the user named that and no more."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{str(path)!r} is a link out of the folder: copy its target in, or name the target.")


def read_columns(path: Path, what: str = "reviews") -> Columns:
    """All columns of a parquet, csv or jsonl file of `what` as Python values.

    Raises:
        UserError: the file is of another kind, empty or damaged.
    """
    suffix = _suffix(path)
    if suffix is None:
        known = ", ".join(SUFFIXES)
        raise UserError(f"{path.name!r}: {what} are read from {known}; convert the file, or rename it.")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path.name!r} is empty: name a file with {what} in it.")
        if suffix == ".parquet":
            columns: Columns = files.read_table(path, simple_only=True).to_pydict()
            return columns
        return _read_csv(path) if suffix.startswith(".csv") else _read_json_lines(path)
    except UNREADABLE as error:
        raise UserError(
            f"{path.name!r} is not readable as {suffix[1:]} ({message_or_type(error)}): write it again."
        ) from error


def _read_csv(path: Path) -> Columns:
    import pandas as pd

    # Everything stays text: a review that reads "NA" or "7" is a review.
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8"}
    with files.open_data(path) as file:
        width = len(pd.read_csv(file, nrows=0, **options).columns)
    most = files.MOST_VALUES // max(width, 1)
    with files.open_data(path) as file:
        frame = pd.read_csv(file, nrows=most + 1, **options)
    if width > files.TABLE.columns or len(frame) > most:
        raise files.UnfitFile(
            f"it has more than {files.TABLE.columns} columns or {files.MOST_VALUES:,} cells"
        )
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes the surplus for row names, silently
        raise ValueError("rows have more fields than the header: put reviews with commas in quotes")
    return {str(name): frame[name].tolist() for name in frame.columns}


def _read_json_lines(path: Path) -> Columns:
    rows = list(_json_objects(path))
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _json_objects(path: Path) -> Iterator[dict[str, object]]:
    left = files.MOST_VALUES
    with files.open_data(path) as file:
        if file.peek(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
            yield from _listed(file.read().decode("utf-8-sig"))
            return
        for number, line in enumerate(files.read_lines(file), start=1):
            if not line.strip():
                continue
            left -= line.count(",")
            if left < 0:
                raise files.UnfitFile(f"it has more than {files.MOST_VALUES:,} values")
            try:
                row = files.parse_json(line, wanted_unicode=False)
            except ValueError as error:
                raise ValueError(f"line {number} is not JSON; one object a line is wanted") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not a JSON object")
            yield row


def _listed(text: str) -> Iterator[dict[str, object]]:
    """The objects of a JSON list, in a file that holds nothing else."""
    for number, row in enumerate(files.parse_json(text, wanted_unicode=False), start=1):
        if not isinstance(row, dict):
            raise ValueError(f"item {number} is not a JSON object")
        yield row
