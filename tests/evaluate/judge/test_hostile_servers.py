"""Servers that are hostile and servers that are slow: little time and memory are theirs."""

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, repeat

import pytest

from prefbench.chat.server import Server
from prefbench.data.generate import ServerWriter
from prefbench.errors import JudgeFailed, UserError
from support.judge_server import HEAD, MODEL, Answer, Failure, Wire, prefers, serving, whole
from support.judged import compare, many


def chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """A body in chunks, after its head."""
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    for part in parts:
        yield b"%x\r\n%s\r\n" % (len(part), part)


def packed(name: str, pack: Callable[[bytes], bytes]) -> Wire:
    """8 MB of spaces before a verdict, in some 8 kB."""
    head = HEAD + f"Content-Encoding: {name}\r\n".encode()
    return Wire(lambda: [whole("A", head, lambda raw: pack(b" " * 8_000_000 + raw))])


MANY = 100_000_000 // 65_536
HOSTILE = {
    "a body without end": (Wire(lambda: chunks(repeat(b" " * 65_536, MANY))), "larger than 4 MiB"),
    "a body without end or chunks": (
        Wire(lambda: chain([HEAD + b"\r\n"], repeat(b" " * 65_536, MANY))),
        "larger than 4 MiB",
    ),
    "an error without end": (
        Wire(lambda: chain([b"HTTP/1.1 400 Bad\r\n\r\n"], repeat(b" " * 65_536, MANY))),
        "larger than 4 MiB",
    ),
    "a gzip bomb": (packed("gzip", gzip.compress), "compressed"),
    "a deflate bomb": (packed("deflate", zlib.compress), "compressed"),
    "a bomb in a bomb": (packed("gzip, gzip", lambda raw: gzip.compress(gzip.compress(raw))), "compressed"),
    "brotli": (packed("br", lambda _: b"\x0b\x02\x80abc\x03"), "compressed"),
    "a byte at a time": (
        Wire(lambda: (bytes([byte]) for byte in whole("A")), pause=0.02),
        "no answer within",
    ),
    "headers without end": (
        Wire(lambda: chain([HEAD], repeat(b"X-More: 1\r\n", 1000)), 0.02),
        "no answer within",
    ),
    "headers that are too large": (
        Wire(lambda: chain([HEAD], repeat(b"X-M: " + b"x" * 9000, 20))),
        "error|too",
    ),
    "news before the answer": (
        Wire(lambda: repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n", 1000), 0.02),
        "no answer within",
    ),
    "silence": (Wire(lambda: repeat(b"", 1000), 0.02), "no answer within"),
    "a deep answer": (Failure(200, "[" * 100_000), "no JSON"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_costs_little_time_and_memory_and_ends_in_one_line(server, make, name):
    hostile, line = HOSTILE[name]
    asked = 0

    def mind(message: str) -> Answer:
        nonlocal asked
        asked += 1
        return prefers(len)(message) if asked == 1 else hostile

    server.mind = mind
    begun = time.monotonic()
    with pytest.raises(JudgeFailed, match=line) as error:
        compare(make(concurrency=1, retries=1, timeout=0.4), ("aa", "b"))
    assert "1 of 2 verdicts are kept" in str(error.value) and "\n" not in str(error.value)
    assert time.monotonic() - begun < 5
    assert server.sent < 30_000_000, "it hung up"


@pytest.mark.parametrize("name", ["a body without end", "a gzip bomb", "a byte at a time", "silence"])
def test_a_hostile_list_of_models_is_one_line(server, make, name):
    server.models, line = HOSTILE[name]
    with pytest.raises(UserError, match=f"cannot be reached .*{line}") as error:
        make(timeout=0.4).check()
    assert "\n" not in str(error.value)


def test_a_writer_is_as_careful(server, tmp_path):
    server.mind = lambda _: HOSTILE["a body without end"][0]
    writer = ServerWriter(Server(server.url, MODEL, tmp_path, role="writer"))
    with pytest.raises(JudgeFailed, match=r"writer at .* larger than 4 MiB\): 0 of 1 answers are kept"):
        writer.write(["Name a colour."])


def test_no_redirect_is_followed_anywhere(server, make):
    with serving(prefers(len)) as other:
        for place in (f"{other.url}/chat/completions", f"{server.url}/chat/completions", "//127.0.0.1/"):
            server.requests.clear()
            server.mind = lambda _, place=place: Failure(308, {}, {"Location": place})
            with pytest.raises(JudgeFailed, match="status 308"):
                compare(make(concurrency=1, retries=0), ("aa", "b"))
            assert len(server.chats) == 1
        server.models = Failure(302, {}, {"Location": f"{other.url}/models"})
        with pytest.raises(UserError, match="status 302"):
            make().check()
        assert not other.requests


class OneAtATime:
    """A server with one place that works on what it was sent, also when nobody waits any more."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.place = threading.Lock()

    def __call__(self, message: str) -> str:
        with self.place:
            time.sleep(self.seconds)
        return prefers(len)(message)


def test_a_slow_server_with_one_place_finishes(server, make, monkeypatch):
    """As one that needs 20 s for an answer where 60 s are waited for at first, at a hundredth of the time."""
    monkeypatch.setattr("prefbench.chat.bounded.PATIENCE_SECONDS", 0.6)
    place, begun = OneAtATime(0.2), time.monotonic()

    def mind(message: str) -> str:
        while server.most_at_once < 8 and time.monotonic() - begun < 5:
            time.sleep(0.001)  # the first of them wait for each other, however slowly they come
        return place(message)

    server.mind = mind
    judge = make(timeout=3.0)
    assert compare(judge, *many(10)) == [0] * 10
    assert server.most_at_once >= 8, "that is how it begins"
    assert judge.report()["retries"] == 0, "less patience than allowed is no failure"


def test_a_server_that_turns_away_what_it_has_no_place_for_finishes(server, make):
    place = threading.Lock()

    def mind(message: str) -> Answer:
        if not place.acquire(blocking=False):
            return Failure(503, {"error": {"message": "no slot"}})
        time.sleep(0.05)
        place.release()
        return prefers(len)(message)

    server.mind = mind
    assert compare(make(), *many(20)) == [0] * 20
    turned_away = len(server.chats) - 40
    assert 0 < turned_away < 20


def test_more_is_asked_again_when_a_server_recovers(server, make):
    busy = [Failure(429, {})] * 7
    lock = threading.Lock()
    counts: list[int] = []

    def mind(message: str) -> Answer:
        with lock:
            counts.append(server.now)
            if busy and len(counts) > 1:
                return busy.pop()
        time.sleep(0.15)  # long enough that a busy machine asks meanwhile
        return prefers(len)(message)

    server.mind = mind
    compare(make(), *many(100))
    assert max(counts[12:20]) <= 4 and max(counts[-60:]) >= 7


def test_a_server_that_is_never_heard_of_is_given_up_for_all_questions_at_once(server, make, monkeypatch):
    monkeypatch.setattr("prefbench.chat.bounded.PATIENCE_SECONDS", 0.1)
    server.mind = lambda _: HOSTILE["silence"][0]
    begun = time.monotonic()
    with pytest.raises(JudgeFailed, match=r"no answer within \d+ seconds\): 0 of 60 verdicts are kept"):
        compare(make(timeout=0.5, retries=50), *many(30))
    assert time.monotonic() - begun < 4
