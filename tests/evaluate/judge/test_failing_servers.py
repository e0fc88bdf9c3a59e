"""Servers that fail, are late, away or busy: what is waited for, and the one line that says what is wrong."""

import signal
import threading
import time

import pytest

from prefbench.errors import JudgeFailed, PrefbenchError, UserError
from support.judge_server import MODEL, Failure, in_turn, prefers, serving, sides
from support.judged import KEY, RATE_LIMIT, VARIABLE, compare, many


def test_a_rate_limit_is_waited_for(server, make):
    server.mind = in_turn(RATE_LIMIT, RATE_LIMIT, prefers(len))
    judge = make(concurrency=1)
    assert compare(judge, ("aa", "b")) == [1]
    moments = [request.at for request in server.chats]
    assert len(moments) == 4 and min(moments[1] - moments[0], moments[2] - moments[1]) >= 0.05
    assert judge.report()["retries"] == 2
    again = make()
    compare(again, ("aa", "b"))
    assert again.report()["retries"] == 2


@pytest.mark.parametrize(
    ("failure", "reason", "requests"),
    [
        (RATE_LIMIT, "rate limit, status 429", 3),
        (Failure(503, "busy"), "status 503", 3),
        (
            Failure(400, {"error": {"message": "the context is\ntoo small"}}),
            "400: the context is too small",
            1,
        ),
        (Failure(307, {}, {"Location": "http://127.0.0.1:9/v1/chat/completions"}), "status 307", 1),
        (Failure(200, "<html>", {"Content-Type": "text/html"}), "no chat completion", 1),
        (Failure(200, "{"), "no JSON", 1),
        (Failure(200, {"choices": []}), "no chat completion", 1),
        (Failure(200, [1]), "no chat completion", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_server_that_fails_for_good_is_one_line(server, make, failure, reason, requests):
    server.mind = lambda _: failure
    with pytest.raises(PrefbenchError) as error:
        compare(make(concurrency=1, retries=2), ("aa", "b"))
    assert type(error.value) is JudgeFailed
    assert reason in str(error.value) and "0 of 2 verdicts are kept" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(server.chats) == requests


def test_a_server_that_does_not_answer_in_time_is_asked_again(server, make):
    asleep = threading.Event()

    def mind(message: str) -> str:
        if not hasattr(mind, "slept"):
            mind.slept = True
            asleep.wait(10)
        return prefers(len)(message)

    server.mind = mind
    judge = make(concurrency=1, timeout=1)
    try:
        assert compare(judge, ("aa", "b")) == [1]
        assert judge.report()["retries"] == 1
        server.mind = lambda message: asleep.wait(10) and "VERDICT: A"
        with pytest.raises(PrefbenchError, match=r"no answer within 1 seconds\): 0 of 2"):
            compare(make("another", timeout=1, retries=0), ("aa", "b"))
    finally:
        asleep.set()


def test_a_server_that_went_away_keeps_what_it_said(make, tmp_path):
    with serving(in_turn(*[prefers(len)] * 2)) as gone:
        compare(make(base_url=gone.url), ("aa", "b"))
    with pytest.raises(PrefbenchError, match=r"failed \(.*onnect.*\): 2 of 4 verdicts are kept"):
        compare(make(base_url=gone.url, retries=1), ("aa", "b"), ("aa", "b"))


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_accepted_is_the_users(server, make, monkeypatch, status):
    server.mind = lambda _: Failure(status, {"error": {"message": f"wrong key {KEY}"}})
    with pytest.raises(UserError, match=rf"wants a key \({status}\): .* --allow-host 127.0.0.1:\d+=VARIABLE"):
        compare(make(), ("aa", "b"))
    monkeypatch.setenv(VARIABLE, KEY)
    server.requests.clear()
    with pytest.raises(UserError, match=f"does not accept the key in {VARIABLE}") as error:
        compare(make(concurrency=1, api_key_env=VARIABLE), ("aa", "b"))
    assert KEY not in str(error.value) and len(server.chats) == 1
    assert server.chats[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_model_that_is_not_there_is_the_users(server, make):
    server.mind = lambda _: Failure(404, {"error": {"message": "no"}})
    with pytest.raises(UserError, match=f"does not know the model '{MODEL}'"):
        compare(make(), ("aa", "b"))


def test_servers_that_know_the_token_limit_by_its_newer_name(server, make):
    def mind(message: str) -> str | Failure:
        if "max_tokens" in server.chats[-1].body:
            return Failure(
                400, {"error": {"message": "no", "code": "unsupported_parameter", "param": "max_tokens"}}
            )
        return prefers(len)(message)

    server.mind = mind
    assert compare(make(concurrency=1), ("aa", "b")) == [1]
    assert [request.body.get("max_completion_tokens") for request in server.chats] == [None, 256, 256]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_at_a_time_than_said(server, make, concurrency):
    together = threading.Barrier(concurrency)

    def mind(message: str) -> str:
        together.wait(5)  # passes only if as many as allowed are under way at once
        return prefers(len)(message)

    server.mind = mind
    compare(make(concurrency=concurrency), *many(6))
    assert server.most_at_once == concurrency


def test_the_result_does_not_depend_on_who_answers_first(server, make):
    pairs = [("aa", "b") if number % 3 else ("a", "bb") for number in range(12)]

    def mind(message: str) -> str:
        time.sleep(hash(sides(message)) % 5 / 200)
        return prefers(len)(message)

    server.mind = mind
    seen: list[tuple[int, int]] = []
    judge = make(concurrency=6)
    first, _ = judge.compare(
        [str(number) for number in range(12)],
        [a for a, _ in pairs],
        [b for _, b in pairs],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert first.tolist() == [float(number % 3 != 0) for number in range(12)]
    assert seen == [(done, 24) for done in range(1, 25)]


def test_an_interrupt_does_not_wait_for_the_server(server, make):
    asleep = threading.Event()
    begun = threading.Event()

    def mind(_: str) -> str:
        begun.set()
        asleep.wait(30)
        return "VERDICT: A"

    server.mind = mind

    def interrupt() -> None:
        begun.wait(10)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            compare(make(), *many(8))
        assert not asleep.is_set(), "nobody has answered yet"
    finally:
        asleep.set()
        thread.join()
