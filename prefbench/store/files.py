"""Files of a runs folder: locks, checksums, and writing that a full disk or a crash leaves whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor

from prefbench.errors import PrefbenchError, UserError
from prefbench.files import UnfitFile, open_lock, open_regular

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file, made where there is none; yields whether it is held, which is sure where one waits.

    The lock is the operating system's, so it goes when its owner dies, however it dies. filelock takes
    it on a file that is opened here, because a link in its place must not be followed.

    Args:
        path: of the lock file.
        wait: for whoever holds it, rather than yield False.

    Raises:
        UserError: the file system has no locks.
        OSError: there is something else at the path, or it cannot be made.
    """
    while True:
        with open_lock(path) as file:
            if not _take(file, path, wait):
                yield False
                return
            if _guards(file, path):
                yield True
                return


def is_locked(path: Path) -> bool:
    """True if somebody holds a lock file; nothing is created."""
    try:
        # A network file system locks only what is open for writing.
        with open_regular(path, writable=os.access(path, os.W_OK)) as file:
            return not _take(file, path, wait=False)
    except (FileNotFoundError, UnfitFile):
        return False


def _take(file: IO[Any], path: Path, wait: bool) -> bool:
    try:
        return lock_descriptor(file.fileno(), blocking=wait)
    except OSError as error:
        raise UserError(
            f"'{path}' cannot be locked ({error.strerror}): take a folder on a file system that has locks."
        ) from None


def _guards(file: IO[Any], path: Path) -> bool:
    """True if a locked file is still the one at its path: `cache gc` removes what nobody holds."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def checksum(path: Path, within: Path | None = None) -> str:
    """SHA-256 of a regular file, which may have to lie in a folder."""
    with open_regular(path, within) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str, lasting: bool = True) -> None:
    """Write a text file so that a reader sees the old one or the new one, never half.

    Args:
        path: of the file.
        text: its content.
        lasting: wait until it is on disk, so that a loss of power cannot leave a name without the content.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with clear_disk_errors():
        try:
            with beside.open("w", encoding="utf-8") as file:
                file.write(text)
                if lasting:
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
