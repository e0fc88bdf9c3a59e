"""A package of somebody else's, installed as a user would install it, and one that is broken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "plugin_package"
TINY = ("model.steps=5", "model.width=16", "model.layers=1", "model.heads=2", "model.vocabulary=300")


def install(source: Path, target: Path) -> None:
    """`pip install`, offline, into a folder of its own; built from a copy, so that nothing is left here."""
    copy = target.with_name(f"{target.name}-source")
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(copy)],
        capture_output=True,
        text=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def prefbench(*words: object, site: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    command = [sys.executable, "-m", "prefbench", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("setuptools")
    target = tmp_path_factory.mktemp("installed") / "site"
    install(PACKAGE, target)
    return target


def test_it_is_listed_and_passes_its_checks(site, tmp_path):
    done = prefbench("list", "tasks", "--json", site=site, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    found = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert found["letters"]["module"] == "prefbench_letters" and len(found) > 3
    for name in ("letters", "say_something"):
        done = prefbench("check", name, "--json", site=site, cwd=tmp_path)
        report = json.loads(done.stdout)
        assert done.returncode == 0, [row for row in report["findings"] if row["status"] == "failed"]
        assert report["passed"] > 5 and report["failed"] == report["warned"] == 0
    assert list(tmp_path.iterdir()) == []


def test_it_runs_and_is_exported(site, tmp_path):
    sets = [word for item in TINY for word in ("--set", item)]
    words = ["run", "--task", "letters", "--aligner", "say_something", "--json"]
    done = prefbench(*words, *sets, site=site, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "ok" and record["task_version"] == 3
    assert [group["name"] for group in record["groups"]] == ["e", "a and o"]
    done = prefbench("export", "--task", "letters", "--out", "data", *sets, site=site, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pairs: stored" in done.stderr and (tmp_path / "data" / "data" / "train.parquet").is_file()


def test_a_broken_package_is_left_out_with_a_warning(site, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    project = source / "pyproject.toml"
    text = project.read_text().replace("prefbench-letters", "prefbench-torn")
    project.write_text(
        text.replace('letters = "prefbench_letters"', 'torn = "prefbench_torn"').replace(
            '["prefbench_letters"]', '["prefbench_torn"]'
        )
    )
    (source / "prefbench_letters").rename(source / "prefbench_torn")
    (source / "prefbench_torn" / "__init__.py").write_text("import a_module_that_is_not_there\n")
    torn = tmp_path / "torn"
    install(source, torn)
    both = Path(f"{site}{os.pathsep}{torn}")
    done = prefbench("list", "tasks", site=both, cwd=tmp_path)
    assert done.returncode == 0 and "letters@3" in done.stdout and "imdb_two_group@1" in done.stdout
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("prefbench: warning: plug-in torn (prefbench_torn) is left out")
    assert "a_module_that_is_not_there" in warning
    lost = prefbench("check", "torn", site=both, cwd=tmp_path)
    assert lost.returncode == 2 and "Traceback" not in lost.stderr
