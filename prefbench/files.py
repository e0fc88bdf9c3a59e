"""Files that anybody may have written: only regular ones are opened, all are measured before they are read.

A folder that came by mail or from a pull request may hold a pipe that never ends, a link to a device or to
somebody's keys, or five kilobytes that become gigabytes. So a file is opened without waiting and looked at
once it is open; JSON, TOML and CSV are read up to a number of bytes; and of a parquet file the footer is read
first, which says how many rows, columns and bytes there are. What is not taken ends as `UnfitFile`, whose
message completes the sentence "... cannot be read: ".
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from prefbench.parquet_pages import Piece, page_sizes, pieces_of
from prefbench.text import show_bytes

if TYPE_CHECKING:
    import pyarrow as pa

JSON_BYTES = 16 << 20
"""Most bytes of a record, a history, a model's configuration: the largest that were ever made have under one
MiB."""
TOML_BYTES = 128 << 10
"""Most bytes of a run, sweep or gate file, which a person wrote."""
CSV_BYTES = 16 << 20
"""Most bytes of a leaderboard."""
DATA_BYTES = 256 << 20
"""Most bytes of a file of texts, after decompression."""
MOST_VALUES = 10_000_000
"""Most values in a JSON file, or cells in a table: each takes some fifty bytes in Python whatever it says."""
PIECE_BYTES = 1 << 20
"""Bytes that are read at a time."""
MOST_LEVELS = 64
"""Levels of JSON or TOML within each other; Python's own limit is reached at a few hundred."""


class UnfitFile(ValueError):
    """A file that is not taken; the message is the part of a sentence that says why."""


# ------------------------------------------------------------------------------------------- opening


def open_regular(path: Path, within: Path | None = None, writable: bool = False) -> io.BufferedReader:
    """Open a regular file for reading, without ever waiting for somebody to write to it.

    Args:
        path: may be a link.
        within: the folder that the file has to lie in once links are followed.
        writable: open it for writing too, though nothing is written here.

    Raises:
        UnfitFile: it is a pipe, a device, a socket or a folder, or lies elsewhere.
        OSError: it is missing, or may not be read.
    """
    target = _resolved(path, within)
    _refuse_special(os.lstat(target).st_mode)  # opening some devices does something already
    access = os.O_RDWR if writable else os.O_RDONLY
    number = os.open(target, access | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        _refuse_special(os.fstat(number).st_mode)  # somebody may have put another file there
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def open_lock(path: Path) -> TextIO:
    """Open a lock file, and make it where there is none; a link or a pipe in its place is an error.

    Raises:
        OSError: there is something else, or it cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.fdopen(os.open(path, flags, 0o666), "w")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return file


def is_regular(path: Path, within: Path | None = None) -> bool:
    """True if `open_regular` would open this path."""
    try:
        open_regular(path, within).close()
    except (OSError, ValueError):
        return False
    return True


def _resolved(path: Path, within: Path | None) -> str:
    target = os.path.realpath(path)
    if within is not None and not Path(target).is_relative_to(os.path.realpath(within)):
        raise UnfitFile("it is a link out of its folder")
    return target


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def _refuse_special(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((word for test, word in _KINDS if test(mode)), "a link that leads nowhere")
        raise UnfitFile(f"it is {kind}, not a regular file")


def refuse_odd_files(folder: Path, limits: Mapping[str, int]) -> None:
    """Look at the files of a model's folder before somebody else's reader opens them.

    Args:
        folder: of the model; in the hub's cache its files are links to another folder of the same model.
        limits: bytes at most by a name's ending; files with other endings are nobody's business.

    Raises:
        UnfitFile: one is a pipe or a device, leads out of the folder, or is too large; the message names it.
        OSError: one may not be read.
    """
    home = folder.parent.parent if folder.parent.name == "snapshots" else folder
    for path in sorted(folder.iterdir()):
        limit = next((most for ending, most in limits.items() if path.name.endswith(ending)), None)
        if limit is None:
            continue
        try:
            with open_regular(path, home) as file:
                if os.fstat(file.fileno()).st_size > limit:
                    raise UnfitFile(f"it has more than {show_bytes(limit, binary=True)}")
        except FileNotFoundError:
            raise UnfitFile(f"{path.name}: it is a link that leads nowhere") from None
        except UnfitFile as error:
            raise UnfitFile(f"{path.name}: {error}") from None


MODEL_FILES: Mapping[str, int] = {
    "tokenizer.json": 256 << 20,
    ".json": JSON_BYTES,
    ".jinja": 1 << 20,
    ".txt": 64 << 20,
    ".model": 64 << 20,
    ".safetensors": 1 << 40,
    ".gguf": 1 << 40,
}
"""Files that a model's folder holds, with the largest size of each in bytes. Weights are mapped rather than
read."""


# ----------------------------------------------------------------------------------- text, JSON, TOML


def read_bytes(path: Path, limit: int, within: Path | None = None) -> bytes:
    """The whole of a regular file of at most `limit` bytes.

    Raises:
        UnfitFile: it is none, or larger.
        OSError: it is missing, or may not be read.
    """
    with open_regular(path, within) as file:
        size = os.fstat(file.fileno()).st_size
        content = bytearray()
        # In pieces: a read of so many bytes makes room for all of them first.
        while max(size, len(content)) <= limit and (piece := file.read(PIECE_BYTES)):
            content += piece
    if max(size, len(content)) > limit:  # a file may grow, or say that it is empty
        raise UnfitFile(f"it has more than {show_bytes(limit, binary=True)}")
    return bytes(content)


def read_text(path: Path, limit: int, within: Path | None = None, encoding: str = "utf-8") -> str:
    """The whole of a text file, as `read_bytes`."""
    return read_bytes(path, limit, within).decode(encoding)


def read_json(path: Path, limit: int = JSON_BYTES, within: Path | None = None) -> Any:
    """The value of a JSON file: no NaN or infinity, no half surrogate pairs, not too deep.

    Raises:
        UnfitFile: it is no regular file, too large or too deep, or holds what no other program takes.
        ValueError: it is no JSON, or not UTF-8.
        OSError: it is missing, or may not be read.
    """
    return parse_json(read_text(path, limit, within))


def parse_json(text: str, wanted_unicode: bool = True) -> Any:
    """A JSON text with the bounds of `read_json`; texts of a data set need not be Unicode."""
    if sum(map(text.count, ",[{")) > MOST_VALUES:
        raise UnfitFile(f"it has more than {MOST_VALUES:,} values")
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise UnfitFile(f"it has more than {MOST_LEVELS} levels") from None
    refuse_depth(value)
    if wanted_unicode and "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UnfitFile("it has half a surrogate pair, which is no text") from None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def refuse_depth(value: Any) -> None:
    """Raise `UnfitFile` where lists and tables lie within each other too deeply for their use."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise UnfitFile(f"it has more than {MOST_LEVELS} levels")


def read_toml(path: Path, limit: int = TOML_BYTES) -> dict[str, Any]:
    """The value of a TOML file, not too deep.

    Raises:
        UnfitFile: it is no regular file, too large or too deep.
        ValueError: it is no TOML, or not UTF-8.
        OSError: it is missing, or may not be read.
    """
    text = read_text(path, limit)
    # A key of many parts costs the parser the square of their number.
    if any(line.count(".") > 1000 for line in text.split("\n")):
        raise UnfitFile("a line of it has more than 1,000 dots")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise UnfitFile(f"it has more than {MOST_LEVELS} levels") from None
    refuse_depth(table)
    return table


# --------------------------------------------------------------------------------------------- data


class _Bounded(io.RawIOBase):
    """A stream that ends in `UnfitFile` when more than so many bytes have been read from it."""

    def __init__(self, content: io.BufferedIOBase, file: io.BufferedReader, limit: int) -> None:
        self._content, self._file, self._limit, self._left = content, file, limit, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._content.read(min(len(buffer), self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise UnfitFile(f"it has more than {show_bytes(self._limit, binary=True)}")
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_data(path: Path, limit: int = DATA_BYTES, within: Path | None = None) -> io.BufferedReader:
    """Open a file of data, decompressed if its name ends in `.gz`; `UnfitFile` comes after `limit` bytes.

    Raises:
        UnfitFile: it is no regular file.
        OSError: it is missing, or may not be read.
    """
    file = open_regular(path, within)
    unzipped = gzip.GzipFile(fileobj=file) if path.name.lower().endswith(".gz") else file
    return io.BufferedReader(_Bounded(unzipped, file, limit), 1 << 16)


def read_lines(file: io.BufferedReader, longest: int = 64 << 20) -> Iterator[str]:
    """The lines of a UTF-8 file, without a byte order mark; `UnfitFile` if too many or too long."""
    for number in range(MOST_VALUES):
        line = file.readline(longest + 1)
        if not line:
            return
        if len(line) > longest:
            raise UnfitFile(f"line {number + 1} of it has more than {show_bytes(longest, binary=True)}")
        yield line.decode("utf-8-sig" if number == 0 else "utf-8")
    raise UnfitFile(f"it has more than {MOST_VALUES:,} lines")


# ------------------------------------------------------------------------------------------- parquet


@dataclass(frozen=True)
class TableLimits:
    """Largest sizes of a parquet file that is read whole."""

    footer: int = 4 << 20
    """Bytes: it is parsed before anything in it can be checked."""
    columns: int = 512
    row_groups: int = 4096
    rows: int = 2_000_000
    cells: int = 5 * MOST_VALUES
    """Most cells of the columns that are read."""
    content: int = 512 << 20
    """Bytes of the columns that are read, decoded: a text that is stored once may stand in every row."""


TABLE = TableLimits()
_END = b"PAR1"


def read_table(
    path: Path,
    wanted: Callable[[str], bool] = lambda name: True,
    limits: TableLimits = TABLE,
    within: Path | None = None,
    simple_only: bool = False,
) -> pa.Table:
    """The wanted columns of a parquet file that are simple: text, numbers, truth values, dates.

    Args:
        path: of the file.
        wanted: says of a column's name whether it is read. Others are not, whatever is in them.
        limits: on what is read.
        within: the folder that the file has to lie in once links are followed.
        simple_only: leave out wanted columns that are not simple, rather than refuse the file.

    Returns:
        A table without metadata, texts in UTF-8 and no longer coded.

    Raises:
        UnfitFile: it is no regular file, no parquet, damaged, or larger than the limits; or a wanted column
            holds lists or tables.
        OSError: it is missing, or may not be read.
    """
    with open_regular(path, within) as file:
        return table_in(file, wanted, limits, simple_only)


def table_in(
    file: BinaryIO,
    wanted: Callable[[str], bool] = lambda name: True,
    limits: TableLimits = TABLE,
    simple_only: bool = False,
) -> pa.Table:
    """`read_table` of a file that is open, or of bytes in memory."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    footer = _read_footer(file, limits)
    try:
        pieces_by_group = pieces_of(footer)
        source = ParquetFile(file, thrift_string_size_limit=limits.footer)
        names, pieces = _wanted_columns(source, pieces_by_group, wanted, limits, simple_only)
        _check_pages(file, pieces, limits)
        texts = [name for name in names if _is_text(source.schema_arrow.field(name).type)]
        file.seek(0)
        source = ParquetFile(file, read_dictionary=texts, thrift_string_size_limit=limits.footer)
        table = source.read(names, use_threads=False)
        _check_content(table, limits)
        table = pa.table([_plain(column) for column in table.columns], names=table.column_names)
        table.validate(full=True)  # texts are UTF-8
    except UnfitFile:
        raise
    except (OSError, ValueError, KeyError, IndexError, OverflowError, pa.ArrowException) as error:
        raise UnfitFile(f"it is not readable parquet ({' '.join(str(error).split())[:80]})") from None
    return table


def _read_footer(file: BinaryIO, limits: TableLimits) -> bytes:
    """The footer, which is there and not too large to be parsed."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    end = file.read(8)
    length = int.from_bytes(end[:4], "little")
    if len(end) < 8 or end[4:] != _END or length > size - 12:
        raise UnfitFile("it is not readable parquet (its end is missing)")
    if length > limits.footer:
        raise UnfitFile(
            f"its footer has more than {show_bytes(limits.footer, binary=True)}: too many columns"
        )
    file.seek(size - 8 - length)
    footer = file.read(length)
    file.seek(0)
    return footer


def _wanted_columns(
    source: Any,
    pieces: list[list[Piece]],
    wanted: Callable[[str], bool],
    limits: TableLimits,
    simple_only: bool,
) -> tuple[list[str], list[Piece]]:
    """Names and pieces of the columns to read, after what the footer says of their sizes."""
    facts = source.metadata
    groups = [facts.row_group(i) for i in range(min(facts.num_row_groups, limits.row_groups + 1))]
    rows = max(facts.num_rows, sum(group.num_rows for group in groups))
    for what, found, most in (
        ("columns", facts.num_columns, limits.columns),
        ("row groups", facts.num_row_groups, limits.row_groups),
        ("rows", rows, limits.rows),
    ):
        if not 0 <= found <= most:
            raise UnfitFile(f"it has {found:,} {what}, at most {most:,} are read")
    schema = source.schema_arrow
    names = [name for name in schema.names if wanted(name)]
    if simple_only:
        names = [
            name for name in names if schema.names.count(name) > 1 or _is_simple(schema.field(name).type)
        ]
    for name in names:
        if schema.names.count(name) > 1:
            raise UnfitFile(f"it has two columns '{name}'")
        kind = schema.field(name).type
        if not _is_simple(kind):
            raise UnfitFile(f"its column '{name}' holds {kind}, not simple values")
    by_name = [{piece.path: piece for piece in group} for group in pieces]
    chunks = [group[name] for group in by_name for name in names]
    if len(names) * rows > limits.cells or sum(chunk.values for chunk in chunks) > limits.cells:
        raise UnfitFile(f"it has {rows:,} rows of {len(names)} columns, more than {limits.cells:,} values")
    sizes = [max(chunk.size, chunk.compressed) for chunk in chunks]
    if sum(sizes) > limits.content or min(sizes, default=0) < 0:
        raise UnfitFile(f"it has more than {show_bytes(limits.content, binary=True)} of content")
    return names, chunks


def _check_pages(file: BinaryIO, pieces: Iterable[Piece], limits: TableLimits) -> None:
    """The pages themselves are no larger than the footer said."""
    total = 0
    for piece in pieces:
        for size in page_sizes(file, piece.start, piece.compressed):
            total += size
            if total > limits.content:
                raise UnfitFile(f"it has more than {show_bytes(limits.content, binary=True)} of content")


def _is_simple(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_primitive(kind) or pa.types.is_null(kind) or _is_text(kind)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind))


def _check_content(table: pa.Table, limits: TableLimits) -> None:
    """The columns are not larger once every row has its own copy of its text."""
    import numpy as np  # noqa: PLC0415  (a sweep's workers first say how many threads it takes)
    import pyarrow as pa
    import pyarrow.compute as pc

    total = 0
    for column in table.columns:
        for chunk in column.chunks:
            if pa.types.is_dictionary(chunk.type):
                lengths = pc.binary_length(chunk.dictionary).fill_null(0).to_numpy(zero_copy_only=False)
                used = chunk.indices.drop_null().to_numpy(zero_copy_only=False)
                total += int(lengths.astype(np.int64)[used].sum()) + 8 * len(chunk)
            else:
                total += chunk.nbytes
    if total > limits.content:
        raise UnfitFile(
            f"it has more than {show_bytes(limits.content, binary=True)} of content once it is decoded"
        )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as themselves rather than as numbers into a list of different ones."""
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
