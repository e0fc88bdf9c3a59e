"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from prefbench.errors import UserError
from prefbench.store.files import clear_disk_errors


def check_free(out: Path) -> None:
    """Refuse a folder that has something in it.

    Raises:
        UserError: it does, or is no folder.
    """
    if (out.exists() or out.is_symlink()) and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"'{out}' exists already: name a new folder with --out, or remove it.")


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write to, which takes its place at `out` when the block ends well.

    Raises:
        PrefbenchError: the disk is full.
    """
    with clear_disk_errors():
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent))
        try:
            yield beside
            beside.chmod(0o755)
            if out.is_dir():  # empty, or it would have been refused
                out.rmdir()
            os.replace(beside, out)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
