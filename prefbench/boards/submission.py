"""Results that change hands: packed without a trace of the machine, merged with what is there.

Whatever comes from a stranger is data here and nothing else: it is parsed by a schema, recomputed from its
items and written anew, so that a file that was sent is never copied. A text that cannot be parsed is the
sender's mistake and ends as one line.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefbench.boards.declared import read_declared
from prefbench.boards.pack import write_board
from prefbench.boards.verify import verify_board
from prefbench.errors import UserError
from prefbench.evaluate.own_values import POLICY_COLUMNS
from prefbench.evaluate.regret import COLUMNS as STATES
from prefbench.record.anonymous import anonymous, traces
from prefbench.record.evidence import (
    HELD_OUT_COLUMNS,
    PEOPLE_COLUMNS,
    PROMPTED_COLUMNS,
    item_columns,
    later_columns,
    read_items,
)
from prefbench.record.files import (
    DISTRIBUTION_FILE,
    HELD_OUT_FILE,
    ITEMS_FILE,
    PEOPLE_FILE,
    POLICIES_FILE,
    PROMPTED_FILE,
    has_evidence,
    holds_runs,
    is_run,
    read_record,
    run_folders,
    write_record,
)
from prefbench.record.packed import SUFFIX
from prefbench.record.schema import Record
from prefbench.record.verify import comparable, spec_differs, verify

if TYPE_CHECKING:
    import pandas as pd


def submit(folders: Sequence[Path], out: Path, *, large: bool = False) -> list[Path]:
    """Pack runs into a folder that is ready for a pull request.

    The runs are verified together with what is in the folder (`verify_board`), rewritten without what names
    this machine (`anonymous`; only the columns that `item_columns` and `later_columns` list, no metadata) and
    verified again as packed. Nothing is written unless all pass. What could not be checked is told as a
    warning.

    Args:
        folders: of runs, or folders with runs directly inside.
        out: a folder, or a packed board by its ending, where the packed runs go; it need not exist.
        large: also build problems that are too large to be built for a stranger.

    Returns:
        The packed runs' folders.

    Raises:
        UserError: if a run does not verify, cannot be checked for its size or for want of its plug-in, did
            not end well, or another run of its specification is in `out` with other content.
    """
    return _write_all(_expand(folders), Path(out), packed_before=False, large=large)


def merge(folders: Sequence[Path], into: Path, *, large: bool = False) -> list[Path]:
    """Take packed runs into a folder or a packed board, after verifying all that will then lie there.

    What could not be checked of the new ones is told as a warning.

    Args:
        folders: that `submit` wrote, or single runs of one.
        into: a folder or a packed board, such as `leaderboard/results.zip`; it need not exist.
        large: also build problems that are too large to be built for a stranger.

    Returns:
        The folders that are new; a run that is already there with the same content is passed over.

    Raises:
        UserError: if a run does not verify, cannot be checked for its size or for want of its plug-in, was
            not packed by `submit`, or is already there with other content. Nothing was written then.
    """
    return _write_all(_expand(folders), Path(into), packed_before=True, large=large)


def _expand(folders: Sequence[Path]) -> list[Path]:
    runs: list[Path] = []
    for folder in map(Path, folders):
        if is_run(folder):
            runs.append(folder)
            continue
        inside = run_folders(folder)
        if not inside:
            raise UserError(f"no record in '{folder}': name a run's folder.")
        runs += inside
    if not runs:
        raise UserError("no runs: name at least one run's folder.")
    return runs


def _write_all(folders: Sequence[Path], out: Path, packed_before: bool, large: bool) -> list[Path]:
    """Check what comes with what is there, pack it beside `out`, and move it in only when all is good."""
    if out.exists() and not holds_runs(out):
        raise UserError(f"'{out}' is a file: name a folder, or a packed board.")
    existing = _by_hash(out)
    there = set(existing.values())
    fresh: dict[str, tuple[Path, Record]] = {}
    again: list[tuple[Path, Record, Path]] = []
    for folder in folders:
        record = _packable(folder, packed_before)
        known = existing.get(record.spec_hash[:12]) or fresh.get(record.spec_hash, (None,))[0]
        if known is None:
            fresh[record.spec_hash] = (folder, record)
        elif known != folder:
            again.append((folder, record, known))
    new = [folder for folder, _ in fresh.values()]
    _refuse_board(new, list(existing.values()), large)
    beside = next(parent for parent in out.absolute().parents if parent.is_dir())  # so a move is a rename
    with tempfile.TemporaryDirectory(dir=beside, prefix=f".{out.name}.") as temporary:
        for number, (folder, record, known) in enumerate(again):
            _refuse_board([folder], [], large)
            packed = _pack(folder, record, Path(temporary) / f"again-{number}")
            ours = known if known in there else _pack(known, record, Path(temporary) / f"first-{number}")
            if not _same(packed, ours):
                raise UserError(
                    f"'{folder}': '{known.name}' is already there with other content: "
                    "keep one of the two and take the other away."
                )
        packs = [_pack(folder, record, Path(temporary)) for folder, record in fresh.values()]
        if out.suffix == SUFFIX:
            write_board([*existing.values(), *packs], read_declared(out), out)
            return [out / packed.name for packed in packs]
        out.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.move(packed, out / packed.name)) for packed in packs]


def _packable(folder: Path, packed_before: bool) -> Record:
    """The record of a run as it is packed."""
    record = read_record(folder)
    if record.status != "ok":
        raise UserError(f"'{folder}' ended as {record.status}: only runs that ended well can be handed in.")
    if record.split != "test":
        raise UserError(f"'{folder}' was measured on {record.split} prompts, in tuning: it is of no board.")
    _refuse(folder, spec_differs(record))
    packed = anonymous(record)
    if packed_before and packed != record:
        raise UserError(f"'{folder}' names a machine: pack it with `prefbench leaderboard submit` first.")
    return packed


def _refuse(folder: Path, wrong: Sequence[str]) -> None:
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(f"'{folder}' does not verify: {wrong[0]}{more}: run it again.")


def _refuse_board(new: Sequence[Path], existing: Sequence[Path], large: bool) -> None:
    """Refuse what comes unless the whole board that it makes verifies, and say what is not checked of it."""
    found = verify_board([*new, *existing], large=large)
    for run in found:
        _refuse(run.folder, run.wrong)
    for run in found[: len(new)]:
        if run.absent:
            raise UserError(f"'{run.folder}' cannot be checked: {run.unchecked[0]}.")
        if run.unbuilt is not None and run.too_large:  # else any text would do under a large specification
            raise UserError(f"'{run.folder}' cannot be checked: {run.unbuilt.reason}.")
        for said in (*run.odd, *(f"not checked: {reason}" for reason in run.unchecked)):
            warnings.warn(f"'{run.folder}': {said}", stacklevel=4)


def _by_hash(out: Path) -> dict[str, Path]:
    """Runs that are there already, by the part of their specification's hash in their names."""
    return {read_record(folder).spec_hash[:12]: folder for folder in run_folders(out)}


def _same(one: Path, other: Path) -> bool:
    if comparable(read_record(one)) != comparable(read_record(other)):
        return False
    for name in (ITEMS_FILE, PROMPTED_FILE, PEOPLE_FILE, POLICIES_FILE, HELD_OUT_FILE, DISTRIBUTION_FILE):
        if has_evidence(one, name) != has_evidence(other, name):
            return False
        if has_evidence(one, name) and not read_items(one, name).equals(read_items(other, name)):
            return False
    return True


def _pack(folder: Path, packed: Record, into: Path) -> Path:
    """Write one run anew, and verify what was written."""
    names = [group.name for group in packed.groups]
    items = read_items(folder)
    frames = {ITEMS_FILE: items[[*item_columns(names), *later_columns(items.columns)]]}
    if packed.prompted_worst_group_win_rate is not None:
        frames[PROMPTED_FILE] = read_items(folder, PROMPTED_FILE)[list(PROMPTED_COLUMNS)]
    if packed.people is not None:
        frames[PEOPLE_FILE] = read_items(folder, PEOPLE_FILE)[list(PEOPLE_COLUMNS)]
        if has_evidence(folder, POLICIES_FILE):
            frames[POLICIES_FILE] = read_items(folder, POLICIES_FILE)[list(POLICY_COLUMNS)]
    if packed.held_out is not None:
        frames[HELD_OUT_FILE] = read_items(folder, HELD_OUT_FILE)[list(HELD_OUT_COLUMNS)]
    if packed.regret is not None:
        columns = [*STATES, *(f"utility/{name}" for name in names)]
        frames[DISTRIBUTION_FILE] = read_items(folder, DISTRIBUTION_FILE)[columns]
    left = traces(packed, frames.values())
    if left:
        raise UserError(f"'{folder}' still holds {', '.join(left)}: take it out of the data, run it again.")
    target = into / _folder_name(packed)
    write_record(packed, target)
    for name, frame in frames.items():
        _write_bare(frame, target / name)
    _refuse(folder, verify(target))
    return target


def _write_bare(frame: pd.DataFrame, path: Path) -> None:
    """Parquet with the columns and nothing else: no index, and no metadata of pandas' or anybody's."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    fields = [pa.field(field.name, field.type) for field in table.schema]
    pq.write_table(
        table.cast(pa.schema(fields)).replace_schema_metadata(None),
        path,
        store_schema=False,
        compression="zstd",
        compression_level=19,
    )


def _folder_name(record: Record) -> str:
    """Name of a run's own folder, whatever characters the names hold."""
    parts = [
        record.task,
        record.aligner,
        record.model,
        f"r{record.minority_ratio:g}",
        f"s{record.seed}",
    ]
    readable = "-".join(re.sub(r"[^A-Za-z0-9_.]+", "_", part).strip("._")[:40] for part in parts)
    return f"{readable}-{record.spec_hash[:12]}"
