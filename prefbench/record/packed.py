"""A board in one file: all records and their evidence, with what runs share stored once.

It is a zip file of a few members with fixed names: `board.json` says which runs there are and where the rows
of each lie, another member has a record a line, and of every kind of evidence there are two parquet files
for each set of columns, `own` with the rows of all runs one after the other and `shared` with prompts and
reference responses, which runs of one seed have in common. A run in it is a path below the file,
`board.zip/NAME`, which `read_record` and `read_evidence` understand as if the run had a folder there.

Anybody may have written such a file: it is measured before it is read, nothing of it is written anywhere, and
the rows of runs must tile the tables, so that few bytes cannot stand for many runs.
"""

from __future__ import annotations

import functools
import io
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from prefbench.errors import UserError
from prefbench.files import JSON_BYTES, UnfitFile, parse_json, read_bytes, table_in
from prefbench.text import one_line, show_bytes

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".zip"
INDEX, RECORDS = "board.json", "records.jsonl"
BOARD_BYTES = 128 << 20
"""Most bytes of the whole file; published boards have under 15 MiB."""
MEMBERS = 512
"""Most members of the file."""
RUNS = 20_000
"""Most runs in it."""
_MEMBER = re.compile(r"board\.json|records\.jsonl|[a-z_]+-\d{1,3}-(?:own|shared)\.parquet")
_END = struct.Struct("<4s4H2LH")
"""The end of a zip file without a comment: signature, disks, members, bytes and place of the directory."""
_DIRECTORY_BYTES = MEMBERS * 256
_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,250}$"

_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OverflowError)
"""Errors of the reader of zip files."""

Place = Annotated[int, Field(ge=0, le=1 << 40, strict=True)]


class _IndexPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EvidenceRows(_IndexPart):
    """The rows of one run's evidence of one kind."""

    table: Annotated[int, Field(ge=0, lt=100, strict=True)]
    """Number of the pair of tables, of this kind of evidence."""
    own: Place
    """First row in the table of the runs' own columns."""
    shared: Place
    """First row in the other one."""
    rows: Place
    """Number of rows in both."""


class PackedRun(_IndexPart):
    """One run: where its evidence lies. Its record is the line of the same number."""

    name: Annotated[str, Field(pattern=_NAME)]
    """Name of its folder."""
    evidence: dict[str, EvidenceRows]
    """By the name of the file that it was."""


class Index(_IndexPart):
    """The content of `board.json`."""

    format: Literal[1] = 1
    """Version of this format."""
    columns: dict[str, tuple[tuple[str, ...], ...]]
    """Columns in order, by the name of a file of evidence, of each pair of its tables."""
    runs: Annotated[tuple[PackedRun, ...], Field(max_length=RUNS)]
    declared: dict[str, tuple[Place, ...]]
    """Seeds of boards that a sweep declared, by setting."""


def member(file: str, number: int, side: str) -> str:
    """Name of the table in which a file of evidence lies, `side` being own or shared."""
    return f"{file.partition('.')[0]}-{number}-{side}.parquet"


@dataclass(frozen=True)
class Board:
    """A packed board, read as far as it was asked for."""

    index: Index
    runs: Mapping[str, PackedRun]
    """The runs by name."""
    records: Mapping[str, str]
    """Text of each run's record, by name."""
    _content: bytes
    _tables: dict[str, pa.Table]

    def table(self, run: str, file: str, wanted: Callable[[str], bool]) -> pa.Table:
        """Wanted columns of a run's evidence.

        Raises:
            FileNotFoundError: the run has none of this kind.
            UnfitFile: the tables are damaged, too large, or not those that the index says.
        """
        import pyarrow as pa

        if run not in self.runs or file not in self.runs[run].evidence:
            raise FileNotFoundError(file)
        found = self.runs[run].evidence[file]
        sides = {
            side: self._whole(member(file, found.table, side)).slice(start, found.rows)
            for side, start in (("own", found.own), ("shared", found.shared))
        }
        columns = self.index.columns[file][found.table]
        if any(len(side) != found.rows for side in sides.values()):
            raise UnfitFile("its tables have fewer rows than its index says")
        by_name = {name: side.column(name) for side in sides.values() for name in side.column_names}
        if sorted(by_name) != sorted(columns):
            raise UnfitFile("its tables have other columns than its index says")
        names = [name for name in columns if wanted(name)]
        return pa.table([by_name[name] for name in names], names=names)

    def _whole(self, name: str) -> pa.Table:
        if name not in self._tables:
            self._tables[name] = table_in(io.BytesIO(_read(_archive(self._content), name)))
        return self._tables[name]


def board_at(path: Path) -> Board | None:
    """The packed board at a path; None where the path is no file with its ending.

    Raises:
        UserError: it is damaged, too large, or something else.
    """
    path = Path(path)
    if path.suffix != SUFFIX or path.is_dir() or not os.path.lexists(path):
        return None
    try:
        state = os.stat(path)
        return _opened(str(path), state.st_mtime_ns, state.st_size, state.st_ino)
    except UnfitFile as error:
        raise UserError(f"board '{path}' cannot be read: {error}; name another, or pack it again.") from None
    except OSError as error:
        raise UserError(f"board '{path}' cannot be read: {error.strerror}; make it readable.") from None
    except ValueError as error:
        said = one_line(error).rstrip(".")[:80]
        raise UserError(f"board '{path}' is damaged ({said}): pack it again.") from None


def board_of(run: Path) -> Board | None:
    """The packed board that a run's path lies in; None where it has a folder of its own."""
    return board_at(Path(run).parent)


@functools.lru_cache(maxsize=2)
def _opened(path: str, *_state: int) -> Board:
    content = read_bytes(Path(path), BOARD_BYTES)
    _check_end(content)
    archive = _archive(content)
    names = archive.namelist()
    odd = [name for name in names if not _MEMBER.fullmatch(name)]
    if odd or len(set(names)) < len(names) or not {INDEX, RECORDS} <= set(names):
        raise UnfitFile("it has other members than a board has")
    try:
        index = Index.model_validate(parse_json(_read(archive, INDEX).decode()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UnfitFile(f"{INDEX} is not valid, field {where}: {one_line(first['msg'])}") from None
    lines = _read(archive, RECORDS).decode().removesuffix("\n").split("\n")
    _check_index(index, lines, set(names))
    runs = {run.name: run for run in index.runs}
    return Board(index, runs, dict(zip(runs, lines, strict=True)), content, {})


def _archive(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except _DAMAGED as error:
        raise UnfitFile(f"it is no readable zip file ({one_line(error)[:80]})") from None


def _check_end(content: bytes) -> None:
    """The end of the file is that of a small directory, so that reading it takes nothing."""
    if len(content) < _END.size:
        raise UnfitFile("it is no zip file")
    signature, disk, first, here, every, size, start, comment = _END.unpack(content[-_END.size :])
    if signature != b"PK\x05\x06" or comment:
        raise UnfitFile("it is no zip file, or has a comment")
    whole = start + size + _END.size == len(content)
    if disk or first or here != every or every > MEMBERS or size > _DIRECTORY_BYTES or not whole:
        raise UnfitFile(f"it has more than {MEMBERS} members, or something before or after them")


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member, of which no more is unpacked than it says that it has."""
    info = archive.getinfo(name)
    limit = BOARD_BYTES if name.endswith(".parquet") else 4 * JSON_BYTES
    if info.file_size > limit:
        raise UnfitFile(f"{name} has more than {show_bytes(limit, binary=True)}")
    if name.endswith(".parquet") and info.compress_type != zipfile.ZIP_STORED:
        raise UnfitFile(f"{name} is compressed twice")
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnfitFile(f"{name} is encrypted or packed in an unknown way")
    try:
        with archive.open(info) as file:
            content = file.read(info.file_size + 1)
    except _DAMAGED as error:
        raise UnfitFile(f"{name} is damaged ({one_line(error)[:80]})") from None
    if len(content) != info.file_size:
        raise UnfitFile(f"{name} is not as long as it says")
    return content


def _check_index(index: Index, lines: list[str], members: set[str]) -> None:
    """The index names every run once, with a record each, and rows that tile the tables."""
    names = [run.name for run in index.runs]
    if len(set(names)) < len(names) or len(lines) != len(names):
        raise UnfitFile("it does not have one record for each run")
    if any(len(line) > JSON_BYTES for line in lines):
        raise UnfitFile(f"a record has more than {show_bytes(JSON_BYTES, binary=True)}")
    filled: dict[tuple[str, int], int] = {}
    for run in index.runs:
        for file, rows in run.evidence.items():
            if rows.table >= len(index.columns.get(file, ())):
                raise UnfitFile(f"run '{run.name}' is of a table that is not there")
            if not {member(file, rows.table, side) for side in ("own", "shared")} <= members:
                raise UnfitFile(f"run '{run.name}' is of a table that is not there")
            if rows.own != filled.get((file, rows.table), 0):
                raise UnfitFile(f"the rows of run '{run.name}' do not follow those of the run before")
            filled[file, rows.table] = rows.own + rows.rows
