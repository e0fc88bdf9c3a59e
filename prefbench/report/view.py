"""The page of a runs folder, served to this machine's own browser while runs go on.

The server listens on the loopback address alone and answers `GET /` alone: no other path is looked at, so no
address reaches a file. A request that calls this machine by another name is turned away, since a stranger's
site may have its own name point here and would then read what its visitor's browser is given.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prefbench.errors import UserError
from prefbench.record.files import RECORD_FILE, check_runs_dir
from prefbench.record.packed import board_at
from prefbench.report.markup import escape
from prefbench.report.page import PROMPTS, assembled, page, script, style
from prefbench.text import one_line

LOOPBACK = "127.0.0.1"
_TIMEOUT_SECONDS = 10.0
"""Seconds that a browser may take over its request."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ALONE = "default-src 'none'; frame-ancestors 'none'"
"""Policy of an answer that is no page."""


def state_of(runs_dir: Path) -> str:
    """The state of a runs folder in a word: another one whenever a record came, went or was written anew."""
    found = hashlib.sha256()
    files = [runs_dir] if board_at(runs_dir) is not None else sorted(runs_dir.glob(f"*/{RECORD_FILE}"))
    for file in files:
        try:
            seen = file.stat()
        except OSError:  # it went while we looked
            continue
        found.update(repr((str(file), seen.st_mtime_ns, seen.st_size, seen.st_ino)).encode())
    return found.hexdigest()[:32]


@dataclass
class LivePage:
    """The page of a runs folder, made when it is asked for and its records have changed."""

    runs_dir: Path
    prompts: int = PROMPTS
    say: Callable[[str], None] = print
    """Prints a warning; each is said once."""
    _state: str = ""
    _text: bytes = b""
    _said: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> tuple[str, bytes]:
        """The state's name, and the page of it; of runs that make no page, one that says why."""
        with self._lock:  # one page is made at a time
            try:
                state = state_of(self.runs_dir)
            except UserError as error:  # a board that is being written, say
                state = hashlib.sha256(str(error).encode()).hexdigest()[:32]
                return state, _waiting(str(error), state)
            if state != self._state or not self._text:
                self._text = self._made(state)
                self._state = state
            return state, self._text

    def _made(self, state: str) -> bytes:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                made = page(self.runs_dir, self.prompts, state).encode()
            except UserError as error:
                made = _waiting(str(error), state)
            except Exception as error:  # the runs may be a stranger's; what comes after them may be whole
                self._tell(f"no page of these runs: {type(error).__name__}: {error}")
                made = _waiting(f"These runs make no page ({type(error).__name__}).", state)
        for warning in caught:
            self._tell(str(warning.message))
        return made

    def _tell(self, message: str) -> None:
        said = one_line(message)
        if said not in self._said:
            self._said.add(said)
            self.say(said)


def _waiting(why: str, state: str) -> bytes:
    """A page that says why there is nothing to see, and looks for something newer as the whole one does."""
    parts = {"why": escape(why)}
    return assembled("waiting.html", parts, style(), script(("live",)), state).encode()


class PageServer(ThreadingHTTPServer):
    """Serves one page to this machine."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, shown: LivePage, port: int) -> None:
        self.shown = shown
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    @property
    def names(self) -> frozenset[str]:
        """Names that a request may call this server by."""
        return frozenset(f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost"))


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version = "prefbench"
    sys_version = ""
    timeout = _TIMEOUT_SECONDS

    def do_GET(self) -> None:
        """The page, or nothing new."""
        if self.headers.get_all("Host") not in [[name] for name in self.server.names]:
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST)
        if self.path != "/":
            return self._refuse(HTTPStatus.NOT_FOUND)
        state, text = self.server.shown.now()
        tag = f'"{state}"'
        known = self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if known else HTTPStatus.OK)
        self.send_header("ETag", tag)
        # The page's own policy is in it and allows no more than its script and style; two policies both hold.
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        if not known:
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
        self._end()
        if not known:
            self.wfile.write(text)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A refusal of what is no GET, or no HTTP, in as few words as the rest."""
        refused = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._refuse(refused)

    def _refuse(self, code: HTTPStatus) -> None:
        text = f"{code.phrase}\n".encode()
        self.close_connection = True
        self.send_response(code)
        if code == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.send_header("Content-Security-Policy", _ALONE)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self._end()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _end(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a browser that asks every two seconds is no news."""


def serve(runs_dir: Path, port: int, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Serve the page of a runs folder until somebody interrupts.

    Args:
        runs_dir: the runs; none need be there yet.
        port: of the loopback address; 0 takes a free one.
        say: prints where the page is.
        warn: prints a warning.

    Raises:
        UserError: there is no such folder, or the port is taken or not ours to take.
    """
    runs_dir = Path(runs_dir)
    check_runs_dir(runs_dir)
    try:
        server = PageServer(LivePage(runs_dir, say=warn), port)
    except OSError as error:
        raise UserError(f"port {port} cannot be had ({error.strerror}): take another, or 0.") from None
    with server:
        say(f"{server.url} shows '{runs_dir}' to this machine while runs go on; Ctrl-C ends it")
        server.serve_forever()
