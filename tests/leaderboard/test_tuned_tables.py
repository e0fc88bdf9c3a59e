"""Tables of tuned options: what was chosen, what it moved, and ranks of a family among itself."""

from types import SimpleNamespace

import pytest

from prefbench.boards.rows import load_rows
from support.boards import BAD, GOOD, board


@pytest.fixture(scope="module")
def tables(script):
    return script("tuned")


@pytest.fixture
def boards(tables, tmp_path):
    """Three aligners by default, and tuned: one mended, one spoiled, one left as it is."""
    seeds = range(5)
    board(tmp_path / "default", {"mended": BAD, "spoiled": GOOD, "kept": GOOD, "other": GOOD}, seeds)
    board(tmp_path / "tuned", {"mended": GOOD}, seeds, aligner_options={"beta": 0.25, "epochs": 2})
    board(tmp_path / "tuned", {"spoiled": BAD}, seeds, aligner_options={"beta": 2.0})
    default, moved = (load_rows(tmp_path / name) for name in ("default", "tuned"))
    tried = [SimpleNamespace(name=name) for name in ("mended", "spoiled", "kept")]
    return default, tables.with_kept(default, moved, SimpleNamespace(aligners=tried))


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_what_tuning_moved_is_marked(tables, boards):
    found = {line[0]: line for line in cells(tables.moved(*boards))}
    assert list(found)[-1] == "`spoiled`"
    assert found["`mended`"][3] == "`beta=0.25`, `epochs=2`" and found["`kept`"][3] == "the defaults"
    assert found["`mended`"][7].startswith("**+0.5") and found["`mended`"][7].endswith("**")
    assert found["`spoiled`"][7].startswith("*-0.5") and not found["`spoiled`"][7].startswith("**")
    assert found["`mended`"][6] == "0.5 to 0.5"
    assert (
        found["`kept`"][7] == "" and found["`kept`"][6] == "0.5" and found["`kept`"][4] == found["`kept`"][5]
    )
    assert found["`spoiled`"][2] == "3 [3, 3]" and found["`kept`"][2].endswith(" [1, 2]")


def test_a_family_is_ranked_among_itself(tables, boards):
    default, tuned = boards
    found = tables.order({"by default": default, "tuned": tuned}, {"mended", "spoiled"})
    assert [line[0] for line in cells(found)] == ["`mended`", "`spoiled`"]
    assert [line[1][:8] for line in cells(found)] == ["2 [2, 2]", "1 [1, 1]"]
    assert [line[2][:8] for line in cells(found)] == ["1 [1, 1]", "2 [2, 2]"]
