"""Asking a language model behind any server that speaks the OpenAI-compatible chat protocol.

Answers are kept in a cache by what was asked, so that work that was stopped continues, and nothing is paid
for twice. Nothing is sent before it is asked for, and then only to the server that was named.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import math
import os
import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from prefbench import __version__, consent
from prefbench.errors import JudgeFailed, PrefbenchError, UserError
from prefbench.store.files import clear_disk_errors
from prefbench.team import team
from prefbench.text import message_or_type

if TYPE_CHECKING:
    import openai

    from prefbench.chat.bounded import Pace

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Told how many questions are answered, and of how many."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")


# A server that is there but lists no models: `transformers serve` says 500 where there is no hub cache.
_NO_LIST = (404, 405, 429, 500, 501)
TIMEOUT = 300.0
"""Seconds that an answer may take unless somebody says otherwise."""
_ANSWERS = "answers.sqlite"
_SECRET = 12  # characters; a shorter key keeps nobody out


@dataclass(frozen=True)
class Server:
    """A model behind an address that speaks the OpenAI-compatible chat protocol, and what it answered before.

    The key is read from the environment when a request is made, and is nowhere in this object.

    Attributes:
        base_url: the address that `/chat/completions` is put after, such as `http://127.0.0.1:8000/v1`.
        model: the model's name on the server.
        cache: the folder of answers; several processes and servers may share one.
        api_key_env: the environment variable that holds the key, where the program that makes this object
            chooses it. Without one a server off this machine must have been allowed (`prefbench.consent`),
            and its key is in the variable that was named there.
        concurrency: requests at a time, 1 or more. Fewer are made while the server is slow or busy.
        timeout: seconds until the last byte of an answer after which a request has failed. Less is waited for
            at first, and more after every time-out; nothing heard for twice as long ends the asking.
        retries: how often a request is made again after a rate limit, a timeout or the server's own error,
            with growing pauses, or those that the server asks for (up to two minutes).
        prompt_price: of a million tokens sent, in any currency; with `completion_price`, for the cost.
        completion_price: of a million tokens written.
        role: what the server is for, and the prefix of its options in messages.
    """

    base_url: str
    model: str
    cache: Path = Path("verdicts")
    api_key_env: str | None = None
    concurrency: int = 8
    timeout: float = TIMEOUT
    retries: int = 5
    prompt_price: float | None = None
    completion_price: float | None = None
    role: str = "judge"

    def __post_init__(self) -> None:
        _check_url(self.base_url, self.role)
        # The name, not the value: whoever puts the key itself here must not see it in a message or a record.
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            raise UserError(
                f"{self.role}_key_env must be the name of an environment variable in capitals, "
                "never the key itself."
            )
        if not self.model.strip() or not self.model.isprintable():
            raise UserError(f"{self.role}_model must be the model's name on the server, on one line.")
        if self.concurrency < 1 or self.retries < 0 or not 0 < self.timeout < math.inf:
            raise UserError(
                f"the {self.role} needs a concurrency of 1 or more, a timeout above 0 seconds "
                "and no fewer than 0 retries."
            )
        prices = [price for price in (self.prompt_price, self.completion_price) if price is not None]
        if len(prices) == 1 or not all(0 <= price < math.inf for price in prices):
            raise UserError(f"the {self.role}'s two prices per million tokens go together, each 0 or more.")

    @property
    def has_answers(self) -> bool:
        """Whether anything was answered before."""
        return (self.cache / _ANSWERS).exists()

    @property
    def is_local(self) -> bool:
        """Whether the address is on loopback."""
        return consent.is_local(self.base_url)

    def check(self) -> None:
        """Ask the server for its models, so that one that cannot be used is known before anything is written.

        Raises:
            UserError: the server cannot be reached, the key is missing, or it is not accepted.
        """

        async def look(client: openai.AsyncOpenAI) -> None:
            await client.with_options(max_retries=0).models.with_raw_response.list()

        _require_client()
        import openai

        from prefbench.chat.bounded import PATIENCE, Pace, Unfit

        key = self._key()
        try:
            self._with_client(key, Pace(1, min(PATIENCE, self.timeout)), look)
        except Unfit as error:
            raise self._unreachable(_reason(error, key)) from None
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise self._unwelcome(error.status_code) from None
            if error.status_code not in _NO_LIST:
                raise self._unreachable(f"status {error.status_code}") from None
        except openai.OpenAIError as error:
            raise self._unreachable(_reason(error, key)) from None

    def kept(self, keys: Iterable[str]) -> dict[str, Answer]:
        """The answers to those of the questions that were answered before.

        Raises:
            PrefbenchError: the cache cannot be used.
        """
        if not self.has_answers:
            return {}
        with _open_cache(self.cache) as cache:
            found = {key: cache.get(key) for key in keys}
        return {key: answer for key, answer in found.items() if answer is not None}

    def gather(
        self,
        questions: Iterable[Question],
        done: Callable[[str, Answer, bool], None],
        progress: Progress | None = None,
    ) -> dict[str, Answer]:
        """Answer every question once, from the cache or by asking, `concurrency` at a time.

        Answers are stored as they come. After a failure no question is begun, those under way are waited
        for, and their answers are stored as well.

        Args:
            questions: what to answer; those with the same key are one.
            done: told each key with its answer and whether it is new. What it raises ends the asking.
            progress: told after each answer.

        Returns:
            Answers by key.

        Raises:
            JudgeFailed: the server failed for good.
            PrefbenchError: the cache cannot be used.
            UserError: the key is missing or not accepted, or the server does not know the model.
        """
        asked = {question.key: question for question in questions}
        answers: dict[str, Answer] = {}

        def take(key: str, answer: Answer, is_new: bool) -> None:
            answers[key] = answer
            if progress is not None:
                progress(len(answers), len(asked))
            done(key, answer, is_new)

        # Of the processes of one run the first asks; the others find the answers in the cache.
        with team().in_turn(), _open_cache(self.cache) as cache:
            for key in asked:
                answer = cache.get(key)
                if answer is not None:
                    take(key, answer, False)
            missing = [question for key, question in asked.items() if key not in answers]
            if missing:
                self._ask(missing, cache, take, lambda: f"{len(answers)} of {len(asked)}")
        return answers

    def _ask(
        self,
        questions: Sequence[Question],
        cache: _Cache,
        take: Callable[[str, Answer, bool], None],
        kept: Callable[[], str],
    ) -> None:
        _require_client()
        import openai

        from prefbench.chat.bounded import Pace, Stopped, Unfit

        key = self._key()
        errors: dict[int, Exception] = {}
        pace = Pace(self.concurrency, self.timeout)

        async def work(chat: Chat, queue: Iterator[tuple[int, Question]]) -> None:
            for index, question in queue:
                try:
                    answer = await question.ask(chat)
                    take(question.key, cache.put(question.key, answer), True)
                except Stopped:
                    return
                except Exception as error:
                    errors[index] = error
                    pace.stop()
                if errors:
                    return

        async def workers(client: openai.AsyncOpenAI) -> None:
            import anyio

            chat = Chat(client, self, key)
            queue = iter(enumerate(questions))
            async with anyio.create_task_group() as group:
                for _ in range(min(self.concurrency, len(questions))):
                    group.start_soon(work, chat, queue)

        self._with_client(key, pace, workers)
        if errors:
            first = errors[min(errors)]  # of several, that of the question asked first
            if isinstance(first, openai.OpenAIError | Unfit):
                raise self._failed(first, key, kept()) from None
            raise first

    def _with_client(self, key: str, pace: Pace, body: Callable[[openai.AsyncOpenAI], Awaitable[T]]) -> T:
        """Run `body` in an event loop on a thread of its own, which also works inside a notebook's loop.

        An interrupt of the waiting thread cancels what is under way at once.
        """
        import openai
        from anyio.from_thread import start_blocking_portal

        from prefbench.chat.bounded import BoundedClient

        async def run() -> T:
            # A proxy for the network is none for this machine.
            http = BoundedClient(pace, f"prefbench/{__version__}", key, trust_env=not self.is_local)
            async with openai.AsyncOpenAI(
                api_key=key or "none",
                base_url=self.base_url,
                timeout=None,  # the client bounds each request as a whole
                max_retries=self.retries,
                http_client=http,
            ) as client:
                return await body(client)

        with start_blocking_portal() as portal:
            return portal.call(run)

    def _variable(self) -> str | None:
        """The environment variable with the key; none where the server needs none."""
        return self.api_key_env or consent.variable_of(self.base_url, f"the {self.role} at {self.base_url}")

    def _key(self) -> str:
        """The key, or nothing where none is needed; says once where it goes."""
        variable = self._variable()
        if variable is None:
            consent.announce(self.base_url, None)
            return ""
        if not self.is_local and not self.base_url.lower().startswith("https:"):
            raise UserError(
                f"the {self.role} at {self.base_url} is sent no key, as anybody on the way could read it: "
                "use https://, or allow the host without a key."
            )
        key = os.environ.get(variable, "").strip()
        if not key and not self.is_local:
            raise UserError(
                f"the {self.role} at {self.base_url} needs a key: export {variable}=... with the key, or "
                f"name another variable with --allow-host {consent.place_of(self.base_url)}=VARIABLE."
            )
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise UserError(f"the variable {variable} does not hold a key: it has spaces or worse.")
        consent.announce(self.base_url, variable)
        return key

    def _unreachable(self, reason: str) -> UserError:
        return UserError(
            f"the {self.role} at {self.base_url} cannot be reached ({reason}): start the server or mend "
            f"{self.role}_url."
        )

    def _unwelcome(self, status: int) -> UserError:
        # The server's own words are left out: some quote parts of the key.
        variable = self._variable()
        if variable and os.environ.get(variable):
            how = f"does not accept the key in {variable} ({status}): set the variable to a valid one"
        else:
            place = consent.place_of(self.base_url)
            how = (
                f"wants a key ({status}): name the variable that holds it with --allow-host {place}=VARIABLE"
            )
        return UserError(f"the {self.role} at {self.base_url} {how}.")

    def _failed(self, error: Exception, key: str, kept: str) -> PrefbenchError:
        """What an error of the client means to a person."""
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            return self._unwelcome(status)
        if status == 404:
            return UserError(
                f"the {self.role} at {self.base_url} does not know the model {self.model!r} (404): mend "
                f"{self.role}_model, or {self.role}_url if it is no address of chat completions."
            )
        what = "verdicts" if self.role == "judge" else "answers"
        return JudgeFailed(
            f"the {self.role} at {self.base_url} failed ({_reason(error, key)}): {kept} {what} are "
            "kept, and the same command continues from there."
        )


def _require_client() -> None:
    """Say what to install where the protocol's client is missing."""
    if importlib.util.find_spec("openai") is None or importlib.util.find_spec("anyio") is None:
        raise UserError("asking a model on a server needs a client: pip install 'prefbench[judge]'.")


def _check_url(url: str, role: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        raise UserError(f"{role}_url is no address: give one such as http://127.0.0.1:8000/v1.") from None
    if parts.username is not None or parts.password is not None:
        raise UserError(f"{role}_url must not hold a name or a password: keys come from the environment.")
    if not usable or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise UserError(f"{role}_url {url!r} is no address: give one such as http://127.0.0.1:8000/v1.")


def _reason(error: Exception, key: str) -> str:
    """Why a request failed, on one line without the key."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return message_or_type(error.__cause__ or error)
    if isinstance(error, openai.APIConnectionError):
        return _scrub(message_or_type(error.__cause__ or error), key)
    if isinstance(error, openai.RateLimitError):
        return "rate limit, status 429"
    if isinstance(error, openai.APIStatusError):
        said = error.body.get("message") if isinstance(error.body, Mapping) else None
        said = message_or_type(Exception(_scrub(said, key))) if isinstance(said, str) else ""
        return f"status {error.status_code}{': ' if said else ''}{said}"
    return _scrub(message_or_type(error), key)


def _scrub(text: str, key: str) -> str:
    """`text` without the key, should a server send it back, and without what no UTF-8 file can hold.

    A made-up key, such as servers on this machine may ask for, can be a word of the text.
    """
    return utf8(text.replace(key, "[key]") if len(key) >= _SECRET else text)


def utf8(text: str) -> str:
    """The text with a question mark for whatever no server takes, such as half a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8")


# --- one conversation -------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """What a server said to one message."""

    text: str
    finish: str
    """`stop`, `length` where the limit of tokens cut it short, or `refused`."""
    retries: int
    prompt_tokens: int | None
    completion_tokens: int | None
    """None where the server does not count."""
    model: str
    """The name under which the server answered, which may say more than the one asked for."""


class Chat:
    """Sends single messages to a server; shared by all workers."""

    def __init__(self, client: openai.AsyncOpenAI, server: Server, key: str) -> None:
        self._client = client
        self._server = server
        self._key = key
        self._limit = "max_tokens"

    async def send(self, text: str, temperature: float, max_tokens: int) -> Reply:
        """The reply to one message, which begins a conversation of its own.

        Raises:
            openai.OpenAIError: the request failed, after all its retries where those could help.
        """
        import openai

        from prefbench.chat.bounded import Unfit

        limit = self._limit
        while True:
            try:
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=self._server.model,
                    messages=[{"role": "user", "content": utf8(text)}],
                    temperature=temperature,
                    extra_body={limit: max_tokens},
                )
            except openai.BadRequestError as error:
                if error.code == "content_filter":
                    return Reply("", "refused", 0, None, None, "")
                # Newer models of one provider know the limit only by its newer name, most servers by the old.
                if limit == "max_tokens" and (error.code, error.param) == ("unsupported_parameter", limit):
                    limit = self._limit = "max_completion_tokens"
                    continue
                raise
            try:
                return self._reply(raw.parse(), raw.retries_taken)
            except (ValueError, RecursionError):
                raise Unfit("the answer is no JSON") from None

    def _reply(self, completion: Any, retries: int) -> Reply:
        from prefbench.chat.bounded import Unfit

        # The client checks no types: whatever a server sends comes through.
        choices: Any = getattr(completion, "choices", None)
        message = getattr(choices[0], "message", None) if isinstance(choices, list) and choices else None
        if message is None:
            raise Unfit(f"the answer is no chat completion; does {self._server.role}_url lack a /v1?")
        content = getattr(message, "content", None)
        finish = str(getattr(choices[0], "finish_reason", None) or "stop")
        if getattr(message, "refusal", None) or finish == "content_filter":
            finish = "refused"
        usage = getattr(completion, "usage", None)
        return Reply(
            _scrub(content, self._key) if isinstance(content, str) else "",
            finish,
            retries,
            _count(getattr(usage, "prompt_tokens", None)),
            _count(getattr(usage, "completion_tokens", None)),
            _scrub(str(getattr(completion, "model", None) or ""), self._key)[:200],
        )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**53 else None


# --- answers that are kept --------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What is kept of a question that was answered, and what it took."""

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
    def of(cls, text: str, status: str, replies: Sequence[Reply]) -> Answer:
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
    ask: Callable[[Chat], Awaitable[Answer]]


def totals(server: Server, answers: Iterable[Answer]) -> dict[str, Any]:
    """What answers took altogether, those from the cache included: tokens, retries and cost.

    Returns:
        `requests`, `retries`, `prompt_tokens`, `completion_tokens`, `uncounted_requests` (whose tokens the
        server did not count, so that these are missing), `cost` (None without prices) and `answered_as`, the
        names under which the server answered.
    """
    kept = list(answers)
    prompt, completion = sum(a.prompt_tokens for a in kept), sum(a.completion_tokens for a in kept)
    cost = None
    if server.prompt_price is not None and server.completion_price is not None:
        cost = (prompt * server.prompt_price + completion * server.completion_price) / 1e6
    return {
        "requests": sum(a.requests for a in kept),
        "retries": sum(a.retries for a in kept),
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "uncounted_requests": sum(a.uncounted for a in kept),
        "cost": cost,
        "answered_as": sorted({a.model for a in kept} - {""}),
    }


_FORMAT = 1
_TABLE = """
    CREATE TABLE answers (
        key TEXT PRIMARY KEY, text TEXT NOT NULL, status TEXT NOT NULL, requests INTEGER NOT NULL,
        retries INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        uncounted INTEGER NOT NULL, model TEXT NOT NULL
    ) STRICT
"""
_COLUMNS = ", ".join(Answer._fields)
_BUSY_SECONDS = 60.0


class _Cache:
    """Answers by key, in SQLite with a write-ahead log: many may read and write, and a kill loses nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: str) -> Answer | None:
        row = self._connection.execute(f"SELECT {_COLUMNS} FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else Answer(*row)

    def put(self, key: str, answer: Answer) -> Answer:
        """Store an answer; of two processes that asked the same, both go on with the one stored first."""
        marks = ", ".join("?" * (1 + len(answer)))
        self._connection.execute(
            f"INSERT OR IGNORE INTO answers (key, {_COLUMNS}) VALUES ({marks})", (key, *answer)
        )
        return self.get(key) or answer


@contextlib.contextmanager
def _open_cache(folder: Path) -> Iterator[_Cache]:
    path = folder / _ANSWERS
    try:
        with contextlib.closing(_connect(path)) as connection:
            yield _Cache(connection)
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
            lock = path.with_suffix(".lock").open("a")
    except OSError as error:
        raise UserError(
            f"the cache '{path.parent}' cannot be used ({error.strerror}): name another folder."
        ) from None
    # Two that create the file at once would find it locked: switching to the log does not wait.
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
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
