"""Answers that are kept, by what was asked."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from prefbench.chat.client import Chat, Reply
from prefbench.errors import PrefbenchError, UserError
from prefbench.store.files import clear_disk_errors, locked
from prefbench.text import message_or_type

ANSWERS = "answers.sqlite"


class KeptAnswer(NamedTuple):
    """An answer that is kept, with the question and what it took."""

    text: str
    status: str
    """`ok`, `malformed`, `refused` or `cut`."""
    requests: int
    retries: int
    prompt_tokens: int
    completion_tokens: int
    uncounted: int
    """Requests of which the server did not count the tokens."""
    model: str

    @classmethod
    def of(cls, text: str, status: str, replies: Sequence[Reply]) -> KeptAnswer:
        """The answer that these replies led to."""
        return cls(
            text,
            status,
            len(replies),
            sum(reply.retries for reply in replies),
            sum(reply.prompt_tokens or 0 for reply in replies),
            sum(reply.completion_tokens or 0 for reply in replies),
            sum(reply.prompt_tokens is None or reply.completion_tokens is None for reply in replies),
            replies[-1].model,
        )


class Question(NamedTuple):
    """Something to ask a server."""

    key: str
    """SHA-256 (hex) of everything that the answer depends on."""
    ask: Callable[[Chat], Awaitable[KeptAnswer]]


_FORMAT = 1
_TABLE = """
    CREATE TABLE answers (
        key TEXT PRIMARY KEY, text TEXT NOT NULL, status TEXT NOT NULL, requests INTEGER NOT NULL,
        retries INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        uncounted INTEGER NOT NULL, model TEXT NOT NULL
    ) STRICT
"""
_COLUMNS = ", ".join(KeptAnswer._fields)
_BUSY_SECONDS = 60.0


class Cache:
    """Answers by key, in SQLite with a write-ahead log: many may read and write, and a kill loses nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: str) -> KeptAnswer | None:
        """The answer that is kept under this key."""
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else KeptAnswer(*row)

    def put(self, key: str, answer: KeptAnswer) -> KeptAnswer:
        """Store an answer; of two processes that asked the same, both go on with the one stored first."""
        marks = ", ".join("?" * (1 + len(answer)))
        self._connection.execute(
            f"INSERT OR IGNORE INTO answers (key, {_COLUMNS}) VALUES ({marks})", (key, *answer)
        )
        return self.get(key) or answer


@contextlib.contextmanager
def open_cache(folder: Path) -> Iterator[Cache]:
    """The cache of a folder, made where there is none.

    Raises:
        PrefbenchError: it cannot be used, or is damaged.
    """
    path = folder / ANSWERS
    try:
        with contextlib.closing(_connect(path)) as connection:
            yield Cache(connection)
    except sqlite3.OperationalError as error:
        reason = message_or_type(error)
        if "disk is full" in reason:
            raise PrefbenchError(
                "the disk is full: free some space and run the same command again; answers so far are kept."
            ) from None
        raise PrefbenchError(
            f"the cache '{path}' cannot be used ({reason}): mend it or name another."
        ) from None
    except sqlite3.DatabaseError as error:
        raise _damaged(path, message_or_type(error)) from None


def _connect(path: Path) -> sqlite3.Connection:
    try:
        with clear_disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two that create the file at once would find it locked: switching to the log does not wait.
            with locked(path.with_suffix(".lock")):
                return _opened(path)
    except OSError as error:
        raise UserError(
            f"the cache '{path.parent}' cannot be used ({error.strerror}): name another folder."
        ) from None


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if version == 0 and not tables:
        connection.execute("BEGIN")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.execute("COMMIT")
    elif version != _FORMAT or tables != ["answers"]:
        raise _damaged(path, "it is no cache of this version")


def _damaged(path: Path, reason: str) -> PrefbenchError:
    return PrefbenchError(
        f"the cache '{path}' cannot be read ({reason}): move it away, or name another folder, "
        "and its answers are asked for again."
    )
