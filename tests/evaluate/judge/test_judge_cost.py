"""The cost of a judge, in money and in what leaves the machine."""

import json
import pickle

import pytest

from prefbench.errors import PrefbenchError
from support.judge_server import Failure, Said, in_turn, prefers
from support.judged import KEY, RATE_LIMIT, VARIABLE, compare


def test_the_cost_is_tokens_times_prices(server, make):
    judge = make(prompt_price=2.5, completion_price=10.0)
    compare(judge, ("aa", "b"))
    assert judge.report()["cost"] == pytest.approx((200 * 2.5 + 14 * 10) / 1e6)
    free = make()
    compare(free, ("aa", "b"))
    assert free.report()["cost"] is None


def test_tokens_that_were_not_counted_are_said_to_be_missing(server, make):
    server.mind = lambda message: Said(prefers(len)(message), usage=None)
    judge = make(prompt_price=1.0, completion_price=1.0)
    compare(judge, ("aa", "b"))
    report = judge.report()
    assert (report["uncounted_requests"], report["prompt_tokens"], report["cost"]) == (2, 0, 0)


def test_the_key_is_nowhere_but_in_the_header(server, make, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, KEY)
    # A server that sends the key back wherever it can.
    server.mind = lambda message: Said(f"{KEY}\n{prefers(len)(message)}", model=f"model of {KEY}")
    judge = make(api_key_env=VARIABLE)
    judge.check()
    assert compare(judge, ("aa", "b")) == [1]
    said = [repr(judge), judge.name, json.dumps(judge.report())]
    for failure in (
        Failure(400, {"error": {"message": f"bad key {KEY}"}}),
        Failure(401, KEY),
        Failure(200, KEY),
    ):
        server.mind = lambda _, failure=failure: failure
        with pytest.raises(PrefbenchError) as error:
            compare(judge, ("aaa", "b"))
        said.append(str(error.value))
        server.models = failure
    assert not [text for text in said if KEY in text]
    assert pickle.dumps(judge).find(KEY.encode()) < 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not [path for path in files if KEY.encode() in path.read_bytes()]
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in server.requests)


def test_nothing_leaves_but_the_question(server, make, monkeypatch):
    """Keys, organisations and headers that the environment holds for another server, and this machine's."""
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_ADMIN_KEY",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_BASE_URL",
    ):
        monkeypatch.setenv(name, f"http://{KEY}.example")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Custom: {KEY}")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    judge = make(retries=1)
    judge.check()
    server.mind = in_turn(RATE_LIMIT, prefers(len))
    assert compare(judge, ("aa", "b")) == [1]
    for request in server.requests:
        allowed = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length"}
        assert request.headers.keys() - allowed == {"user-agent", "x-stainless-raw-response"}
        assert request.headers["user-agent"].startswith("prefbench/")
        assert KEY not in str(request)
