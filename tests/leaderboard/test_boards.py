"""Every published board: of today's numerics, small enough, right, and the same computed anew."""

from pathlib import Path

import pytest

from prefbench import registry
from prefbench.boards.verify import runs_in, verify_board
from prefbench.boards.verify_csv import verify_csv
from prefbench.numerics import NUMERICS
from prefbench.record.files import find_records
from prefbench.tools.rerun import draw, rerun

PUBLISHED = Path(__file__).parents[2] / "leaderboard"
BOARDS = sorted(PUBLISHED.rglob("*.zip"))
MOST_BYTES = 60e6
every_board = pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True, scope="module")
def plugins():
    registry.load_plugins()


def test_all_evidence_together_is_small():
    assert sum(path.stat().st_size for path in BOARDS) < MOST_BYTES


@every_board
def test_runs_are_of_todays_numerics(board):
    assert {record.numerics for _, record in find_records(board)} == {NUMERICS}


@pytest.mark.slow
@every_board
def test_every_record_and_row_follows_from_the_evidence(board):
    found = verify_board(runs_in(board), fetch=True)
    assert found and [(run.folder.name, run.wrong) for run in found if run.wrong] == []
    assert not any(run.absent or run.too_large or run.unbuilt for run in found)
    if board.with_suffix(".csv").exists():
        rows = verify_csv(board.with_suffix(".csv"), board)
        assert rows and not any(rows.values())


@pytest.mark.slow
@every_board
def test_five_runs_drawn_at_random_are_the_same_computed_anew(board):
    found = verify_board(runs_in(board), sample=0, fetch=True)
    drawn, passed = draw(found, 5, seed=2026)
    again = list(rerun(drawn, found))
    assert passed == [] and len(again) == 5
    assert [(each.folder.name, each.wrong) for each in again if each.wrong or each.how is None] == []
