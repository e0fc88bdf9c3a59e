"""A server on loopback that speaks as much of the OpenAI-compatible protocol as judges and policies need.

What it answers is a function of the message, so that a test states a judge's character in one line.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "test-model"


@dataclass
class Failure:
    """An answer that is no chat completion."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Said:
    """A chat completion, where a bare string would not do."""

    content: Any
    finish: str = "stop"
    refusal: str | None = None
    usage: dict[str, int] | None = field(
        default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 7}
    )
    model: str = MODEL + "-0613"


@dataclass
class Wire:
    """What goes over the wire as it is, head included: for a server that is broken or hostile.

    It ends with its parts, with the test, or with whoever gives up listening.
    """

    parts: Callable[[], Iterable[bytes]]
    pause: float = 0.0
    """Seconds after each part."""


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def whole(verdict: str, head: bytes = HEAD, pack: Callable[[bytes], bytes] = bytes) -> bytes:
    """A chat completion that says so, as bytes of the wire."""
    message = {"role": "assistant", "content": f"VERDICT: {verdict}"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    raw = pack(
        json.dumps({"id": "1", "object": "chat.completion", "model": MODEL, "choices": [choice]}).encode()
    )
    return head + b"Content-Length: %d\r\n\r\n" % len(raw) + raw


Answer = str | Said | Failure | Wire
Mind = Callable[[str], Answer]
"""From a message to what is said to it."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def message(self) -> str:
        return self.body["prompt"] if self.is_completion else self.body["messages"][-1]["content"]

    @property
    def is_completion(self) -> bool:
        """A text is to be continued; else a chat."""
        return "prompt" in self.body


class JudgeServer:
    """What the handler shares with the test: the mind, and what was asked."""

    def __init__(self, mind: Mind) -> None:
        self.mind = mind
        self.requests: list[Request] = []
        self.models: Answer | None = None
        self.names = [MODEL]
        self.url = ""
        self.now = self.most_at_once = 0
        self.sent = 0
        self.over = threading.Event()
        self.lock = threading.Lock()

    @property
    def chats(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]


def sides(message: str) -> tuple[str, str, str]:
    """The prompt and responses A and B of a judge's question."""
    found = re.search(
        r"^(=====\w{12}) PROMPT\n(.*)\n\1 RESPONSE A\n(.*)\n\1 RESPONSE B\n(.*)\n\1 END$",
        message,
        re.M | re.S,
    )
    assert found is not None, message
    return found[2], found[3], found[4]


def prefers(score: Callable[[str], float]) -> Mind:
    """A judge without a flaw, who likes the response with the larger score."""

    def mind(message: str) -> str:
        _, a, b = sides(message)
        return f"VERDICT: {'TIE' if score(a) == score(b) else 'A' if score(a) > score(b) else 'B'}"

    return mind


def in_turn(*answers: Answer | Mind) -> Mind:
    """Each answer once, in order; the last one from then on."""
    left = list(answers)
    lock = threading.Lock()

    def mind(message: str) -> Answer:
        with lock:
            answer = left.pop(0) if len(left) > 1 else left[0]
        return answer(message) if callable(answer) else answer

    return mind


@contextmanager
def serving(mind: Mind) -> Iterator[JudgeServer]:
    state = JudgeServer(mind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else an answer waits for the client to acknowledge its headers

        def do_GET(self) -> None:
            self.note({})
            listing = Said(None) if state.models is None else state.models
            if isinstance(listing, Wire):
                self.wire(listing)
            elif isinstance(listing, Failure):
                self.reply(listing.status, listing.body, listing.headers)
            else:
                data = [{"id": name, "object": "model"} for name in state.names]
                self.reply(200, {"object": "list", "data": data}, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.now += 1
                state.most_at_once = max(state.most_at_once, state.now)
            asked = self.note(body)
            try:
                answer = state.mind(asked.message)
            finally:
                with state.lock:
                    state.now -= 1
            if isinstance(answer, Failure):
                self.reply(answer.status, answer.body, answer.headers)
                return
            if isinstance(answer, Wire):
                self.wire(answer)
                return
            said = Said(answer) if isinstance(answer, str) else answer
            choice = {"index": 0, "finish_reason": said.finish}
            if asked.is_completion:
                choice["text"] = said.content
            else:
                choice["message"] = {
                    "role": "assistant",
                    "content": said.content,
                    "refusal": said.refusal,
                }
            self.reply(
                200,
                {
                    "id": "1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": said.model,
                    "choices": [choice],
                    "usage": said.usage,
                },
                {},
            )

        def note(self, body: dict[str, Any]) -> Request:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body, time.monotonic())
            with state.lock:
                state.requests.append(request)
            return request

        def reply(self, status: int, body: Any, headers: dict[str, str]) -> None:
            raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def wire(self, answer: Wire) -> None:
            self.close_connection = True
            for part in answer.parts():
                self.wfile.write(part)
                with state.lock:
                    state.sent += len(part)
                if state.over.wait(answer.pause):
                    return

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # a client that gave up waiting

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield state
    finally:
        state.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
