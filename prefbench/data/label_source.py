"""Tables of labels where a user names them: a file, a folder of files, or a data set of the hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from prefbench.data.comparisons import existing
from prefbench.data.files import SUFFIXES, Columns, is_hub_trouble, read_columns, refuse_way_out
from prefbench.errors import UserError
from prefbench.registry import suggest
from prefbench.text import message_or_type

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_SPLITS = ("train", "validation", "valid", "dev", "test")


def read_labels(data: str) -> tuple[str, Columns]:
    """All rows that `data` names, with the source's own name; a published split is not kept.

    Args:
        data: a parquet, csv or jsonl file; a folder with one of them, or with a file for each split, maybe
            within `data`, as `prefbench export` writes it; or the id of a data set of the hub.

    Raises:
        UserError: it cannot be found, reached or read, or two columns of one file have one name.
    """
    if not Path(data).expanduser().exists() and _HUB_ID.fullmatch(data):
        return data, from_hub(data)
    path = existing(
        data, "a table of labels (parquet, csv or jsonl), a folder of it, or OWNER/NAME of the hub"
    )
    source = path.resolve().name
    if path.is_file():
        return source, _checked(read_columns(path, "labels"), path.name)
    inner = path / "data"
    files = split_files(inner if inner.is_dir() and not split_files(path) else path)
    if not files:
        raise UserError(
            f"{data!r:.300} holds no table of labels: name a folder with one parquet, csv or jsonl file, or "
            "with a file for each of train, validation and test."
        )
    for file in files:
        refuse_way_out(path, file)
    return source, joined(_checked(read_columns(file, "labels"), file.name) for file in files)


def split_files(folder: Path) -> list[Path]:
    """The one table in a folder, or those that are called as splits are."""
    try:
        found = sorted(p for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES) and p.is_file())
    except OSError as error:
        raise UserError(
            f"{str(folder)!r:.300} could not be read ({message_or_type(error)}): name another table."
        ) from error
    if len(found) == 1:
        return found
    return [p for p in found if re.split(r"[.-]", p.name.lower(), maxsplit=1)[0] in _SPLITS]


def joined(tables: Iterable[Columns]) -> Columns:
    """Tables one below the other; a column that one lacks has no values there."""
    whole: Columns = {}
    length = 0
    for table in tables:
        size = len(next(iter(table.values()), []))
        for name in whole.keys() | table.keys():
            whole.setdefault(name, [None] * length).extend(table.get(name, [None] * size))
        length += size
    return whole


def from_hub(hub_id: str, config: str | None = None, splits: Iterable[str] | None = None) -> Columns:
    """Splits of a data set of the hub, all unless some are named, one below the other.

    Raises:
        UserError: it cannot be reached or read.
    """
    try:
        import datasets

        loaded = datasets.load_dataset(hub_id, config)
        wanted = loaded.keys() if splits is None else [name for name in splits if name in loaded]
        return joined(dict(loaded[name].to_dict()) for name in wanted)
    except Exception as error:
        if not is_hub_trouble(error):
            raise
        raise UserError(
            f"{hub_id!r:.100} is no file or folder here and could not be fetched from the hub "
            f"({message_or_type(error)}): use --data with the path of a table."
        ) from error


def _checked(columns: Columns, name: str) -> Columns:
    # A csv reader renames the second of two columns of one name.
    twice = next((each for each in columns if f"{each}.1" in columns), None)
    if twice is not None:
        raise UserError(f"{name!r} has two columns {twice!r:.60}: rename or remove one of them.")
    if not columns or not len(next(iter(columns.values()))):
        raise UserError(f"{name!r} holds no rows: name a table with labels in it.")
    return columns


def lacking(source: str, column: str, columns: Mapping[str, object], mend: str) -> UserError:
    """The refusal of a table without a column, with the nearest that it has."""
    lists = " Columns of lists are read from jsonl." if source.endswith(".parquet") else ""
    return UserError(f"{source!r} has no column {column!r:.60}.{suggest(column, columns)} {mend}{lists}")
