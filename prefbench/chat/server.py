"""Asking a language model behind any server that speaks the OpenAI-compatible chat protocol.

Answers are kept in a cache by what was asked, so that work that was stopped continues, and nothing is paid
for twice. Nothing is sent before it is asked for, and then only to the server that was named.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from prefbench import consent
from prefbench.chat.answers import ANSWERS, Cache, KeptAnswer, Question, open_cache
from prefbench.chat.client import Chat, scrub
from prefbench.errors import JudgeFailed, PrefbenchError, UserError
from prefbench.team import team
from prefbench.text import message_or_type
from prefbench.version import __version__

if TYPE_CHECKING:
    import openai

    from prefbench.chat.bounded import Pace


T = TypeVar("T")
OnAnswers = Callable[[int, int], None]
"""Told how many questions are answered, and of how many."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")

# A server that is there but lists no models: `transformers serve` says 500 where there is no hub cache.
_NO_LIST = (404, 405, 429, 500, 501)
TIMEOUT_SECONDS = 300.0
"""Seconds that an answer may take unless somebody says otherwise."""


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
    timeout: float = TIMEOUT_SECONDS
    retries: int = 5
    prompt_price: float | None = None
    completion_price: float | None = None
    role: str = "judge"

    def __post_init__(self) -> None:
        _check_url(self.base_url, self.option("url"))
        # The name, not the value: whoever puts the key itself here must not see it in a message or a record.
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            raise UserError(
                f"{self.option('key_env')} must be the name of an environment variable in capitals, "
                "never the key itself."
            )
        if not self.model.strip() or not self.model.isprintable():
            raise UserError(f"{self.option('model')} must be the model's name on the server, on one line.")
        if self.concurrency < 1 or self.retries < 0 or not 0 < self.timeout < math.inf:
            raise UserError(
                f"the {self.role} needs a concurrency of 1 or more, a timeout above 0 seconds "
                "and no fewer than 0 retries."
            )
        prices = [price for price in (self.prompt_price, self.completion_price) if price is not None]
        if len(prices) == 1 or not all(0 <= price < math.inf for price in prices):
            raise UserError(f"the {self.role}'s two prices per million tokens go together, each 0 or more.")

    def option(self, name: str) -> str:
        """The option that says something of the server, as messages call it."""
        if self.role == "policy":
            return "--policy" if name == "url" else f"--set policy.{name}"
        return f"{self.role}_{name}"

    @property
    def has_answers(self) -> bool:
        """True if anything was answered before."""
        return (self.cache / ANSWERS).exists()

    @property
    def is_local(self) -> bool:
        """True if the address is on loopback."""
        return consent.is_local(self.base_url)

    def check(self) -> list[str] | None:
        """Ask the server for its models, so that one that cannot be used is known before anything is written.

        Returns:
            Their names; None where the server lists none.

        Raises:
            UserError: the server cannot be reached, the key is missing, or it is not accepted.
        """

        async def look(client: openai.AsyncOpenAI) -> Any:
            return await client.with_options(max_retries=0).models.with_raw_response.list()

        _require_client()
        import openai

        from prefbench.chat.bounded import PATIENCE_SECONDS, Pace, UnfitAnswer

        key = self._key()
        try:
            return _listed(self._with_client(key, Pace(1, min(PATIENCE_SECONDS, self.timeout)), look))
        except UnfitAnswer as error:
            raise self._unreachable(_reason(error, key)) from None
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise self._unwelcome(error.status_code) from None
            if error.status_code not in _NO_LIST:
                raise self._unreachable(f"status {error.status_code}") from None
        except openai.OpenAIError as error:
            raise self._unreachable(_reason(error, key)) from None
        return None

    def kept(self, keys: Iterable[str]) -> dict[str, KeptAnswer]:
        """The answers to those of the questions that were answered before.

        Raises:
            PrefbenchError: the cache cannot be used.
        """
        if not self.has_answers:
            return {}
        with open_cache(self.cache) as cache:
            found = {key: cache.get(key) for key in keys}
        return {key: answer for key, answer in found.items() if answer is not None}

    def gather(
        self,
        questions: Iterable[Question],
        done: Callable[[str, KeptAnswer, bool], None],
        progress: OnAnswers | None = None,
    ) -> dict[str, KeptAnswer]:
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
        answers: dict[str, KeptAnswer] = {}

        def take(key: str, answer: KeptAnswer, is_new: bool) -> None:
            answers[key] = answer
            if progress is not None:
                progress(len(answers), len(asked))
            done(key, answer, is_new)

        # Of the processes of one run the first asks; the others find the answers in the cache.
        with team().in_turn(), open_cache(self.cache) as cache:
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
        cache: Cache,
        take: Callable[[str, KeptAnswer, bool], None],
        kept: Callable[[], str],
    ) -> None:
        _require_client()
        import openai

        from prefbench.chat.bounded import Pace, Stopped, UnfitAnswer

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

            chat = Chat(client, self.model, self.option("url"), key)
            queue = iter(enumerate(questions))
            async with anyio.create_task_group() as group:
                for _ in range(min(self.concurrency, len(questions))):
                    group.start_soon(work, chat, queue)

        self._with_client(key, pace, workers)
        if errors:
            first = errors[min(errors)]  # of several, that of the question asked first
            if isinstance(first, openai.OpenAIError | UnfitAnswer):
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
        consent.refuse_clear(self.base_url, f"the {self.role} at {self.base_url}")
        key = os.environ.get(variable, "").strip()
        if not key and not self.is_local:
            raise UserError(
                f"the {self.role} at {self.base_url} needs a key: export {variable}=... with the key, or "
                f"name another variable with --allow-host {consent.place_of(self.base_url)}=VARIABLE."
            )
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise UserError(
                f"the variable {variable} does not hold a key: it has spaces or worse; export it again."
            )
        consent.announce(self.base_url, variable)
        return key

    def _unreachable(self, reason: str) -> UserError:
        return UserError(
            f"the {self.role} at {self.base_url} cannot be reached ({reason}): start the server or mend "
            f"{self.option('url')}."
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
        """The error to show for an error of the client."""
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            return self._unwelcome(status)
        if status == 404:
            return UserError(
                f"the {self.role} at {self.base_url} does not know the model {self.model!r} (404): mend "
                f"{self.option('model')}, or {self.option('url')} if it is no address of chat completions."
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


def _listed(raw: Any) -> list[str] | None:
    """Names of the models in a server's list; None if it is no such list."""
    try:
        models = raw.parse().data
        names = [model.id for model in models]
    except Exception:  # the client checks no types: whatever a server sends comes through
        return None
    return names if names and all(isinstance(name, str) and name.isprintable() for name in names) else None


def _check_url(url: str, option: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        raise UserError(f"{option} is no address: give one such as http://127.0.0.1:8000/v1.") from None
    if parts.username is not None or parts.password is not None:
        raise UserError(
            f"{option} must not hold a name or a password: keys come from the environment; take it out."
        )
    if not usable or parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise UserError(f"{option} {url!r} is no address: give one such as http://127.0.0.1:8000/v1.")


def _reason(error: Exception, key: str) -> str:
    """The reason why a request failed, on one line without the key."""
    import openai

    if isinstance(error, openai.APITimeoutError):
        return message_or_type(error.__cause__ or error)
    if isinstance(error, openai.APIConnectionError):
        return scrub(message_or_type(error.__cause__ or error), key)
    if isinstance(error, openai.RateLimitError):
        return "rate limit, status 429"
    if isinstance(error, openai.APIStatusError):
        said = error.body.get("message") if isinstance(error.body, Mapping) else None
        said = message_or_type(Exception(scrub(said, key))) if isinstance(said, str) else ""
        return f"status {error.status_code}{': ' if said else ''}{said}"
    return scrub(message_or_type(error), key)


def totals(server: Server, answers: Iterable[KeptAnswer]) -> dict[str, Any]:
    """Sums over all answers, those from the cache included: tokens, retries and cost.

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
