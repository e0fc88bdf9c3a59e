"""Policies behind servers: what is sent, what is kept, what is refused, and a run that was killed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from prefbench import consent, seeds
from prefbench.backbone.outside.interface import PolicyRequest
from prefbench.backbone.outside.options import ServerOptions
from prefbench.backbone.outside.server import open_server
from prefbench.errors import JudgeFailed, UserError
from prefbench.store.stages import Store
from support.commands import record_of, sets, typed
from support.judge_server import MODEL, Failure, Said, in_turn
from support.outside import TASK, evaluated
from support.tiny import TINY_SETS, plain_problem

DRAW = seeds.child(0, "test")


def opened(server, tmp_path, problem=None, **options):
    request = PolicyRequest(server.url, problem or plain_problem(), 1, Store(tmp_path / "runs"))
    return open_server(request, ServerOptions(**options))


def test_a_text_is_continued_and_a_message_is_answered(server, tmp_path):
    plain = opened(server, tmp_path, temperature=0.7, max_tokens=9)
    assert plain.policy.sample(["the film", "a plot"], 1, DRAW) == [["a joy , 8 ."], ["a joy , 6 ."]]
    path, body = server.chats[0].path, server.chats[0].body
    assert path == "/v1/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == (MODEL, 0.7, 9)
    server.requests.clear()
    talk = "\n\nHuman: a\n\nAssistant: b\n\nHuman: cc\n\nAssistant:"
    chat = opened(server, tmp_path, plain_problem(chat=True))
    assert chat.policy.sample([talk], 1, DRAW) == [["a joy , 2 ."]]
    asked = server.chats[0]
    assert asked.path == "/v1/chat/completions" and asked.body["max_tokens"] == 6
    assert [message["content"] for message in asked.body["messages"]] == ["a", "b", "cc"]
    assert opened(server, tmp_path, api="chat").policy.sample(["x"], 1, DRAW) == [["a joy , 1 ."]]


def test_each_sample_has_a_seed_of_its_own_that_depends_on_no_batch(server, tmp_path):
    server.mind = lambda message: "x"
    policy = opened(server, tmp_path).policy
    policy.sample(["a", "b"], 2, DRAW)
    seen = {(chat.body["prompt"], chat.body["seed"]) for chat in server.chats}
    assert len({seed for _, seed in seen}) == 4 and all(0 <= seed < 2**31 for _, seed in seen)
    other = opened(server, tmp_path / "other").policy
    server.requests.clear()
    other.sample(["b"], 2, DRAW)
    assert {(chat.body["prompt"], chat.body["seed"]) for chat in server.chats} < seen
    server.requests.clear()
    other.sample(["b"], 2, seeds.child(1, "test"))
    assert not {chat.body["seed"] for chat in server.chats} & {seed for _, seed in seen}


def test_what_was_answered_is_not_asked_again(server, tmp_path):
    first = opened(server, tmp_path).policy.sample(["a", "b"], 2, DRAW)
    asked = len(server.chats)
    assert opened(server, tmp_path).policy.sample(["a", "b"], 2, DRAW) == first
    assert len(server.chats) == asked == 4
    opened(server, tmp_path, temperature=0.5).policy.sample(["a"], 1, DRAW)
    assert len(server.chats) == 5


def test_usage_is_summed_and_priced(server, tmp_path):
    outside = opened(server, tmp_path, prompt_price=2.0, completion_price=10.0)
    server.mind = in_turn(
        Said("x", finish="length"), Said("y", usage=None), Said("", finish="content_filter")
    )
    outside.policy.sample(["a", "b", "c"], 1, DRAW)
    used = outside.usage(["a", "b", "c"], 1, DRAW)
    assert used["requests"] == 3 and used["cut"] == 1 and used["uncounted_requests"] == 1
    assert (used["prompt_tokens"], used["completion_tokens"]) == (200, 14)
    assert used["cost"] == pytest.approx((200 * 2 + 14 * 10) / 1e6)
    assert outside.usage(["a", "of another run"], 1, DRAW) is None


@pytest.mark.parametrize("names", [["other"], [MODEL, "second"]])
def test_the_model_is_one_that_the_server_serves(server, tmp_path, names):
    server.names = names
    with pytest.raises(UserError, match="name one with" if len(names) > 1 else "does not serve the model"):
        opened(server, tmp_path, model=None if len(names) > 1 else MODEL)
    assert opened(server, tmp_path, model=names[-1]).identity["model"] == names[-1]


def test_a_near_name_is_suggested(server, tmp_path):
    with pytest.raises(UserError, match="Did you mean 'test-model'"):
        opened(server, tmp_path, model="test-modle")


def test_a_server_that_lists_nothing_needs_a_name(server, tmp_path):
    server.models = Failure(500)
    with pytest.raises(UserError, match=r"does not list its models: name one with --set policy\.model"):
        opened(server, tmp_path)
    assert opened(server, tmp_path, model=MODEL).policy.sample(["a"], 1, DRAW)


def test_an_answer_by_another_model_is_refused(server, tmp_path):
    server.mind = lambda message: Said("x", model="a-cheaper-one")
    with pytest.raises(UserError, match="'test-model' and answers as 'a-cheaper-one'"):
        opened(server, tmp_path, concurrency=1).policy.sample(["a"], 1, DRAW)


def test_nobody_listens(tmp_path):
    class Nobody:
        url = "http://127.0.0.1:9/v1"

    with pytest.raises(UserError, match="start the server or mend --policy"):
        opened(Nobody, tmp_path)


def test_a_server_that_is_asked_too_much_is_asked_less(server, tmp_path):
    lock, calls = threading.Lock(), [0]

    def mind(message):
        with lock:
            calls[0] += 1
            turn = calls[0]
        time.sleep(0.005)
        return Failure((429, 500, 503)[turn % 3]) if turn <= 12 and server.now > 1 else "x"

    server.mind = mind
    policy = opened(server, tmp_path, concurrency=8, retries=50).policy
    assert policy.sample([f"prompt {i}" for i in range(30)], 1, DRAW) == [["x"]] * 30
    assert server.most_at_once <= 8 and calls[0] > 30


def test_a_server_that_fails_leaves_a_record_that_says_so_and_the_run_goes_on(server, tmp_path):
    server.mind = in_turn(*["a joy ."] * 20, Failure(500))
    options = ["policy.retries=0", "policy.concurrency=1"]
    done = evaluated(f"server:{server.url}", tmp_path / "runs", "--json", options=options)
    record = record_of(done)
    assert done.code == 3 and record["status"] == "failed"
    assert "20 of 50 answers are kept, and the same command continues from there" in record["message"]
    server.mind = lambda message: "a joy ."
    server.requests.clear()
    done = evaluated(f"server:{server.url}", tmp_path / "runs", "--json", options=options)
    record = record_of(done)
    assert done.code == 0 and len(server.chats) == 30
    assert record["outside"]["usage"]["requests"] == 50, "those of the first attempt count"
    assert record["outside"]["name"] == consent.place_of(server.url)
    assert record["kl"] is None and "no log-probabilities" in record["outside"]["no_kl"]


def test_a_run_that_was_killed_continues(server, tmp_path):
    def mind(message):
        if len(server.chats) > 15:
            server.over.wait(60)
        return "a joy ."

    server.mind = mind
    words = ["evaluate", *TASK, "--policy", f"server:{server.url}", "--runs-dir", str(tmp_path / "runs")]
    words += sets(*TINY_SETS, "policy.concurrency=2")
    command = [sys.executable, "-m", "prefbench", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for _ in range(1200):
            if len(server.chats) > 15 or process.poll() is not None:
                break
            time.sleep(0.05)
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGKILL)
    before = len(server.chats)
    server.mind = lambda message: "a joy ."
    server.over.set()
    done = evaluated(f"server:{server.url}", tmp_path / "runs", "--json", options=["policy.concurrency=2"])
    assert done.code == 0, done.err
    assert len(server.chats) - before <= 50 - 14, "fourteen had been answered"
    assert record_of(done)["outside"]["usage"]["requests"] == 50


def test_a_server_off_this_machine_is_asked_only_if_it_was_named(tmp_path, monkeypatch):
    url = "http://policy.example/v1"
    (tmp_path / "run.toml").write_text(f'task = "imdb_two_group"\npolicy = "server:{url}"\n')
    refused = typed("run", "--config", tmp_path / "run.toml", "--runs-dir", tmp_path / "runs")
    assert refused.code == 2 and "say --allow-host policy.example" in refused.error
    assert not (tmp_path / "runs").exists()
    # Typed, it is allowed, and then it cannot be reached.
    monkeypatch.setattr("prefbench.chat.server.Server.check", lambda self: ["m", "n"])
    named = evaluated(f"server:{url}", tmp_path / "runs")
    assert named.code == 2 and "serves 2 models" in named.error


@pytest.mark.parametrize("url", ["ftp://x/v1", "127.0.0.1:8000", "http://user:key@127.0.0.1/v1"])
def test_addresses_that_are_none(tmp_path, url):
    done = evaluated(f"server:{url}", tmp_path / "runs")
    assert done.code == 2 and "--policy" in done.error and "key" not in done.error.replace("keys", "")


def test_a_failed_server_keeps_what_it_said(server, tmp_path):
    server.mind = in_turn("x", "y", Failure(500))
    outside = opened(server, tmp_path, concurrency=1, retries=0)
    with pytest.raises(JudgeFailed, match="2 of 4 answers are kept"):
        outside.policy.sample(["a", "b", "c", "d"], 1, DRAW)
    server.mind = lambda message: "z"
    assert outside.policy.sample(["a", "b", "c", "d"], 1, DRAW) == [["x"], ["y"], ["z"], ["z"]]
