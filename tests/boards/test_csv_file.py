"""The board as a CSV: it comes back as it was, starts no formula, and damage is found."""

import csv

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefbench.boards.columns import OVER_SEEDS, RANKS, is_old
from prefbench.boards.csv_file import _guard, read_csv, text_of, to_csv, write_csv
from prefbench.boards.show import show
from prefbench.boards.table import build
from prefbench.errors import UserError
from support.boards import BAD, GOOD, board
from support.records import make_run


def test_csv_round_trip(tmp_path):
    board(tmp_path / "runs", {"good": GOOD, "bad": BAD}, kl=-0.25)
    make_run(tmp_path / "runs", GOOD, aligner="wild", status="diverged")
    frame = build(tmp_path / "runs")
    write_csv(frame, tmp_path / "out" / "results.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "out" / "results.csv"), frame)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.csv"]
    assert (frame["kl"].dropna() == -0.25).all()
    assert "'-0.25" not in (tmp_path / "out" / "results.csv").read_text()  # numbers are not escaped


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "'=quoted", "''-x", "plain", "a,b", 'a"b']
)
def test_text_cannot_start_a_formula(tmp_path, name):
    make_run(tmp_path, GOOD, data=name)
    frame = build(tmp_path)
    write_csv(frame, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="") as file:
        cell = next(csv.DictReader(file))["data"]
    assert not cell.startswith(("=", "+", "-", "@", "\t"))
    assert read_csv(tmp_path / "results.csv")["data"].iloc[0] == name


@pytest.fixture(scope="module")
def one_row(tmp_path_factory):
    """The board of one run."""
    runs = tmp_path_factory.mktemp("runs")
    make_run(runs, GOOD, n=10)
    return build(runs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"])) | st.text("=+-@'\t\r\n,\"1", max_size=5))
def test_any_text_survives_the_csv_and_starts_no_formula(one_row, tmp_path, text):
    frame = one_row.copy()
    for name in ("task", "data", "variant", "worst_group"):
        frame[name] = text
    write_csv(frame, tmp_path / "results.csv")
    pd.testing.assert_frame_equal(read_csv(tmp_path / "results.csv"), frame, check_dtype=False)
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        cells = list(csv.DictReader(file))
    assert len(cells) == 1
    assert not any(value.startswith(("=", "+", "@", "\t", "\r")) for value in cells[0].values())
    assert not cells[0]["data"].startswith("-")


@given(st.text())
def test_guard_can_be_undone(text):
    assert text_of(_guard(text)) == text
    assert not _guard(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_csv_errors_say_what_to_do(tmp_path):
    path = tmp_path / "results.csv"
    with pytest.raises(UserError, match="leaderboard build"):
        read_csv(path)
    make_run(tmp_path / "runs", GOOD)
    frame = build(tmp_path / "runs")
    text = to_csv(frame)
    for spoiled, said in [
        ("", "no column 'task'"),
        (text.replace("gap_low", "gap_lo"), "no column 'gap_low'"),
        (text.replace("ok", "ok,ok"), "cells, not"),
        (text.replace(",60,", ",sixty,"), "n_prompts is 'sixty'"),
        (text.replace(",0.5,", ",nan,"), "kl is 'nan'"),
        (
            text.replace(f",{float(frame['worst_group_cross_fitted'][0])!r},", ",7.0,"),
            "worst_group_cross_fitted is 7",
        ),
        (text.replace(",many,0.", ",many,7.").replace(",few,0.", ",few,7."), "rate between 0 and 1"),
    ]:
        assert spoiled != text
        path.write_text(spoiled)
        with pytest.raises(UserError, match=said):
            read_csv(path)


def test_an_older_file_is_read_and_called_old(tmp_path):
    """Its worst group is the smallest of means, its ranks were shared: neither is taken for today's."""
    board(tmp_path / "runs", {"good": GOOD, "bad": BAD})
    frame = build(tmp_path / "runs")
    assert not is_old(frame)
    older = frame.drop(columns=list(OVER_SEEDS)).assign(tie_rank=[1, 1])
    older.to_csv(tmp_path / "older.csv", index=False)
    read = read_csv(tmp_path / "older.csv")
    assert is_old(read) and read["rank"].isna().all() and "tie_rank" not in read.columns
    assert read["worst_group_win_rate"].tolist() == pytest.approx(frame["worst_group_win_rate"].tolist())
    text = show(read, "markdown")
    assert "an older file: its worst group is the smallest of means" in text and "95% intervals" not in text


def test_whole_numbers_as_pandas_writes_them(tmp_path):
    board(tmp_path / "runs", {"good": GOOD, "bad": BAD})
    make_run(tmp_path / "runs", GOOD, aligner="reference")
    frame = build(tmp_path / "runs")
    written = tmp_path / "results.csv"
    write_csv(frame, written)
    pd.read_csv(written).to_csv(written, index=False)
    assert ",1.0,1.0,1.0," in written.read_text()
    pd.testing.assert_frame_equal(read_csv(written)[[*RANKS]], frame[[*RANKS]])
    written.write_text(written.read_text().replace(",1.0,1.0,1.0,", ",1.5,1.0,1.0,"))
    with pytest.raises(UserError, match=r"rank is '1\.5', not a number"):
        read_csv(written)
