"""The table of what boards take: seconds of records, summed by board and by aligner."""

from prefbench.boards.pack import pack
from support.boards import BAD, GOOD, board


def test_costs_are_summed_by_board_and_aligner(tmp_path, script):
    """Made-up runs take 1.5 seconds each, so that an aligner's four take a tenth of a minute."""
    board(tmp_path / "runs", {"good": GOOD, "bad": BAD}, range(4))
    (tmp_path / "published" / "of").mkdir(parents=True)
    pack([tmp_path / "runs"], tmp_path / "published" / "of" / "two.zip")
    (line,) = script("costs").costs(tmp_path / "published").splitlines()[2:]
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["of/two", "8", "2", "0.00", "0.1", "0.1"]
