"""`pb.compare` and `pb.leaderboard`: the commands' comparisons and boards from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import prefbench as pb
from prefbench import registry
from prefbench.api.results import Results
from prefbench.boards.compare import compare_aligners
from prefbench.boards.csv_file import read_csv
from prefbench.boards.show import show
from prefbench.boards.table import build
from support.commands import typed


def test_compared_are_runs_folders_names_and_functions(
    longest: Results, balanced: Results, folder: Path
) -> None:
    told = compare_aligners("dpo", "longest", folder)
    for first, second in [
        (balanced, longest),
        ("dpo", "longest"),
        (balanced, registry.get("aligner", "longest").function),
    ]:
        assert pb.compare(first, second, runs_dir=folder).statistics == told  # type: ignore[arg-type]
    found = pb.compare(balanced, longest)
    frame = found.frame()
    assert list(frame["measure"]) == [measure.measure for measure in told.measures]
    assert list(frame["difference"]) == [measure.difference for measure in told.measures]
    by_path = pb.compare(balanced.paths[1], longest)
    assert by_path.statistics.seeds == (1,) and by_path.statistics.left_out == (0,)
    assert "only one of the two has seed 0: not compared" in repr(by_path)
    assert "only one of the two has seed 0" in by_path._repr_html_()


def test_a_comparison_shows_itself_as_the_command_does(
    longest: Results, balanced: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # as `typed` has it
    found = pb.compare(balanced, longest)
    told = typed("leaderboard", "compare", "dpo", "longest", "--runs-dir", folder)
    assert (told.code, told.out) == (0, repr(found) + "\n")
    assert found._repr_html_().count("<tr>") == 6
    (axes,) = found.plot("headline").axes
    assert {label.get_text() for label in axes.get_yticklabels()} == {"dpo", "longest"}


def test_what_cannot_be_compared_is_one_line(longest: Results, folder: Path, tmp_path: Path) -> None:
    other = pb.run("worst_case_two_group", "reference", runs_dir=tmp_path, quiet=True)
    with pytest.raises(pb.UserError, match="'longest' and 'reference' are not comparable, task is"):
        pb.compare(longest, other)
    with pytest.raises(pb.UserError, match="no run of 'nobody' in"):
        pb.compare(longest, "nobody", runs_dir=folder)
    with pytest.raises(pb.UserError, match="aligner 3 is neither"):
        pb.compare(longest, 3)  # type: ignore[arg-type]


def test_a_leaderboard_is_that_of_the_command(
    longest: Results, balanced: Results, folder: Path, tmp_path: Path
) -> None:
    board = pb.leaderboard(folder)
    assert board.frame().equals(build(folder)) and len(board) == 2
    for sources in [(longest, balanced), (longest, folder), tuple(longest.paths) + tuple(balanced.paths)]:
        assert pb.leaderboard(*sources).frame().equals(board.frame())
    board.to_csv(tmp_path / "board.csv")
    read = pb.leaderboard(tmp_path / "board.csv")
    assert read.frame().equals(read_csv(tmp_path / "board.csv"))
    assert repr(read) == repr(board) == show(board.frame())
    duels = board.matrix(minority_ratio="4:1")
    assert len(duels) == len(board.matrix("dpo", "longest")) == len(longest.records[0].groups)
    assert {*duels["first"], *duels["second"]} == {"dpo", "longest"}
    with pytest.raises(pb.UserError, match="no runs to draw or compare"):
        read.matrix()
    page = board._repr_html_()
    assert page.count("<tr>") == 3 and "worst seed" in page  # every column, however narrow a terminal
    assert board.plot("scatter").axes
    with pytest.raises(pb.UserError, match="from a CSV file has no runs to draw"):
        read.plot("scatter")
    changed = board.frame()
    changed["gap"] = 0.0
    assert not board.frame().equals(changed)


def test_what_is_no_leaderboard_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(pb.UserError, match="has no column 'task'"):
        pb.leaderboard("other.csv")
    with pytest.raises(pb.UserError, match=r"no leaderboard at 'none\.csv'"):
        pb.leaderboard("none.csv")
    with pytest.raises(pb.UserError, match="no record at 'runs"):
        pb.leaderboard()
    with pytest.raises(pb.UserError, match="leaderboard 4 is no path"):
        pb.leaderboard(4)  # type: ignore[arg-type]
