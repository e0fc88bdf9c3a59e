"""Looking after stages: damage is found and mended, nothing that is in use goes, records stay."""

import errno
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefbench.errors import PrefbenchError, UserError
from prefbench.record.verify import verify as follows
from prefbench.running.run import labelled_pairs, run
from prefbench.spec import make_spec, run_name
from prefbench.store.stages import Store, Work, damage
from prefbench.tools import cache
from prefbench.tools.cache import gc, overview, parse_age, stages, users, verify
from support.commands import typed

SPEC = {"task": "worst_case_two_group", "aligner": "preference_matching"}
KINDS = ["labels", "pairs", "policy", "proxies", "rewards", "samples", "scores"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache") / "runs"
    run(make_spec(**SPEC), folder)
    return folder


@pytest.fixture
def runs(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "runs"))


def write(work: Work) -> None:
    (work.path / "out.txt").write_text("x" * 1000)


def only(runs: Path, kind: str) -> Path:
    (stage,) = [stage.path for stage in stages(runs) if stage.kind == kind]
    return stage


# --------------------------------------------------------------------------------------------- ls


def test_stages_are_listed_by_kind_with_size_and_age(runs):
    rows = {row["stage"]: row for row in overview(runs)}
    assert sorted(rows) == KINDS
    assert rows["pairs"]["count"] == 1 and rows["samples"]["count"] == 2
    folder = only(runs, "pairs")
    assert rows["pairs"]["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    files = {
        file.stat().st_ino: file.stat().st_size for file in runs.glob("stages/*/*/**/*") if file.is_file()
    }
    assert sum(row["bytes"] for row in rows.values()) == pytest.approx(
        sum(files.values()), abs=9
    )  # links once
    os.utime(folder / "done.json", (time.time() - 3 * 86400,) * 2)
    assert round(overview(runs)[1]["oldest_seconds"] / 86400) == 3
    outcome = typed("cache", "ls", "--runs-dir", runs)
    assert outcome.code == 0 and outcome.out.splitlines()[-1].startswith("9 stages, ")
    assert "3d" in outcome.out
    assert [
        row["stage"] for row in json.loads(typed("cache", "ls", "--runs-dir", runs, "--json").out)["kinds"]
    ]


def test_the_runs_that_rest_on_a_stage_are_named_by_their_records(runs):
    other = make_spec(**SPEC, minority_ratio=0.5)
    run(other, runs)
    first, second = run_name(make_spec(**SPEC)), run_name(other)
    used = users(runs)
    assert used[only(runs, "pairs")] == sorted([first, second])  # shared by ratios
    labels = [used[stage.path] for stage in stages(runs) if stage.kind == "labels"]
    assert sorted(labels) == sorted([[first], [second]])
    assert set(used) == {stage.path for stage in stages(runs)}
    outcome = typed("cache", "ls", "--runs", "--runs-dir", runs)
    assert outcome.code == 0 and first in outcome.out


def test_a_folder_that_is_not_there_is_the_users_mistake(tmp_path):
    for words in (["ls"], ["verify"], ["gc"]):
        outcome = typed("cache", *words, "--runs-dir", tmp_path / "none")
        assert outcome.code == 2 and "name a runs folder" in outcome.error
    empty = typed("cache", "ls", "--runs-dir", tmp_path)
    assert empty.code == 0 and empty.out.endswith("0 stages, 0 B\n")


# ----------------------------------------------------------------------------------------- verify


@pytest.mark.parametrize("harm", ["truncate", "alter", "delete", "done", "no done"])
def test_a_damaged_stage_is_named_and_the_next_run_mends_it(harm, runs):
    before = (runs / run_name(make_spec(**SPEC)) / "items.parquet").read_bytes()
    folder = only(runs, "pairs")
    file = folder / "pairs.parquet"
    content = file.read_bytes()
    said = {
        "truncate": "pairs.parquet was altered or cut short",
        "alter": "pairs.parquet was altered or cut short",
        "delete": "pairs.parquet is missing",
        "done": "done.json cannot be read",
        "no done": "done.json is missing",
    }[harm]
    {
        "truncate": lambda: file.write_bytes(content[: len(content) // 2]),
        "alter": lambda: file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:]),
        "delete": file.unlink,
        "done": lambda: (folder / "done.json").write_text("[]"),
        "no done": (folder / "done.json").unlink,
    }[harm]()
    outcome = typed("cache", "verify", "--runs-dir", runs)
    assert outcome.code == 1
    assert outcome.out.splitlines() == [f"pairs/{folder.name}: {said}", "8 of 9 stages are whole"]
    made, record = run(make_spec(**SPEC), runs)
    assert record.status == "ok" and (made / "items.parquet").read_bytes() == before
    assert typed("cache", "verify", "--runs-dir", runs).out == "9 of 9 stages are whole\n"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["pairs.parquet", "../../../etc/passwd", "/etc/passwd", "", ".", "\0", "x" * 300, "done.json"]
)
done_files = st.one_of(
    st.binary(max_size=60),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda files: json.dumps({"stage": "pairs", "key": {}, "files": files}).encode(),
        st.dictionaries(NAMES, json_values, min_size=1, max_size=3),
    ),
    st.just(b"[" * 100_000),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(done=done_files, parquet=st.none() | st.binary(max_size=100))
def test_whatever_a_stage_folder_holds_it_is_damage_and_is_computed_again(done, parquet, runs):
    folder = only(runs, "pairs")
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / "done.json").write_bytes(done)
    if parquet is not None:
        (folder / "pairs.parquet").write_bytes(parquet)
    assert damage(folder)
    outcome = typed("cache", "verify", "--runs-dir", runs)
    assert outcome.code == 1 and "Traceback" not in outcome.err
    assert typed("cache", "ls", "--runs", "--runs-dir", runs).code == 0
    _, rows = labelled_pairs(make_spec(**SPEC), runs)
    assert len(rows) > 0
    assert (only(runs, "pairs") / "pairs.parquet").read_bytes() == kept["pairs.parquet"]


# --------------------------------------------------------------------------------------------- gc


def leave(runs: Path, name: str, age: float = 0.0) -> Path:
    path = runs / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("left")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_killed_processes_left_goes_and_everything_else_stays(runs):
    leftovers = [
        leave(runs, "stages/policy/abc.partial/loop.checkpoint"),
        leave(runs, "stages/policy/abc.lock"),
        leave(runs, "stages/policy/def.gone/out.txt"),
        leave(runs, f"{run_name(make_spec(**SPEC))}/.record.json.99.tmp", age=7200),
    ]
    young = leave(runs, f"{run_name(make_spec(**SPEC))}/.items.parquet.98.tmp")
    mine = leave(runs, "my-notes/notes.txt", age=1e7)
    before = {stage.path for stage in stages(runs)}
    everything = sorted(runs.rglob("*"))
    said = typed("cache", "gc", "--dry-run", "--runs-dir", runs)
    assert said.code == 0 and sorted(runs.rglob("*")) == everything
    done = typed("cache", "gc", "--runs-dir", runs)
    assert done.code == 0, done.err
    assert done.out == said.out.replace("would remove", "removed").replace("would free", "freed")
    assert "removed stages/policy/abc.partial\n" in done.out
    assert not any(path.exists() for path in leftovers) and young.exists() and mine.exists()
    assert {stage.path for stage in stages(runs)} == before
    assert not list(runs.rglob("*.lock"))
    assert follows(runs / run_name(make_spec(**SPEC))) == []


def test_stages_go_by_kind_and_by_age_and_records_never(runs):
    folder = runs / run_name(make_spec(**SPEC))
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    assert typed("cache", "gc", "--older-than", "30d", "--runs-dir", runs).code == 0
    assert len(stages(runs)) == 9
    gc(runs, stage="policy")
    assert [stage.kind for stage in stages(runs)] == [
        "labels",
        "pairs",
        "proxies",
        "proxies",
        "rewards",
        "samples",
        "samples",
        "scores",
    ]
    os.utime(only(runs, "labels") / "done.json", (time.time() - 31 * 86400,) * 2)
    gc(runs, older_than=parse_age("30d"), stage="pairs")
    assert len(stages(runs)) == 8
    gc(runs, older_than=parse_age("30d"))
    left = ["pairs", "proxies", "proxies", "rewards", "samples", "samples", "scores"]
    assert [stage.kind for stage in stages(runs)] == left
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept
    again, _ = run(make_spec(**SPEC), runs)
    assert (again / "items.parquet").read_bytes() == kept["items.parquet"]


def test_a_link_is_not_followed(runs, tmp_path):
    outside = tmp_path / "outside"
    (outside / "a.partial").mkdir(parents=True)
    (outside / "b.txt").touch()
    (runs / "stages" / "linked").symlink_to(outside)
    (runs / "stages" / "pairs" / "link.partial").symlink_to(outside)
    gc(runs, older_than=0)
    assert sorted(path.name for path in outside.iterdir()) == ["a.partial", "b.txt"]


@pytest.mark.parametrize("age", ["", "30", "d", "-3d", "1e3d", "nan d", "3y", "9" * 30 + "d"])
def test_an_age_that_is_none_is_refused(age, runs):
    outcome = typed("cache", "gc", "--older-than", age, "--runs-dir", runs)
    assert outcome.code == 2 and "such as 30d" in outcome.error


def test_a_stage_that_is_none_is_refused(runs):
    with pytest.raises(UserError, match="Did you mean 'policy'"):
        gc(runs, stage="polcy")
    with pytest.raises(UserError, match="has no stage"):
        gc(runs, stage="../..")


def test_an_age_is_read_in_any_unit():
    assert [parse_age(text) for text in ("30d", "12h", "1.5m", " 2w ")] == [2592000, 43200, 90, 1209600]


# ------------------------------------------------------------------------------------ two processes


def _hold(root: str, begun: str, end: str) -> None:
    def compute(work: Work) -> None:
        (work.path / "half.txt").write_text("half")
        Path(begun).touch()
        while not Path(end).exists():
            time.sleep(0.01)
        write(work)

    Store(Path(root)).stage("policy", {"a": 1}, compute)


def test_what_another_process_is_computing_stays(runs, tmp_path):
    begun, end = tmp_path / "begun", tmp_path / "end"
    child = multiprocessing.get_context("fork").Process(target=_hold, args=(str(runs), str(begun), str(end)))
    child.start()
    while not begun.exists():
        time.sleep(0.01)
    before = {stage.path for stage in stages(runs)}
    for dry in (True, False):
        swept = gc(runs, older_than=0, dry_run=dry)
        (partial,) = [path.name for path in (runs / "stages" / "policy").glob("*.partial")]
        assert f"stages/policy/{partial}: a process is at work on it" in swept.kept
        assert any(line.startswith("finished stages: a process is computing policy") for line in swept.kept)
    assert {stage.path for stage in stages(runs)} == before
    end.touch()
    child.join(timeout=30)
    assert child.exitcode == 0
    assert sorted(p.name for p in max(stages(runs), key=lambda s: s.made).path.iterdir()) == [
        "done.json",
        "half.txt",
        "out.txt",
    ]


def _compute(root: str, log: str, number: int) -> None:
    def compute(work: Work) -> None:
        with Path(log).open("a") as file:
            file.write(f"begin {number}\n")
        time.sleep(0.05)
        write(work)
        with Path(log).open("a") as file:
            file.write(f"end {number}\n")

    Store(Path(root)).stage("pairs", {"a": 1}, compute)


def _clear(root: str, end: str) -> None:
    while not Path(end).exists():
        gc(Path(root), older_than=0)


def test_a_lock_that_is_cleared_away_still_lets_only_one_in(tmp_path):
    """Many processes want one stage while another keeps removing it, its leftovers and its lock."""
    context = multiprocessing.get_context("fork")
    log, end, root = tmp_path / "log", tmp_path / "end", tmp_path / "runs"
    log.touch()
    root.mkdir()
    clearing = context.Process(target=_clear, args=(str(root), str(end)))
    clearing.start()
    workers = [context.Process(target=_compute, args=(str(root), str(log), i)) for i in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    end.touch()
    clearing.join(timeout=30)
    assert [worker.exitcode for worker in workers] == [0] * 12 and clearing.exitcode == 0
    lines = log.read_text().split("\n")[:-1]
    assert len(lines) >= 2
    for begin, finish in zip(lines[::2], lines[1::2], strict=True):
        assert begin.replace("begin", "end") == finish  # never two at once


# --------------------------------------------------------------------------------------- full disk


def test_a_full_disk_is_one_line_and_earlier_results_are_intact(runs, monkeypatch):
    before = {stage.path: (stage.path / "done.json").read_bytes() for stage in stages(runs)}
    real = pd.DataFrame.to_parquet

    def full(self, path, *args, **kwargs):
        real(self, path, *args, **kwargs)
        Path(path).write_bytes(Path(path).read_bytes()[:50])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words = ["run", "--task", SPEC["task"], "--aligner", "dpo", "--minority-ratio", "0.5", "--runs-dir", runs]
    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    outcome = typed(*words, "--quiet")
    assert outcome.code == 3 and "the disk is full" in outcome.error
    assert {stage.path: (stage.path / "done.json").read_bytes() for stage in stages(runs)} == before
    assert all(found == [] for _, found in verify(runs))
    monkeypatch.undo()
    swept = gc(runs)  # what frees space works, and the same command goes on
    assert any(name.endswith(".partial") for name in swept.removed)
    assert typed(*words, "--quiet").code == 0


def test_clearing_that_fails_is_one_line(runs, monkeypatch):
    def refuse(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(cache.os, "replace", refuse)
    outcome = typed("cache", "gc", "--stage", "policy", "--runs-dir", runs)
    assert outcome.code == PrefbenchError.exit_code and "Permission denied" in outcome.error
    assert len(stages(runs)) == 9
