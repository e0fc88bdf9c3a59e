"""Who made a row, and with which seeds: what is mixed, strange or missing costs nobody else a rank."""

import pandas as pd
import pytest

from prefbench.boards.compare import compare_aligners
from prefbench.boards.csv_file import read_csv, write_csv
from prefbench.boards.declared import DECLARED, declare_seeds, read_declared
from prefbench.boards.names import setting_digest
from prefbench.boards.rows import common_seeds
from prefbench.boards.table import build
from prefbench.errors import UserError
from prefbench.record.files import read_record
from support.boards import BAD, GOOD, board, only
from support.records import make_run


def test_a_row_of_two_codes_is_mixed_and_unranked(tmp_path):
    board(tmp_path, {"good": GOOD}, numerics=1, code="a" * 16)
    board(tmp_path, {"edited": GOOD}, seeds=(0, 1), numerics=1, code="a" * 16)
    board(tmp_path, {"edited": GOOD}, seeds=(2,), numerics=1, code="b" * 16)
    frame = build(tmp_path)
    edited = only(frame, aligner="edited")
    assert edited["status"] == (
        "mixed: seeds 0 1 by numerics 1, code aaaaaaaa; seeds 2 by numerics 1, code bbbbbbbb"
    )
    assert pd.isna(edited["rank"]) and pd.isna(edited["worst_group_win_rate"])
    assert only(frame, aligner="good")["rank"] == 1
    with pytest.raises(UserError, match="cannot be compared, it is mixed"):
        compare_aligners("good", "edited", tmp_path)


def test_rows_of_different_numerics_are_not_compared(tmp_path):
    board(tmp_path, {"good": GOOD}, numerics=1, code="a" * 16)
    board(tmp_path, {"bad": BAD}, numerics=2, code="b" * 16)
    board(tmp_path, {"old": BAD})
    frame = build(tmp_path)
    assert frame["rank"].tolist() == [1, 1, 1]  # each is alone on its board
    assert only(frame, aligner="bad")["numerics"] == 2
    assert pd.isna(only(frame, aligner="old")["numerics"])
    with pytest.raises(UserError, match="made by numerics 1 and numerics 2: run one again"):
        compare_aligners("good", "bad", tmp_path)
    with pytest.raises(UserError, match="numerics 1 and a version before numerics"):
        compare_aligners("good", "old", tmp_path)
    csv_file = tmp_path / "results.csv"
    write_csv(frame, csv_file)
    assert read_csv(csv_file).equals(frame)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([{0, 1, 2}] * 5 + [{0, 1, 2, 7}], {0, 1, 2}),  # a seed too many in one row
        ([{0, 1, 2}] * 5 + [{7}], {0, 1, 2}),  # a stray run
        ([{0, 1, 2, 3, 4}, {0}, {0}, {0}], {0, 1, 2, 3, 4}),  # quick looks beside one whole row
        ([{0, 1, 2}, {0, 1, 2}, {0, 2}], {0, 1, 2}),  # one is missing
        ([{0}, {1}], {0, 1}),  # nobody can say
        ([{0}], {0}),
        ([], set()),
    ],
)
def test_seeds_of_a_board_are_those_of_most_rows(rows, expected):
    assert common_seeds([frozenset(seeds) for seeds in rows]) == expected


def test_a_stray_run_unranks_nobody(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD, "fine": GOOD})
    before = build(tmp_path)
    make_run(tmp_path, GOOD, aligner="good", seed=7)
    make_run(tmp_path, GOOD, aligner="new", seed=9)
    three = [("many", 0.6, False), ("few", 0.2, True), ("rare", 0.2, True)]
    make_run(tmp_path, {"many": 0.8, "few": 0.7, "rare": 0.6}, aligner="odd", groups=three)
    with pytest.warns(UserWarning) as told:
        after = build(tmp_path)
    assert only(after, aligner="new")["status"] == "incomplete: no seed 0, 1, 2"
    assert only(after, aligner="odd")["status"] == "incomplete: no seed 1, 2"
    kept = after[after["aligner"].isin(before["aligner"])].reset_index(drop=True)
    assert kept.equals(before)
    said = {str(warning.message) for warning in told}
    assert "good on toy@1 nano synthetic 0.2: left out seed 7: the board has seeds 0 1 2" in said
    assert any("left out group rare" in line for line in said)


def test_a_sweep_declares_the_seeds(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD}, seeds=(0, 1))
    record = read_record(next(tmp_path.glob("good-*")))
    setting = setting_digest(record.task, record.task_version, record.spec)
    declare_seeds(tmp_path, {setting: {0, 1, 2}, "another": {5}})
    assert set(build(tmp_path)["status"]) == {"incomplete: no seed 2"}
    declare_seeds(tmp_path, {setting: {0}})
    with pytest.warns(UserWarning, match="left out seed 1"):
        assert build(tmp_path)["seeds"].tolist() == ["0", "0"]
    assert read_declared(tmp_path)["another"] == [5]
    for text in ("{", "[]", '{"a": 3}', "[-1]", "[true]"):
        (tmp_path / DECLARED / "another.json").write_text(text)
        with pytest.raises(UserError, match="is damaged: remove it"):
            build(tmp_path)
