"""A run's folder: the names of its files, and its record read and written.

It holds `record.json` and the evidence: `items.parquet`, one row per prompt and sample, and what else the
task gives rise to.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from prefbench.errors import UserError
from prefbench.files import UnfitFile, parse_json, read_json
from prefbench.record.packed import Board, board_at, board_of
from prefbench.record.schema import READABLE_VERSIONS, SCHEMA_VERSION, Record
from prefbench.store.files import write_atomically
from prefbench.text import one_line

RECORD_FILE = "record.json"
ITEMS_FILE = "items.parquet"
DISTRIBUTION_FILE = "distribution.parquet"
PROMPTED_FILE = "prompted.parquet"
PEOPLE_FILE = "people.parquet"
"""Responses to people, where it matters who is answered."""
POLICIES_FILE = "people_policies.parquet"
"""Policies that people are given beside the default, of personal policies whose responses can be listed."""
HELD_OUT_FILE = "held_out.parquet"
"""Held-out labels that a task brought, and what was learned of them."""
JUDGEMENTS_FILE = "judgements.parquet"
"""Fresh labels of a policy's responses to validation prompts, of a run that `tune` made."""
HISTORY_FILE = "history.json"
"""One row per iteration of the policy's training, where the optimiser keeps one."""


def write_record(record: Record, folder: Path) -> Path:
    """Write `record.json` into `folder`, so that a reader sees the old one or the whole new one.

    Returns:
        The file's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD_FILE
    text = json.dumps(record.model_dump(mode="json"), indent=2, allow_nan=False, ensure_ascii=False)
    write_atomically(path, text + "\n")
    return path


def read_record(path: Path) -> Record:
    """The record in a file, or in a run's folder.

    Raises:
        UserError: if it is missing, not JSON, of a newer format, or has a field that does not fit.
    """
    path = Path(path)
    board = board_of(path)
    if path.is_dir() or board is not None:
        path = path / RECORD_FILE
    try:
        data = read_json(path, within=path.parent) if board is None else _packed_json(board, path)
    except FileNotFoundError:
        raise UserError(f"no record at '{path}': give a run's folder or its {RECORD_FILE}.") from None
    except OSError as error:
        raise UserError(f"record '{path}' cannot be read: {error.strerror}; make it readable.") from None
    except UnfitFile as error:
        raise UserError(f"record '{path}' cannot be read: {error}.") from None
    except ValueError as error:
        raise UserError(
            f"record '{path}' is not JSON ({one_line(error).rstrip('.')}): run it again."
        ) from None
    if not isinstance(data, dict):
        raise UserError(f"record '{path}' is not a JSON object: run it again.")
    version = data.get("schema_version")
    if version not in READABLE_VERSIONS:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        mend = "upgrade prefbench" if newer else "run it again"
        raise UserError(
            f"record '{path}' has schema_version {version!r}, this prefbench reads {SCHEMA_VERSION}: {mend}."
        )
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise UserError(
            f"record '{path}' is not valid, field {where}: {one_line(first['msg']).rstrip('.')}: run it "
            "again."
        ) from None


def _packed_json(board: Board, path: Path) -> Any:
    """The value of a run's record in a packed board."""
    name = path.parent.name
    if name not in board.records:
        raise FileNotFoundError(name)
    return parse_json(board.records[name])


def is_run(folder: Path) -> bool:
    """True if a path is a run's folder, or a run in a packed board."""
    board = board_of(folder)
    return (folder / RECORD_FILE).is_file() if board is None else folder.name in board.records


def has_evidence(folder: Path, name: str) -> bool:
    """True if a run has a file of evidence of this name, in its folder or in a packed board."""
    board = board_of(folder)
    if board is None:
        return (folder / name).is_file()
    return folder.name in board.runs and name in board.runs[folder.name].evidence


def holds_runs(path: Path) -> bool:
    """True of a folder, which may be of runs, and of a packed board.

    Raises:
        UserError: it is a packed board that cannot be read.
    """
    return path.is_dir() or board_at(path) is not None


def check_runs_dir(path: Path) -> None:
    """Refuse what cannot hold runs.

    Raises:
        UserError: it is neither a folder nor a packed board.
    """
    if not holds_runs(path):
        raise UserError(f"runs folder '{path}' does not exist: name one with --runs-dir.")


def run_folders(runs_dir: Path) -> list[Path]:
    """Folders of the runs directly inside a folder or in a packed board, by name; none where there are none.

    Raises:
        UserError: it is a packed board that cannot be read.
    """
    board = board_at(runs_dir)
    if board is not None:
        return [runs_dir / name for name in sorted(board.records)]
    return [path.parent for path in sorted(runs_dir.glob(f"*/{RECORD_FILE}"))]


def find_records(runs_dir: Path) -> list[tuple[Path, Record]]:
    """Every run directly inside a folder, or in a packed board, that has a readable record, sorted by name.

    A record that cannot be read is left out with a warning that names it.

    Returns:
        Pairs of a run's folder and its record.

    Raises:
        UserError: if `runs_dir` is neither.
    """
    runs_dir = Path(runs_dir)
    check_runs_dir(runs_dir)
    found = []
    for folder in run_folders(runs_dir):
        try:
            found.append((folder, read_record(folder)))
        except UserError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return found
