"""Runs packed into one file (`record.packed`), the same bytes for the same runs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from prefbench.boards.declared import read_declared
from prefbench.errors import UserError
from prefbench.evaluate.own_values import POLICY_COLUMNS
from prefbench.evaluate.regret import COLUMNS as STATES
from prefbench.record.anonymous import anonymous, traces
from prefbench.record.evidence import (
    HELD_OUT_COLUMNS,
    PEOPLE_COLUMNS,
    PROMPTED_COLUMNS,
    REFERENCE_PROXY,
    item_columns,
    later_columns,
    read_evidence,
)
from prefbench.record.files import (
    DISTRIBUTION_FILE,
    HELD_OUT_FILE,
    ITEMS_FILE,
    PEOPLE_FILE,
    POLICIES_FILE,
    PROMPTED_FILE,
    has_evidence,
    read_record,
    run_folders,
)
from prefbench.record.packed import INDEX, MEMBERS, RECORDS, SUFFIX, EvidenceRows, Index, PackedRun, member
from prefbench.record.schema import Record
from prefbench.store.files import clear_disk_errors

if TYPE_CHECKING:
    import pyarrow as pa

_SHARED = ("group", "prompt_id", "sample", "prompt")
"""Columns that runs of one seed have in common, beside those of the reference."""
_PAGE_BYTES = 16 << 20
_ROWS, _BYTES = 1_000_000, 128 << 20
"""Most rows and bytes of a table, which is read whole."""
_FEW = 8
"""Rows for each different number of a column, above which it is stored as a list and places in that."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip file can say: a board has none."""


@dataclass(frozen=True)
class PackedFile:
    """A board that was packed."""

    runs: int
    size: int
    """Bytes."""


def pack(sources: Sequence[Path], out: Path) -> PackedFile:
    """Pack the runs of folders and of other packed boards into one file, but for those that tuned.

    Records lose what names this machine (`anonymous`) and evidence all but its known columns, as with
    `submit`. Nothing is verified: `verify` reads the file. A run that is in several sources is packed once.

    Args:
        sources: folders of runs, and packed boards.
        out: the file, whose name ends in `.zip`.

    Raises:
        UserError: there is no run in a source, one cannot be read or still names this machine, two different
            runs have one name, or the name of the file is another.
    """
    folders: dict[str, Path] = {}
    declared: dict[str, set[int]] = {}
    for source in sources:
        found = [folder for folder in run_folders(source) if read_record(folder).split == "test"]
        if not found:
            raise UserError(f"no record in '{source}': name a runs folder with runs in it.")
        for folder in found:
            known = folders.setdefault(folder.name, folder)
            if known != folder and anonymous(read_record(known)) != anonymous(read_record(folder)):
                raise UserError(f"'{known}' and '{folder}' are two runs of one name: keep one of them.")
        for setting, seeds in read_declared(source).items():
            declared.setdefault(setting, set()).update(seeds)
    return write_board(folders.values(), declared, out)


def write_board(folders: Iterable[Path], declared: Mapping[str, Collection[int]], out: Path) -> PackedFile:
    """Pack these runs and seeds of boards into a file; see `pack`."""
    if out.suffix != SUFFIX:
        raise UserError(f"'{out}' does not end in {SUFFIX}: give the packed board such a name.")
    tables: dict[str, list[_Pair]] = {}
    runs, lines = [], []
    for folder in sorted(folders, key=lambda path: path.name):
        record = anonymous(read_record(folder))
        evidence = dict(_evidence(folder, record)) if record.status == "ok" else {}
        left = traces(record, (table.to_pandas() for table in evidence.values()))
        if left:
            raise UserError(
                f"'{folder}' still holds {', '.join(left)}: take it out of the data, run it again."
            )
        placed = {file: _placed(tables.setdefault(file, []), table) for file, table in evidence.items()}
        runs.append(PackedRun(name=folder.name, evidence=placed))
        lines.append(json.dumps(record.model_dump(mode="json"), allow_nan=False))
    index = Index(
        columns={
            file: tuple(tuple(pair.columns) for pair in pairs) for file, pairs in sorted(tables.items())
        },
        runs=tuple(runs),
        declared={setting: tuple(sorted(seeds)) for setting, seeds in sorted(declared.items())},
    )
    members = {INDEX: index.model_dump_json().encode(), RECORDS: ("\n".join(lines) + "\n").encode()}
    for file, pairs in sorted(tables.items()):
        for number, pair in enumerate(pairs):
            members[member(file, number, "own")] = _parquet(pair.own)
            members[member(file, number, "shared")] = _parquet(pair.shared)
    if len(members) > MEMBERS:
        raise UserError(
            f"the evidence has {len(members)} kinds of tables, more than the {MEMBERS} of a packed board: "
            "pack fewer tasks or aligners into one file."
        )
    _write(members, out)
    return PackedFile(len(runs), out.stat().st_size)


def _evidence(folder: Path, record: Record) -> Iterator[tuple[str, pa.Table]]:
    """The known columns of a run's evidence, by file."""
    names = [group.name for group in record.groups]
    items = read_evidence(folder)
    yield ITEMS_FILE, items.select([*item_columns(names), *later_columns(items.column_names)])
    if record.prompted_worst_group_win_rate is not None:
        yield PROMPTED_FILE, read_evidence(folder, PROMPTED_FILE).select(list(PROMPTED_COLUMNS))
    if record.people is not None:
        yield PEOPLE_FILE, read_evidence(folder, PEOPLE_FILE).select(list(PEOPLE_COLUMNS))
        if has_evidence(folder, POLICIES_FILE):
            yield POLICIES_FILE, read_evidence(folder, POLICIES_FILE).select(list(POLICY_COLUMNS))
    if record.held_out is not None:
        yield HELD_OUT_FILE, read_evidence(folder, HELD_OUT_FILE).select(list(HELD_OUT_COLUMNS))
    if record.regret is not None:
        columns = [*STATES, *(f"utility/{name}" for name in names)]
        yield DISTRIBUTION_FILE, read_evidence(folder, DISTRIBUTION_FILE).select(columns)


@dataclass
class _Pair:
    """The tables of one kind of evidence with one set of columns, while runs are added."""

    columns: list[str]
    schema: pa.Schema
    own: list[pa.Table] = field(default_factory=list)
    shared: list[pa.Table] = field(default_factory=list)
    starts: dict[str, int] = field(default_factory=dict)
    """First row of each block of shared rows, by the digest of its content."""

    def takes(self, table: pa.Table) -> bool:
        """True if there is room for a run's rows: what is read again may not be too large."""
        rows, size = (sum(found) for found in ((len(t) for t in self.own), (t.nbytes for t in self.own)))
        return rows + len(table) <= _ROWS and size + table.nbytes <= _BYTES


def _placed(pairs: list[_Pair], table: pa.Table) -> EvidenceRows:
    """Add a run's evidence to the tables of its kind, and say where it lies."""
    schema = table.schema.remove_metadata()
    fitting = (i for i, pair in enumerate(pairs) if pair.schema == schema and pair.takes(table))
    number = next(fitting, len(pairs))
    if number == len(pairs):
        pairs.append(_Pair(table.column_names, schema))
    pair = pairs[number]
    shared = table.select([name for name in pair.columns if _is_shared(name, pair.columns)]).combine_chunks()
    own = table.select([name for name in pair.columns if not _is_shared(name, pair.columns)])
    known = _digest(shared)
    if known not in pair.starts:
        pair.starts[known] = sum(map(len, pair.shared))
        pair.shared.append(shared)
    place = sum(map(len, pair.own))
    pair.own.append(own)
    return EvidenceRows(table=number, own=place, shared=pair.starts[known], rows=len(table))


def _is_shared(name: str, columns: Sequence[str]) -> bool:
    """True of a column that does not depend on the policy: of a world's list, all but its chances."""
    if "policy" in columns:
        return name != "policy"
    if name.startswith(REFERENCE_PROXY):  # an aligner's own rewards say it
        return False
    return name in _SHARED or name.startswith("reference_")


def _digest(table: pa.Table) -> str:
    """Names the content of a table."""
    import pyarrow as pa

    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return hashlib.sha256(sink.getbuffer()).hexdigest()


def _parquet(parts: Sequence[pa.Table]) -> bytes:
    """Tables below each other as parquet, each column coded as is small for it."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyarrow.types as kinds

    table = pa.concat_tables(parts).combine_chunks().replace_schema_metadata(None)
    listed, split = [], []
    for name in table.column_names:
        column = table.column(name)
        few = column.nbytes and len(column) >= _FEW * len(column.unique())
        if few or not kinds.is_floating(column.type):
            listed.append(name)
        else:  # the bytes of numbers one by one: those of a size are alike
            split.append(name)
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        row_group_size=max(1, len(table)),
        use_dictionary=listed,
        use_byte_stream_split=split,
        dictionary_pagesize_limit=_PAGE_BYTES,
        data_page_size=_PAGE_BYTES,
        write_statistics=False,
        store_schema=False,
        compression="zstd",
        compression_level=19,
    )
    return sink.getvalue()


def _write(members: Mapping[str, bytes], out: Path) -> None:
    """Write the file so that a reader sees the old one or the whole new one."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".parquet") else zipfile.ZIP_DEFLATED
            archive.writestr(info, content, compresslevel=9)
    out.parent.mkdir(parents=True, exist_ok=True)
    with clear_disk_errors(), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        beside = Path(folder) / out.name
        with beside.open("wb") as file:
            file.write(sink.getbuffer())
            os.fsync(file.fileno())
        os.replace(beside, out)
