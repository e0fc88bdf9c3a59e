"""Runs whose problem is too large to be built for a stranger: not called checked, not taken in unchecked."""

import dataclasses
import shutil

import pytest
from typer.testing import CliRunner

from prefbench import registry
from prefbench.boards.submission import merge, submit
from prefbench.boards.verify import verify_board
from prefbench.cli.entry import app
from prefbench.errors import UserError
from prefbench.record.files import read_record, write_record
from prefbench.record.problems import too_many
from prefbench.running.run import run
from prefbench.spec import digest, make_spec, parse_sets
from support.tiny import TINY_SETS


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A packed run."""
    runs, packed = (tmp_path_factory.mktemp(name) for name in ("runs", "packed"))
    spec = make_spec(task="imdb_two_group", aligner="longest", sets=parse_sets(TINY_SETS))
    (folder,) = submit([run(spec, runs)[0]], packed)
    return folder


def claiming(honest, into, **options):
    """A copy of a run that says it was made with other options of its task."""
    folder = shutil.copytree(honest, into / honest.name)
    record = read_record(folder)
    spec = {**record.spec, "task_options": {**record.spec["task_options"], **options}}
    write_record(record.model_copy(update={"spec": spec, "spec_hash": digest(spec)[:16]}), folder)
    return folder


@pytest.mark.parametrize(
    "options", [{"annotators": 401}, {"pairs_per_annotator": 100000}, {"annotators": 401.0}], ids=str
)
def test_a_problem_that_is_not_built_for_its_size_is_neither_checked_nor_taken(honest, tmp_path, options):
    (name,) = options
    folder = claiming(honest, tmp_path / "runs", **options)
    words = ["leaderboard", "verify", "--runs-dir", str(tmp_path / "runs")]
    shutil.copytree(honest, tmp_path / "runs" / "honest")  # something else was checked
    for more in ([], ["--sample", "1", "--seed", "0"], ["--sample", "1", "--seed", "1"]):
        said = CliRunner().invoke(app, [*words, *more])
        assert said.exit_code == 1
        assert "1 of 2 records follow from their evidence\n" in said.output
        assert "1 have a problem that was not built for its size and were checked in part" in said.output
        assert f"{folder.name}: not checked: problem and utilities: task.{name}=" in said.output
    for take in (submit, merge):
        with pytest.raises(UserError, match=r"cannot be checked: .* too large a problem, say --large if"):
            take([folder], tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_large_problem_is_built_where_the_reader_says_so(honest, tmp_path):
    sets = [*TINY_SETS, "task.pairs_per_annotator=1", "task.annotators=401"]
    spec = make_spec(task="imdb_two_group", aligner="longest", sets=parse_sets(sets))
    run(spec, tmp_path / "runs")
    verify = ["leaderboard", "verify", "--runs-dir", str(tmp_path / "runs")]
    assert CliRunner().invoke(app, verify).exit_code == 1
    said = CliRunner().invoke(app, [*verify, "--large"])
    assert said.exit_code == 0 and "1 of 1 records follow from their evidence\n" in said.output
    for command, source, way in (("submit", tmp_path / "runs", "--out"), ("merge", tmp_path / "p", "--into")):
        words = ["leaderboard", command, str(source), way, str(tmp_path / ("p" if way == "--out" else "m"))]
        assert CliRunner().invoke(app, words).exit_code == 2
        assert CliRunner().invoke(app, [*words, "--large"]).exit_code == 0
    forged = claiming(honest, tmp_path / "forged", annotators=401)
    assert any("is" in said for said in verify_board([forged], large=True)[0].wrong)


def test_a_problem_that_fills_the_memory_is_too_large(honest, tmp_path, monkeypatch):
    entry = registry.get("task", "imdb_two_group")

    def function(data, ratio, seed, **options):
        raise MemoryError

    full = dataclasses.replace(entry, function=function)
    monkeypatch.setitem(registry._entries, ("task", "imdb_two_group"), full)
    (found,) = verify_board([honest], large=True)
    assert found.wrong == [] and found.unbuilt.large
    with pytest.raises(UserError, match="cannot be checked: its problem cannot be built"):
        merge([honest], tmp_path / "records", large=True)


def test_a_list_of_numbers_counts_as_its_largest():
    class Options(registry.Options):
        sizes: list[int] = [20, 30]
        rate: float = 0.1
        more: int | None = None
        switch: bool = False

    usual = {"sizes": [300], "rate": 1e9, "more": 10_000, "switch": True}
    assert too_many("task", usual, Options) is None
    assert "task.sizes" in str(too_many("task", {"sizes": [1, 301]}, Options))
    assert "task.more" in str(too_many("task", {"more": 10_001}, Options))
