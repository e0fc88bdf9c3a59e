"""A judge before it judges: its server is looked at, and options that make no sense are refused."""

import copy
import importlib.util
import pickle
import socket
import subprocess
import sys

import pytest

from prefbench.errors import UserError
from prefbench.evaluate.judge import Judge
from support.judge_server import Failure
from support.judged import VARIABLE, compare


def test_the_check_asks_for_models_and_writes_nothing(server, make):
    make().check()
    assert [(request.method, request.path) for request in server.requests] == [("GET", "/v1/models")]
    assert not make().server.cache.exists()


@pytest.mark.parametrize("status", [404, 405, 429, 500])
def test_a_server_without_a_list_of_models_will_do(server, make, status):
    server.models = Failure(status, {})
    make().check()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (Failure(503, {}), r"cannot be reached \(status 503\): start the server or mend judge_url"),
        (Failure(302, {}, {"Location": "http://127.0.0.1:9/"}), r"status 302"),
        (Failure(401, {}), "wants a key"),
    ],
    ids=["503", "redirect", "401"],
)
def test_the_check_says_what_is_wrong(server, make, failure, line):
    server.models = failure
    with pytest.raises(UserError, match=line):
        make().check()


def test_nobody_there_is_the_users(make):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"judge at http://127.0.0.1:\d+/v1 cannot be reached \(.+\)"):
            make(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1").check()


def test_a_key_is_needed_for_a_server_elsewhere(make, monkeypatch):
    def no_way_out(*_args, **_more):
        raise AssertionError("nothing may be sent without a key")

    monkeypatch.setattr(socket, "getaddrinfo", no_way_out)
    elsewhere = {"base_url": "https://judge.example/v1"}
    for act in (Judge.check, lambda judge: compare(judge, ("aa", "b"))):
        with pytest.raises(UserError, match=r"not on this machine: say --allow-host judge\.example, or"):
            act(make(**elsewhere))
        with pytest.raises(UserError, match=f"export {VARIABLE}="):
            act(make(**elsewhere, api_key_env=VARIABLE))


def test_a_variable_with_more_than_a_key_is_refused(make, monkeypatch):
    monkeypatch.setenv(VARIABLE, "two words")
    with pytest.raises(UserError, match=f"{VARIABLE} does not hold a key") as error:
        make(api_key_env=VARIABLE).check()
    assert "two" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"base_url": "127.0.0.1:8000"}, "judge_url"),
        ({"base_url": "ftp://127.0.0.1"}, "judge_url"),
        ({"base_url": "http://127.0.0.1:99999/v1"}, "judge_url"),
        ({"base_url": "http://me:hunter2@127.0.0.1/v1"}, "must not hold a name or a password"),
        ({"base_url": "http://127.0.0.1/v1?key=hunter2"}, "judge_url"),
        ({"model": " "}, "judge_model"),
        ({"model": "two\nlines"}, "judge_model"),
        ({"api_key_env": "sk-hunter2"}, "never the key itself"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout": 0.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"prompt_price": 1.0}, "go together"),
        ({"prompt_price": 1.0, "completion_price": -1.0}, "0 or more"),
        ({"role": "writer", "model": ""}, "writer_model"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, options, line):
    with pytest.raises(UserError, match=line) as error:
        make(**options)
    if "key" not in str(options.get("base_url")):
        assert "hunter2" not in str(error.value)


def test_a_judge_needs_a_wish(make):
    for judge in (lambda: make(" "), lambda: make(max_tokens=0)):
        with pytest.raises(UserError, match="a judge needs"):
            judge()


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://localhost.example/v1", False),
        ("http://127.0.0.1.example/v1", False),
        ("http://10.0.0.1:8000/v1", False),
        ("http://[fe80::1]/v1", False),
    ],
)
def test_what_counts_as_this_machine(make, address, is_local):
    assert make(base_url=address).server.is_local == is_local


def test_the_module_loads_no_client_until_it_is_needed():
    heavy = {"openai", "anyio", "torch", "scipy"}
    code = f"import sys, prefbench.evaluate.judge; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_a_missing_client_says_what_to_install(make, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "prefbench.chat.server.importlib.util.find_spec",
        lambda name: None if name == "openai" else find(name),
    )
    with pytest.raises(UserError, match=r"pip install 'prefbench\[judge\]'"):
        make().check()


def test_judges_are_values(make):
    judge = make()
    compare(judge, ("aa", "b"))
    assert judge == make() == copy.deepcopy(judge) and hash(judge) == hash(make())
    assert pickle.loads(pickle.dumps(judge)).report() == judge.report()  # noqa: S301
