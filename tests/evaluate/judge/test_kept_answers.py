"""Answers that are kept: nothing is asked twice, and what fails goes on where it was."""

import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from prefbench.errors import PrefbenchError, UserError
from support.judge_server import MODEL, Failure, in_turn, prefers, sides
from support.judged import KEY, VARIABLE, compare, many


def test_nothing_is_asked_twice(server, make):
    pairs = many(5)
    first = compare(make(), *pairs, pairs[0])
    asked = len(server.chats)
    assert asked == 12, "the sixth prompt makes the sixth pair another one"
    judge = make()
    assert compare(judge, *pairs, pairs[0]) == first
    assert (
        judge.compare(["prompt 0"] * 3, ["an answer 0"] * 3, ["another answer 0"] * 3)[0].tolist() == [0] * 3
    )
    assert len(server.chats) == asked
    report = judge.report()
    assert (report["calls"], report["cached"], report["comparisons"]) == (0, 12, 6)
    assert (report["requests"], report["prompt_tokens"]) == (12, 1200), "as paid, not as paid this time"


def test_equal_questions_within_a_call_are_asked_once(server, make):
    make().compare(["p"] * 3, ["aa", "aa", "b"], ["b", "b", "aa"])
    assert len(server.chats) == 2


def test_another_model_criterion_or_token_limit_asks_anew(server, make):
    names = set()
    for judge in (make(), make("short answers"), make(model="other"), make(max_tokens=9)):
        before = len(server.chats)
        compare(judge, ("aa", "b"))
        assert len(server.chats) == before + 2
        names.add(judge.name)
    assert len(names) == 4 and not any("\n" in name for name in names)


def test_the_address_and_the_key_are_no_part_of_the_judge(server, make, monkeypatch):
    compare(make(), ("aa", "b"))
    monkeypatch.setenv(VARIABLE, KEY)
    elsewhere = make(base_url="http://127.0.0.1:9/v1", api_key_env=VARIABLE, concurrency=1, timeout=1)
    assert elsewhere.name == make().name
    assert compare(elsewhere, ("aa", "b")) == [1], "answered from the cache, though nobody listens there"


def test_a_full_cache_needs_no_key(server, make, monkeypatch):
    compare(make(), ("aa", "b"))
    assert compare(make(base_url="https://judge.example/v1", api_key_env=VARIABLE), ("aa", "b")) == [1]


def test_a_run_that_failed_continues(server, make):
    pairs = many(12)
    server.mind = in_turn(*[prefers(len)] * 9, Failure(500))
    with pytest.raises(PrefbenchError) as error:
        compare(make(concurrency=1, retries=0), *pairs)
    assert "status 500" in str(error.value) and "9 of 24 verdicts are kept" in str(error.value)
    server.mind = prefers(len)
    server.requests.clear()
    judge = make()
    compare(judge, *pairs)
    assert len(server.chats) == 15
    again, whole = judge.report(), make(cache=judge.server.cache / "other")
    compare(whole, *pairs)
    expected = whole.report() | {"calls": 15, "cached": 9}
    assert again == expected


def test_a_failed_judge_can_report(server, make):
    server.mind = in_turn(*[prefers(len)] * 3, Failure(500))
    judge = make(concurrency=1, retries=0)
    with pytest.raises(PrefbenchError):
        compare(judge, *many(4))
    report = judge.report()
    assert (report["comparisons"], report["calls"], report["consistency"]) == (1, 3, 1)


def test_answers_under_way_are_kept_when_another_fails(server, make):
    started = threading.Barrier(4)

    def mind(message: str) -> str | Failure:
        started.wait(5)
        if sides(message)[:2] == ("prompt 0", "an answer 0"):
            return Failure(400)
        time.sleep(0.05)
        return prefers(len)(message)

    server.mind = mind
    with pytest.raises(PrefbenchError, match="3 of 12 verdicts are kept"):
        compare(make(concurrency=4), *many(6))


def test_a_damaged_cache_is_one_line(server, make):
    judge = make()
    compare(judge, *many(3))
    path = judge.server.cache / "answers.sqlite"
    raw = bytearray(path.read_bytes())
    path.write_bytes(b"damaged!" * (len(raw) // 8))
    with pytest.raises(PrefbenchError, match=r"cannot be read .*: move it away") as error:
        compare(make(), *many(3))
    assert "\n" not in str(error.value)
    path.unlink()
    sqlite3.connect(path).executescript("CREATE TABLE somebody_elses (x)")
    with pytest.raises(PrefbenchError, match="no cache of this version"):
        compare(make(), *many(3))


def test_a_cache_that_cannot_be_there_is_refused(make, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        compare(make(cache=tmp_path / "file" / "cache"), ("aa", "b"))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "answers.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"cannot be used .*symbolic links"):
        compare(make(cache=tmp_path / "linked"), ("aa", "b"))
    assert not (tmp_path / "elsewhere").exists()


def test_processes_share_a_cache(server, tmp_path):
    code = """
import sys; from pathlib import Path; from prefbench.chat.server import Server
from prefbench.evaluate.judge import Judge
prompts = [f"p{number}" for number in range(20, 0, -1)]
judge = Judge(Server(sys.argv[1], sys.argv[2], Path(sys.argv[3])), "c")
print(judge.compare(prompts, ["aa"] * 20, ["b"] * 20)[0].sum(), len(judge._new), judge.report()["cached"])
"""
    command = [sys.executable, "-c", code, server.url, MODEL, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [words[0] for words in said] == ["20.0", "20.0"]
    assert all(int(new) + int(cached) == 40 for _, new, cached in said)
    rows = sqlite3.connect(tmp_path / "answers.sqlite").execute("SELECT count(*) FROM answers").fetchone()
    assert rows == (40,)


def test_threads_share_a_judge(server, make):
    judge = make()
    threads = [threading.Thread(target=compare, args=(judge, *many(8))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert judge.report()["comparisons"] == 8
    assert compare(make(), *many(8)) == [0] * 8
