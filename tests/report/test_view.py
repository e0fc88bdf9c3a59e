"""The page as a server gives it: to this machine alone, one page and nothing else, as new as the runs are."""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from prefbench.cli.entry import app
from prefbench.errors import UserError
from prefbench.report import view
from prefbench.report.page import SCRIPTS, content_security_policy, script, style
from prefbench.report.view import LOOPBACK, LivePage, PageServer, serve, state_of
from support.browser import BROWSER, Browser
from support.records import RATES, make_run
from support.report_page import NASTY, Reading


@contextmanager
def serving(folder):
    said = []
    with PageServer(LivePage(folder, say=said.append), 0) as server:
        server.said = said
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    make_run(folder, RATES, aligner="good")
    return folder


@pytest.fixture
def server(runs):
    with serving(runs) as server:
        yield server


def asked(server, path="/", method="GET", hosts=None, **headers):
    connection = http.client.HTTPConnection(LOOPBACK, server.server_port, timeout=60)
    connection.putrequest(method, path, skip_host=True)
    for name in [f"{LOOPBACK}:{server.server_port}"] if hosts is None else hosts:
        connection.putheader("Host", name)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def aligners(text):
    return {attributes["data-aligner"] for attributes, _ in Reading(text).rows[1:]}


def test_it_listens_on_loopback_alone_and_gives_the_page(server):
    assert server.socket.getsockname()[0] == "127.0.0.1"
    answer, text = asked(server)
    assert answer.status == 200 and aligners(text) == {"good"}
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert {
        name: answer.headers[name]
        for name in ("Cache-Control", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy")
    } == {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
    assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert "Python" not in answer.headers["Server"]


def test_its_policy_adds_the_own_server_and_nothing_else(server):
    _, text = asked(server)
    policy = next(attrs["content"] for _, attrs in Reading(text).tags if attrs.get("http-equiv"))
    js = Reading(text).scripts[1]
    assert js == script((*SCRIPTS, "live")) and js != script()
    assert policy == content_security_policy(style(), js, live=True)
    assert policy.replace("connect-src 'self'; ", "") == content_security_policy(style(), js)


@pytest.mark.parametrize(
    "hosts",
    [
        *([], [""], ["evil.example"], ["evil.example:PORT"], ["127.0.0.1"], ["127.0.0.1:1"]),
        *(["127.0.0.1:PORT.evil.example"], ["user@127.0.0.1:PORT"], ["0.0.0.0:PORT"]),
        ["127.0.0.1:PORT", "evil.example"],
    ],
)
def test_a_request_by_another_name_is_turned_away(server, hosts):
    named = [name.replace("PORT", str(server.server_port)) for name in hosts]
    answer, text = asked(server, hosts=named)
    assert (answer.status, text) == (421, "Misdirected Request\n")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_localhost_is_this_machine_too(server):
    assert asked(server, hosts=[f"localhost:{server.server_port}"])[0].status == 200


@pytest.mark.parametrize(
    "path",
    ["/record.json", "/../runs", "/..%2f..%2fetc/passwd", "//etc/passwd", "/?x", "/index.html", "*", "/%00"],
)
def test_no_other_path_is_looked_at(server, path, monkeypatch):
    monkeypatch.setattr(LivePage, "now", lambda self: pytest.fail("the page was asked for"))
    assert asked(server, path)[0].status == 404


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "XYZ"])
def test_only_get_is_answered(server, method):
    answer, _ = asked(server, method=method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


def test_what_is_no_http_is_refused_and_brings_nothing_down(server):
    for sent in (
        b"\x16\x03\x01\x02\x00\n\n",
        b"GET\n\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b"\n",
    ):
        with socket.create_connection((LOOPBACK, server.server_port), timeout=60) as line:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            with line.makefile("rb") as back:
                assert b"<table" not in back.read()
    assert asked(server)[0].status == 200


def test_nothing_new_is_said_in_few_bytes(server, runs):
    first, _ = asked(server)
    same, text = asked(server, If_None_Match=first.headers["ETag"])
    assert (same.status, text, same.headers["ETag"]) == (304, "", first.headers["ETag"])
    make_run(runs, RATES, aligner="later")
    other, text = asked(server, If_None_Match=first.headers["ETag"])
    assert other.status == 200 and aligners(text) == {"good", "later"}
    assert other.headers["ETag"] != first.headers["ETag"]
    head = next(attrs["content"] for _, attrs in Reading(text).tags if attrs.get("name") == "state")
    assert other.headers["ETag"] == f'"{head}"'


def test_a_page_is_made_once_for_the_same_runs(server, monkeypatch):
    made = []
    monkeypatch.setattr(view, "page", lambda *given: made.append(given) or "a page")
    assert [asked(server)[1] for _ in range(3)] == ["a page"] * 3
    assert len(made) == 1


def test_a_folder_without_runs_waits_for_the_first(tmp_path):
    with serving(tmp_path) as server:
        answer, text = asked(server)
        assert answer.status == 200 and "Nothing to see yet" in text and "no record in" in text
        assert [tag for tag, _ in Reading(text).tags].count("script") == 1
        make_run(tmp_path, RATES, aligner="first")
        assert aligners(asked(server)[1]) == {"first"}


def test_a_broken_record_is_named_once_and_brings_nothing_down(server, runs):
    (runs / "broken").mkdir()
    (runs / "broken" / "record.json").write_text("{")
    for _ in range(2):
        assert aligners(asked(server)[1]) == {"good"}
    make_run(runs, RATES, aligner="later")
    assert aligners(asked(server)[1]) == {"good", "later"}
    assert len(server.said) == 1 and "broken" in server.said[0] and "\n" not in server.said[0]


def test_runs_that_make_no_page_bring_nothing_down(server, runs, monkeypatch):
    def fail(*given):
        raise ZeroDivisionError(NASTY)

    with monkeypatch.context() as patched:
        patched.setattr(view, "page", fail)
        answer, text = asked(server)
        assert answer.status == 200 and "ZeroDivisionError" in text and "<img" not in text
    make_run(runs, RATES, aligner="later")
    assert aligners(asked(server)[1]) == {"good", "later"}


def test_runs_that_go_away_are_waited_for(server, runs):
    asked(server)
    shutil.rmtree(runs)
    assert "Nothing to see yet" in asked(server)[1]


def test_the_state_is_of_records_alone(runs):
    before = state_of(runs)
    (runs / "note.txt").write_text("a note")
    assert state_of(runs) == before
    record = next(runs.glob("*/record.json"))
    os.utime(record, ns=(1, 1))
    assert state_of(runs) != before


def test_wrong_input_is_one_line(runs, tmp_path):
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be had .*: take another, or 0"):
            serve(runs, port, print, print)
    lost = CliRunner().invoke(app, ["view", "--runs-dir", str(tmp_path / "none")])
    assert lost.exit_code == 2 and lost.stderr.count("\n") == 1 and "does not exist" in lost.stderr
    assert CliRunner().invoke(app, ["view", "--port", "70000"]).exit_code == 2


def test_the_command_says_where_it_is_and_an_interrupt_ends_it(runs):
    command = [sys.executable, "-m", "prefbench", "view", "--runs-dir", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        said = started.stdout.readline()
        address = re.match(r"http://127\.0\.0\.1:(\d+)/ shows ", said)
        assert address, said
        with socket.create_connection((LOOPBACK, int(address[1])), timeout=60):
            started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=60)
    assert started.returncode == 130 and err.startswith("interrupted") and err.count("\n") == 1


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: install the package chromium")
def test_a_browser_sees_a_new_run_and_keeps_what_was_chosen(server, runs, tmp_path):
    for ratio in (0.5, 0.2):
        make_run(runs, RATES, aligner="good", minority_ratio=ratio, seed=1)
    browser = Browser(tmp_path / "profile", tmp_path)
    try:
        browser("Page.navigate", url=f"{server.url}#split=1%3A1&measure=gap")
        assert until(browser, "document.getElementById('measure')?.value === 'gap'")
        assert browser.js("document.getElementById('ratio').selectedOptions[0].textContent") == "1:1"
        make_run(runs, RATES, aligner="later", minority_ratio=0.5)
        assert until(browser, "document.querySelector('#table').textContent.includes('later')")
        assert until(browser, "document.getElementById('measure')?.value === 'gap'")
        assert browser.js("document.getElementById('ratio').selectedOptions[0].textContent") == "1:1"
        asked_for = {
            event["params"]["request"]["url"].partition("#")[0]
            for event in browser.events
            if event.get("method") == "Network.requestWillBeSent"
        }
        assert {url for url in asked_for if url.startswith("http")} == {server.url}
    finally:
        browser.close()


def until(browser, condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = browser("Runtime.evaluate", expression=condition, returnByValue=True)
        if answer["result"].get("value") is True:
            return True
        time.sleep(0.1)
    return False
