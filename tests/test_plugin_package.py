"""A package of somebody else's, installed as a user would install it, and one that is broken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import Outcome, sets

TESTS = Path(__file__).parent
PACKAGE = TESTS / "plugin_package"
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


SEVERAL = """
import json, sys
from support.commands import typed
print(json.dumps([vars(typed(*words)) for words in json.loads(sys.argv[1])]))
"""


def prefbench(*commands: list[str], site: Path, cwd: Path) -> list[Outcome]:
    """Commands one after the other, in one process that finds the packages of `site`."""
    path = os.pathsep.join([str(site), str(TESTS)])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SEVERAL, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr
    return [Outcome(**told) for told in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("setuptools")
    target = tmp_path_factory.mktemp("installed") / "site"
    install(PACKAGE, target)
    return target


def test_it_is_listed_and_passes_its_checks(site, tmp_path):
    checks = [["check", name, "--json"] for name in ("letters", "say_something")]
    listed, *checked = prefbench(["list", "tasks", "--json"], *checks, site=site, cwd=tmp_path)
    assert listed.code == 0 and listed.err == ""
    found = {entry["name"]: entry for entry in json.loads(listed.out)}
    assert found["letters"]["module"] == "prefbench_letters" and len(found) > 3
    for outcome in checked:
        report = json.loads(outcome.out)
        assert outcome.code == 0, [row for row in report["findings"] if row["status"] == "failed"]
        assert report["passed"] > 5 and report["failed"] == report["warned"] == 0
    assert list(tmp_path.iterdir()) == []


def test_it_runs_and_is_exported(site, tmp_path):
    run = ["run", "--task", "letters", "--aligner", "say_something", "--json", *sets(*TINY)]
    export = ["export", "--task", "letters", "--out", "data", *sets(*TINY)]
    ran, exported = prefbench(run, export, site=site, cwd=tmp_path)
    assert ran.code == 0, ran.err
    record = json.loads(ran.out)
    assert record["status"] == "ok" and record["task_version"] == 3
    assert [group["name"] for group in record["groups"]] == ["e", "a and o"]
    assert exported.code == 0, exported.err
    assert "pairs: stored" in exported.err and (tmp_path / "data" / "data" / "train.parquet").is_file()


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
    listed, lost = prefbench(["list", "tasks"], ["check", "torn"], site=both, cwd=tmp_path)
    assert listed.code == 0 and "letters@3" in listed.out and "imdb_two_group@2" in listed.out
    (warning,) = listed.err.splitlines()
    assert warning.startswith("prefbench: warning: plug-in torn (prefbench_torn) is left out")
    assert "a_module_that_is_not_there" in warning
    assert lost.code == 2 and "Traceback" not in lost.err
