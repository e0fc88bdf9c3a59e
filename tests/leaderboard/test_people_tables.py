"""Tables of policies for each person: those of the board of people, as markdown."""

from prefbench.boards.rows import load_rows
from support.told import told_board


def test_every_table_of_the_board_is_one_of_the_page(tmp_path, script):
    known, controls, evenly = script("people").tables(load_rows(told_board(tmp_path)))
    (router,) = (line for line in known.splitlines() if line.startswith("| router"))
    cells = [cell.strip() for cell in router.strip("|").split("|")]
    assert cells[1:3] == ["user_id", "pairs"] and cells[3].endswith("*") and not cells[4].endswith("*")
    assert "passes" in controls and "worst tenth, n = 8" in evenly.splitlines()[0]
    assert "\n\n" not in known + controls + evenly
