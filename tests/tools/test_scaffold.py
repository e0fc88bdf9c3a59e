"""What `prefbench new` writes passes `prefbench check`, and nothing is written over."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from prefbench import registry
from prefbench.errors import UserError
from prefbench.tools.check.check import check, find
from prefbench.tools.scaffold import new
from support.commands import typed

pytestmark = pytest.mark.usefixtures("restored")

ROOT = Path(__file__).parents[2]
KINDS = ["task", "three-group-task", "aligner", "reward-aligner", "personal-aligner"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_every_check(kind, tmp_path):
    path = new(kind, "my_own", tmp_path / "deep" / "folder")
    assert path == tmp_path / "deep" / "folder" / "my_own.py"
    ((entry,), _) = find(str(path))
    assert (entry.kind, entry.name) == (kind.rpartition("-")[2], "my_own")
    findings = check(entry, plugins=[str(path)])
    other = [f for f in findings if f.status != "passed"]
    if kind == "three-group-task":  # which cannot be built at one half, and is told why
        assert [(f.words, f.status) for f in other] == [("builds at a minority ratio of 0.5", "left out")]
        assert "the smallest of 3 groups has a share of 1/3 at most" in other[0].detail
    else:
        assert other == []
    assert len(findings) > 12


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_in_our_style(kind, tmp_path):
    path = new(kind, "my_own", tmp_path)
    assert not re.search("NAME|TITLE", path.read_text())
    options = ["--config", str(ROOT / "pyproject.toml"), str(path)]
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, *options], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name",
    ["", "1st", "a-b", "a b", "a/b", "../up", "class", "None", "caf\u00e9", "a.py", "NAME", "seeds", "x\n"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_name_is_refused_and_nothing_written(kind, name, tmp_path):
    if name == "seeds" and not kind.endswith("task"):
        return  # not a word of those templates
    with pytest.raises(UserError):
        new(kind, name, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path):
    for kind in ("task", "aligner"):
        taken = registry.entries(kind)[0].name
        with pytest.raises(UserError, match="exists already"):
            new(kind, taken, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_written_over(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("precious")
    with pytest.raises(UserError, match="exists already: remove it"):
        new("task", "mine", tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        new("task", "other", file)
    assert file.read_text() == "precious"


def test_the_command_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = typed("new", "aligner", "my_way")
    assert outcome.code == 0 and outcome.out.startswith("written: my_way.py\n")
    assert "prefbench check my_way.py" in outcome.out
    again = typed("new", "aligner", "my_way")
    assert again.code == 2 and "exists already" in again.error
