"""Submissions as a pull request brings them: what is good passes, all else is refused in a line."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from prefbench.boards.pack import write_board
from prefbench.boards.sending import CHECK, SUBMISSIONS, how_to_send
from prefbench.boards.submission import submit
from prefbench.record.anonymous import anonymous
from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import read_record, write_record
from prefbench.running.run import run
from prefbench.spec import make_spec
from support.commands import typed
from support.records import make_run
from support.small_world import SMALL, WORLD

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "leaderboard" / "scripts" / "check_submissions.py"
RATES = {"many": 0.8, "few": 0.6}


@pytest.fixture(scope="module")
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("check_submissions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two small runs of a world."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        run(make_spec(task=WORLD, aligner="longest", seed=seed, sets={"task": SMALL}), folder)
    return folder


@pytest.fixture
def sent(runs, tmp_path):
    """A folder of submissions with a good one in it."""
    folder = tmp_path / "submissions"
    submit([runs], folder / "good")
    (folder / "README.md").write_text("what lies here")
    return folder


def said(script, capsys, *arguments):
    """Exit code and lines of the check."""
    code = script.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().out.splitlines()


def a_run(sent):
    return next(path for path in sorted((sent / "good").iterdir()) if path.is_dir())


def test_a_good_submission_passes_as_a_folder_and_as_a_file(script, sent, runs, capsys):
    submit([runs], sent / "packed.zip")
    code, lines = said(script, capsys, sent)
    assert code == 0
    assert lines == [
        "good: 2 runs follow from the evidence",
        "packed.zip: 2 runs follow from the evidence",
        "2 of 2 submissions can be taken in",
    ]


def test_only_what_is_new_or_changed_is_checked(script, sent, tmp_path, capsys):
    known = tmp_path / "known"
    submit([sent / "good"], known / "good")
    assert said(script, capsys, sent, "--known", known) == (0, ["0 of 0 submissions can be taken in"])
    record = a_run(sent) / "record.json"
    record.write_text(record.read_text().replace('"finite"', '"infinite"', 1))
    code, lines = said(script, capsys, sent, "--known", known)
    assert code == 1 and lines[0].startswith("good: refused: ")


def forged_record(sent):
    path = a_run(sent) / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mean_win_rate": 0.99}))


def forged_items(sent):
    items = read_items(a_run(sent))
    write_items(items.assign(**{f"{items.columns[-1]}": items[items.columns[-1]] + 1.0}), a_run(sent))


def unpacked(sent):
    """As it came from the machine that ran it, with names in it."""
    path = a_run(sent) / "record.json"
    record = json.loads(path.read_text())
    record["provenance"]["hardware"] = "a processor of mine"
    path.write_text(json.dumps(record))


def of_a_plugin(sent):
    folder = make_run(sent / "good", RATES, task="alien")
    write_record(anonymous(read_record(folder)), folder)


def script_beside(sent):
    (a_run(sent) / "run.py").write_text("raise SystemExit('it ran')")


def file_beside(sent):
    (sent / "good" / "conftest.py").write_text("raise SystemExit('it ran')")


def too_deep(sent):
    (a_run(sent) / "deeper").mkdir()
    (a_run(sent) / "deeper" / "record.json").write_text("{}")


def link_in(sent):
    (a_run(sent) / "people.parquet").symlink_to("/etc/passwd")


def pipe_in(sent):
    os.mkfifo(a_run(sent) / "people.parquet")


def no_run(sent):
    (sent / "good" / "another").mkdir()
    (sent / "good" / "another" / "items.parquet").write_bytes(b"")


def empty_folder(sent):
    (sent / "good" / "nothing").mkdir()


def strange_name(sent):
    (sent / "good").rename(sent / "good; rm -rf x")


def hidden(sent):
    (sent / "good").rename(sent / ".good")


def no_board(sent):
    (sent / "good.zip").write_bytes(b"PK no board")


def other_file(sent):
    (sent / "results.csv").write_text("a,b")


def linked_whole(sent):
    (sent / "good").rename(sent.parent / "elsewhere")
    (sent / "good").symlink_to(sent.parent / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (forged_record, "does not verify: mean_win_rate is 0.99"),
        (forged_items, "does not verify"),
        (unpacked, "names a machine: pack it with `prefbench leaderboard submit` first"),
        (of_a_plugin, "cannot be checked: "),
        (script_beside, "is no file of a packed run"),
        (file_beside, "'conftest.py' is no file of a packed run"),
        (too_deep, "is no file of a packed run"),
        (link_in, "is no regular file"),
        (pipe_in, "is no regular file"),
        (no_run, "1 of its 3 folders hold no run"),
        (empty_folder, "'nothing' is no regular file"),
        (strange_name, "its name has other characters"),
        (hidden, "its name has other characters"),
        (no_board, "cannot be read"),
        (other_file, "neither a folder of runs nor a board in one file"),
        (linked_whole, "is no regular file"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_submission_is_refused_in_a_line(spoil, why, script, sent, capsys):
    spoil(sent)
    code, lines = said(script, capsys, sent)
    assert code == 1
    (line,) = [line for line in lines if ": refused: " in line]
    assert why in line and "it ran" not in "".join(lines)
    assert lines[-1].startswith(("0 of 1", "1 of 2"))


def test_what_is_too_large_is_refused_before_it_is_read(script, sent, capsys, monkeypatch):
    def read(*_, **__):
        raise AssertionError("it was read")

    monkeypatch.setattr(script, "merge", read)
    with (a_run(sent) / "items.parquet").open("wb") as file:
        file.truncate(script.MOST_BYTES + 1)  # a hole, which takes no room
    code, lines = said(script, capsys, sent)
    assert code == 1 and "good: refused: it is larger than 67,108,864 bytes" in lines[0]
    submit_many = sent / "many"
    for number in range(4):
        (submit_many / f"run-{number}").mkdir(parents=True)
        (submit_many / f"run-{number}" / "record.json").touch()
    monkeypatch.setattr(script, "MOST_FILES", 3)
    code, lines = said(script, capsys, sent)
    assert code == 1 and "files: send it in several parts" in lines[1]


def test_a_folder_that_is_not_there_is_one_line(script, tmp_path, capsys):
    assert script.main([str(tmp_path / "gone")]) == 2
    assert (
        capsys.readouterr().err
        == f"error: no folder '{tmp_path / 'gone'}': name the folder that submissions lie in.\n"
    )


def test_what_lies_in_the_repository_passes_by_the_command_that_submit_names():
    """From the root, without arguments, as README.md of the folder has it."""
    assert CHECK == f"python {SCRIPT.relative_to(ROOT)}" and (ROOT / SUBMISSIONS / "README.md").is_file()
    assert CHECK in (ROOT / SUBMISSIONS / "README.md").read_text()
    done = subprocess.run(
        [sys.executable, *shlex.split(CHECK)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "submissions can be taken in" in done.stdout, done.stderr


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_submit_says_where_it_goes_and_its_commands_take_it_there(ending, runs, script, tmp_path, capsys):
    out = tmp_path / f"my runs!{ending}"
    outcome = typed("leaderboard", "submit", runs, "--out", out)
    assert outcome.code == 0, outcome.err
    first, *lines = outcome.out.splitlines()
    assert first == f"2 runs packed into {out}"
    assert "pull request" in lines[0] and f"{SUBMISSIONS}/" in lines[0]
    commands = [line.strip() for line in lines if line.startswith("  ")]
    (copy,) = [command for command in commands if command.startswith("cp ")]
    place = f"{SUBMISSIONS}/my-runs{ending}"
    assert CHECK in commands and f"git add {place}" in commands
    checkout = tmp_path / "checkout"
    (checkout / SUBMISSIONS).mkdir(parents=True)
    subprocess.run(shlex.split(copy), cwd=checkout, check=True)
    assert said(script, capsys, checkout / SUBMISSIONS)[0] == 0 and (checkout / place).exists()


def test_what_lies_in_its_place_already_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = how_to_send(Path(SUBMISSIONS) / "mine")
    assert not [line for line in lines if line.strip().startswith("cp ")]
    assert f"  git add {SUBMISSIONS}/mine" in lines


def test_a_board_in_one_file_passes_too(script, runs, tmp_path, capsys):
    """And what `pack` wrote does, which takes the names of the machine out as `submit` does."""
    (tmp_path / "sent").mkdir()
    found = sorted(path for path in runs.iterdir() if (path / "record.json").exists())
    write_board(found, {}, tmp_path / "sent" / "mine.zip")
    code, lines = said(script, capsys, tmp_path / "sent")
    assert code == 0 and lines[0] == "mine.zip: 2 runs follow from the evidence"
