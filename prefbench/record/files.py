"""A run's folder: the names of its files, and its record read and written.

It holds `record.json` and the evidence: `items.parquet`, one row per prompt and sample, and what else the
task gives rise to.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

from pydantic import ValidationError

from prefbench.errors import UserError
from prefbench.files import UnfitFile, read_json
from prefbench.record.schema import READABLE_VERSIONS, SCHEMA_VERSION, Record
from prefbench.store.files import write_atomically
from prefbench.text import one_line

RECORD_FILE = "record.json"
ITEMS_FILE = "items.parquet"
DISTRIBUTION_FILE = "distribution.parquet"
PROMPTED_FILE = "prompted.parquet"
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
    if path.is_dir():
        path = path / RECORD_FILE
    try:
        data = read_json(path, within=path.parent)
    except FileNotFoundError:
        raise UserError(f"no record at '{path}': give a run's folder or its {RECORD_FILE}.") from None
    except OSError as error:
        raise UserError(f"record '{path}' cannot be read: {error.strerror}.") from None
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
            f"record '{path}' is not valid, field {where}: {one_line(first['msg']).rstrip('.')}."
        ) from None


def find_records(runs_dir: Path) -> list[tuple[Path, Record]]:
    """Every run folder directly inside `runs_dir` that has a readable record, sorted by name.

    A record that cannot be read is left out with a warning that names it.

    Returns:
        Pairs of a run's folder and its record.

    Raises:
        UserError: if `runs_dir` is no folder.
    """
    runs_dir = Path(runs_dir)
    if not runs_dir.is_dir():
        raise UserError(f"runs folder '{runs_dir}' does not exist: name one with --runs-dir.")
    found = []
    for path in sorted(runs_dir.glob(f"*/{RECORD_FILE}")):
        try:
            found.append((path.parent, read_record(path)))
        except UserError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return found
