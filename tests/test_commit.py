"""The commit that results name: of a checkout, and of what was built from one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prefbench import commit as library

ROOT = Path(__file__).parents[1]


def git(folder: Path, *words: str) -> str:
    who = {f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *words], cwd=folder, env=os.environ | who, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_checkout_is_at_its_commit_and_may_be_dirty(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert library.commit_of(checkout) == head
    (checkout / "new").write_text("not tracked")
    assert library.commit_of(checkout) == head
    (checkout / "file").write_text("two")
    assert library.commit_of(checkout) == f"{head}-dirty"


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    assert library.commit_of(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert library.commit_of(ROOT) is None


@pytest.mark.slow
def test_a_wheel_remembers_the_commit_that_it_was_built_from(checkout):
    for name in ("prefbench", "tasks", "baselines", "pyproject.toml", "setup.py", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(checkout / name)], check=True)
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "two")
    built = checkout.parent / "built"
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(built), "."]
    subprocess.run(pip, cwd=checkout, check=True)
    (wheel,) = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(built / "site")], check=True)
    code = "from prefbench.commit import commit; print(commit())"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=built / "site",
        env=os.environ | {"PYTHONPATH": str(built / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == git(checkout, "rev-parse", "HEAD")
