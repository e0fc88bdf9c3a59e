"""The HTTP client behind `prefbench.chat.server`, for servers that are slow, broken or hostile.

Nothing that a server sends is taken without a bound: not the size of an answer, not the time until its last
byte, not a compressed body, not another address to go to. A server that is slow is asked less at a
time and waited for longer, so that one that answers a single question at a time is not drowned.
"""

from __future__ import annotations

import time
from typing import Any

import anyio
import httpx2
import openai

from prefbench.text import show_bytes

ANSWER_BYTES = 4 * 2**20
"""Longest body of an answer; a model that thinks for 100,000 tokens stays below."""
PATIENCE_SECONDS = 60.0
"""Seconds that an answer may take at first, where the server's time-out allows more."""
TOO_MANY = 429
"""Status by which a server says that it is asked too much; one that breaks down (5xx) may be, too."""
STEADY_ANSWERS = 10
"""Good answers in a row after which one more request at a time is tried."""

# The client adds headers that describe this machine and its Python, and others that it finds in the
# environment. These are what the protocol needs, and one by which the client knows its own request.
_HEADERS = {
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "x-stainless-raw-response",
}


class UnfitAnswer(Exception):
    """An answer is of no use, and asking again would not help."""


class Stopped(Exception):
    """A request was not begun, because another one has failed for good."""


class Pace:
    """The number of requests under way and the patience with an answer, adjusted to how the server does.

    A time-out, or a status that says the server is busy or broken, halves the number, down to one; many good
    answers in a row raise it by one. A time-out also doubles the patience, up to `longest`.
    """

    def __init__(self, concurrency: int, longest: float) -> None:
        self._most = concurrency
        self._longest = longest
        self._limiter = anyio.CapacityLimiter(concurrency)
        self._patience = min(PATIENCE_SECONDS, longest)
        self._round = 0
        self._good = 0
        self._steady = STEADY_ANSWERS
        self._raised = False
        self._heard = time.monotonic()
        self._stopped = False

    def stop(self) -> None:
        """Begin no request from now on."""
        self._stopped = True

    async def request(self, client: BoundedClient, request: httpx2.Request, **more: Any) -> httpx2.Response:
        """The server's answer to a request, which is made again as long as patience can grow.

        Raises:
            httpx2.ReadTimeout: there was no whole answer in `longest` seconds.
            Stopped: see `stop`.
            UnfitAnswer: the answer is too large or compressed, or nothing came for twice `longest` seconds.
        """
        while True:
            async with self._limiter:
                if self._stopped:
                    raise Stopped
                begun, patience = self._round, self._patience
                try:
                    with anyio.fail_after(patience):
                        response = await client.whole(request, **more)
                except TimeoutError:
                    self._slow_down(begun)
                    self._patience = min(max(self._patience, 2 * patience), self._longest)
                    silence = time.monotonic() - self._heard
                    if silence >= 2 * self._longest:
                        raise UnfitAnswer(f"no answer within {silence:.0f} seconds") from None
                    if patience >= self._longest:
                        words = f"no answer within {patience:g} seconds"
                        raise httpx2.ReadTimeout(words, request=request) from None
                    continue
            self._heard = time.monotonic()
            if response.status_code == TOO_MANY or response.is_server_error:
                self._slow_down(begun)
            elif response.is_success:
                self._speed_up()
            return response

    def _slow_down(self, begun: int) -> None:
        self._good = 0
        # What was begun before the last change tells nothing about the number since.
        if begun == self._round:
            self._round += 1
            if self._raised:  # one more was too much: it is tried again later each time
                self._steady = min(2 * self._steady, 16 * STEADY_ANSWERS)
            self._raised = False
            self._limiter.total_tokens = max(1, self._limiter.total_tokens // 2)

    def _speed_up(self) -> None:
        self._good += 1
        if self._limiter.total_tokens < self._most and self._good >= self._steady:
            if self._raised:
                self._steady = STEADY_ANSWERS  # the last one did no harm
            self._raised = True
            self._good = 0
            self._limiter.total_tokens += 1


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """The protocol client's own HTTP client, with bounds, and without what describes this machine.

    Args:
        pace: how much is asked at a time, and how long an answer may take.
        agent: what it calls itself.
        key: sent with every request unless it is empty.
        trust_env: whether the environment's proxies are used.
    """

    def __init__(self, pace: Pace, agent: str, key: str, trust_env: bool) -> None:
        super().__init__(timeout=None, follow_redirects=False, trust_env=trust_env)
        self._pace = pace
        self._own = {"user-agent": agent, "accept-encoding": "identity"}
        if key:
            self._own["authorization"] = f"Bearer {key}"

    async def send(self, request: httpx2.Request, **more: Any) -> httpx2.Response:
        """Send as the base class does, at the pace of the server."""
        for name in set(request.headers) - _HEADERS:
            del request.headers[name]
        request.headers.update(self._own)
        return await self._pace.request(self, request, **{**more, "stream": True, "follow_redirects": False})

    async def whole(self, request: httpx2.Request, **more: Any) -> httpx2.Response:
        """An answer with all of its body, which is neither large nor compressed."""
        response = await super().send(request, **more)
        try:
            packed = response.headers.get("content-encoding", "").strip().lower()
            if packed not in ("", "identity"):
                raise UnfitAnswer("the answer is compressed, which was not asked for")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > ANSWER_BYTES:
                    raise UnfitAnswer(f"the answer is larger than {show_bytes(ANSWER_BYTES, binary=True)}")
        finally:
            await response.aclose()
        return httpx2.Response(
            response.status_code, headers=response.headers, content=bytes(body), request=request
        )
