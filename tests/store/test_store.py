"""Stages: written whole or not at all, found again, repaired, shared between processes."""

import errno
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import prefbench
from prefbench.errors import PrefbenchError, UserError
from prefbench.store import files as store_files
from prefbench.store import stages as store_module
from prefbench.store.files import clear_disk_errors, is_locked, locked, write_atomically
from prefbench.store.stages import Store, Work, content_digest

KEY = {"a": 1}


def writer(text: str, calls: list[int] | None = None):
    def compute(work: Work) -> None:
        if calls is not None:
            calls.append(1)
        (work.path / "out.txt").write_text(text)

    return compute


def test_a_stage_is_computed_once_and_found_by_its_key(tmp_path):
    calls: list[int] = []
    folder = Store(tmp_path).stage("pairs", KEY, writer("x", calls))
    assert Store(tmp_path).stage("pairs", dict(KEY), writer("y", calls)) == folder
    assert (folder / "out.txt").read_text() == "x" and calls == [1]
    assert Store(tmp_path).stage("pairs", {"a": 2}, writer("x", calls)) != folder
    assert calls == [1, 1]


@pytest.mark.parametrize("harm", ["truncate", "alter", "delete", "done"])
def test_a_damaged_stage_is_computed_again(harm, tmp_path):
    folder = Store(tmp_path).stage("pairs", KEY, writer("hello"))
    file = folder / "out.txt"
    {
        "truncate": lambda: file.write_text("he"),
        "alter": lambda: file.write_text("hellO"),
        "delete": file.unlink,
        "done": lambda: (folder / "done.json").write_text("{"),
    }[harm]()
    Store(tmp_path).stage("pairs", KEY, writer("hello"))
    assert file.read_text() == "hello"


def test_a_stage_that_raises_leaves_nothing_that_looks_whole(tmp_path):
    def compute(work: Work) -> None:
        (work.path / "out.txt").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Store(tmp_path).stage("pairs", KEY, compute)
    folder = Store(tmp_path).stage("pairs", KEY, writer("whole"))
    assert (folder / "out.txt").read_text() == "whole"


def test_checkpoints_survive_the_failure_and_not_the_success(tmp_path):
    def first(work: Work) -> None:
        work.save("loop", {"w": torch.arange(3.0)}, {"step": 7})
        raise RuntimeError

    def second(work: Work) -> None:
        saved = work.load("loop")
        assert saved is not None
        tensors, meta = saved
        assert tensors["w"].tolist() == [0, 1, 2] and meta == {"step": 7}
        assert work.load("other") is None

    with pytest.raises(RuntimeError):
        Store(tmp_path).stage("policy", KEY, first)
    folder = Store(tmp_path).stage("policy", KEY, second)
    assert [p.name for p in folder.iterdir()] == ["done.json"]


def test_a_damaged_checkpoint_counts_as_none(tmp_path):
    work = Work("policy", tmp_path)
    work.save("loop", {"w": torch.zeros(2)}, {})
    path = tmp_path / "loop.checkpoint"
    path.write_bytes(path.read_bytes()[:-3])
    assert work.load("loop") is None


def test_the_content_digest_is_of_the_files(tmp_path):
    first = Store(tmp_path).stage("pairs", {"a": 1}, writer("same"))
    second = Store(tmp_path).stage("pairs", {"a": 2}, writer("same"))
    third = Store(tmp_path).stage("pairs", {"a": 3}, writer("other"))
    assert content_digest(first) == content_digest(second) != content_digest(third)


def test_nested_stages_count_every_second_once(tmp_path, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(store_module.time, "monotonic", lambda: float(next(clock)))
    store = Store(tmp_path)

    def outer(work: Work) -> None:
        store.stage("rewards", KEY, writer("x"))

    before = next(clock)
    store.stage("policy", KEY, outer)
    assert sum(store.timings.values()) <= next(clock) - before


def _slow(root: str, log: str) -> None:
    def compute(work: Work) -> None:
        with Path(log).open("a") as file:
            file.write("computed\n")
        time.sleep(0.5)
        (work.path / "out.txt").write_text("x")

    Store(Path(root)).stage("pairs", KEY, compute)


def test_two_processes_on_one_stage_compute_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    workers = [context.Process(target=_slow, args=(str(tmp_path), str(log))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
        assert worker.exitcode == 0
    assert log.read_text() == "computed\n"


COUNTING = """
import sys, time
from pathlib import Path
from prefbench.store.stages import Store
def compute(work):
    done = work.path / "count.txt"
    start = int(done.read_text()) if done.exists() else 0
    for i in range(start, 20):
        time.sleep(0.02)
        (work.path / "next").write_text(str(i + 1)); (work.path / "next").replace(done)
Store(Path(sys.argv[1])).stage("pairs", {"a": 1}, compute)
"""


@pytest.mark.parametrize("after", [0.15, 0.3])
def test_a_killed_process_leaves_a_folder_that_goes_on(after, tmp_path):
    child = subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path)])
    deadline = time.monotonic() + 30
    partial = tmp_path / "stages" / "pairs"
    while not list(partial.glob("*.partial/count.txt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    subprocess.run([sys.executable, "-c", COUNTING, str(tmp_path)], check=True, timeout=60)
    (folder,) = [p for p in partial.iterdir() if p.is_dir()]
    assert (folder / "count.txt").read_text() == "20" and (folder / "done.json").exists()


def test_text_is_replaced_whole(tmp_path):
    path = tmp_path / "record.json"
    write_atomically(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "two\ud800")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_disks_are_waited_for_only_where_nothing_is_checked_later(tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(os, "fsync", waited.append)
    Store(tmp_path).stage("pairs", {}, lambda work: None)
    assert not waited
    write_atomically(tmp_path / "record.json", "one")
    assert len(waited) == 1


@pytest.mark.parametrize("cut", ["", '{"stage": "pairs", "files"'])
def test_a_stage_whose_description_was_cut_short_is_computed_again(tmp_path, cut):
    made = []

    def compute(work):
        made.append(work.path)
        (work.path / "text.txt").write_text("said")

    folder = Store(tmp_path).stage("pairs", {}, compute)
    (folder / "done.json").write_text(cut)
    assert Store(tmp_path).stage("pairs", {}, compute) == folder
    assert len(made) == 2 and json.loads((folder / "done.json").read_text())["files"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line(number):
    with pytest.raises(PrefbenchError, match="disk is full") as error, clear_disk_errors():
        raise OSError(number, os.strerror(number))
    assert error.value.exit_code == 3


def test_a_file_is_no_runs_folder_and_looking_writes_nothing(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UserError, match="--runs-dir"):
        Store(file / "runs")
    Store(tmp_path / "new" / "runs")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_nothing_is_pickled_or_evaluated():
    forbidden = re.compile(r"\bpickle\b|torch\.(load|save)\(|(?<![\w.])(eval|exec)\(|trust_remote_code=True")
    roots = [
        Path(prefbench.__file__).parent,
        *(Path(__file__).parents[2] / n for n in ("tasks", "baselines")),
    ]
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for root in roots
        for path in root.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


# -------------------------------------------------------------------------------------------- locks


def test_a_lock_is_one_holders_and_is_seen_by_others(tmp_path):
    path = tmp_path / "a.lock"
    assert not is_locked(path) and not path.exists()
    with locked(path, wait=False) as ours:
        assert ours and is_locked(path)
        with locked(path, wait=False) as theirs:
            assert not theirs
    assert not is_locked(path)


def test_a_lock_file_that_may_only_be_read_says_whether_it_is_held(tmp_path):
    path = tmp_path / "a.lock"
    with locked(path):
        path.chmod(0o444)
        assert is_locked(path)
    assert not is_locked(path)


def test_a_lock_that_was_cleared_away_before_it_was_taken_is_taken_anew(tmp_path, monkeypatch):
    path, real = tmp_path / "a.lock", store_files.lock_descriptor
    cleared = iter([True])

    def late(number: int, blocking: bool) -> bool:
        if next(cleared, False):
            path.unlink()
        return real(number, blocking=blocking)

    monkeypatch.setattr(store_files, "lock_descriptor", late)
    with locked(path, wait=False) as ours:
        assert ours and is_locked(path)


def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch):
    def refuse(number: int, blocking: bool) -> bool:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(store_files, "lock_descriptor", refuse)
    with pytest.raises(UserError, match=r"pairs/.*\.lock' cannot be locked .*not implemented.*file system"):
        Store(tmp_path).stage("pairs", KEY, writer("x"))
