"""The packages themselves, where they are installed: what they store of a run, and that nobody is asked."""

from __future__ import annotations

import json
import socket
import sqlite3
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from prefbench.record.files import read_record

RUN = """
import socket
def refused(*args, **more):
    raise OSError("no network in tests")
look_up = socket.getaddrinfo
def on_this_machine(host, *args, **more):
    if host not in ("127.0.0.1", "localhost", None):
        open("asked", "a").write(str(host) + "\\n")
        raise OSError("no network in tests")
    return look_up(host, *args, **more)
socket.getaddrinfo = on_this_machine
import prefbench as pb
pb.run("imdb_two_group", "single_reward", runs_dir="runs", quiet=True, track={track!r},
       task_options=dict(synthetic_size=1500, test_prompts=50, annotators=8, pairs_per_annotator=10,
                         response_tokens=8),
       model_options=dict(steps=20, width=16, layers=1, heads=2),
       aligner_options=dict(iterations=2, batch=16, reward_epochs=1))
"""


def skip_without(package: str) -> None:
    """Skip where a package is not installed; a stand-in that another test left behind is none."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{package} is not installed: pip install 'prefbench[{package}]'")


def run_with(track: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Any:
    """The record of a small run that was tracked in a process of its own, which may ask no other machine."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(folder), **variables}.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(track=track)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0 and "given up" not in done.stderr, done.stderr
    assert not (folder / "asked").exists()
    (made,) = (folder / "runs").glob("imdb*")
    return read_record(made)


def test_trackio_keeps_a_run_in_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("trackio")
    kept = tmp_path / "kept"
    record = run_with("trackio", tmp_path, monkeypatch, TRACKIO_DIR=str(kept), HF_TOKEN="hf_notarealtoken")
    with sqlite3.connect(kept / "prefbench.db") as database:
        rows = [json.loads(row) for (row,) in database.execute("select metrics from metrics order by step")]
        ((name, config),) = database.execute("select run_name, config from configs").fetchall()
    assert sum("reference/loss" in row for row in rows) == 20 and sum("policy/kl" in row for row in rows) == 2
    assert rows[-1]["status"] == "ok" and rows[-1]["worst_group_win_rate"] == record.worst_group_win_rate
    assert json.loads(config)["task.annotators"] == 8 and name.endswith(record.spec_hash[:12])
    assert json.loads(config)["_Username"] is None


def test_wandb_keeps_a_run_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("wandb")
    record = run_with("wandb", tmp_path, monkeypatch)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("run-*.wandb")
    kept = file.read_bytes()
    for known in ("task.annotators", "reference/loss", "policy/kl", "worst_group_win_rate", record.aligner):
        assert known.encode() in kept
    for group in record.groups:
        assert f"group/{group.name}/win_rate".encode() in kept
    host = socket.gethostname().encode()
    assert len(host) < 4 or host not in kept
    assert str(tmp_path).encode() not in kept and b"requirements.txt" not in kept
    assert not [path for path in (folder / "files").rglob("*") if path.suffix in (".log", ".json", ".txt")]
