"""Files of a runs folder: locks, checksums, and writing that a full disk or a crash leaves whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from prefbench.errors import PrefbenchError
from prefbench.files import open_lock, open_regular

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def guards(file: IO[str], path: Path) -> bool:
    """Whether a locked file is still the one at its path: `cache gc` removes what nobody holds."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Hold a stage's lock file unless somebody else does, without waiting; yields whether it is held."""
    with open_lock(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield guards(file, path)


def checksum(path: Path, within: Path | None = None) -> str:
    """SHA-256 of a regular file, which may have to lie in a folder."""
    with open_regular(path, within) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the new one, never half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with clear_disk_errors():
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def clear_disk_errors() -> Iterator[None]:
    """Turn a full disk into one line; what was stored before stays as it is."""
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        # safetensors' errors have no errno, only the text of one.
        full = number in _FULL or any(f"os error {code})" in str(error) for code in _FULL)
        full = full or "No space left" in str(error)
        if isinstance(error, PrefbenchError) or not full:
            raise
        raise PrefbenchError(
            "the disk is full: free some space and run the same command again; finished stages are intact."
        ) from error
