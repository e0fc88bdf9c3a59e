"""Tables of persona groups: every contest a column, and differences corrected for all that stand there."""

import pytest

from prefbench.boards.rows import load_rows
from prefbench.record.schema import EmRecord
from support.boards import BAD, GOOD, board

THREE = [("many", 0.45, False), ("others", 0.45, False), ("few", 0.1, True)]


@pytest.fixture(scope="module")
def tables(script):
    return script("personas")


@pytest.fixture
def rows(tmp_path):
    """`fair` against `unfair` on two tasks at two ratios, and once among three groups."""
    seeds = range(4)
    board(tmp_path, {"fair": GOOD, "unfair": BAD}, seeds, task="style", minority_ratio=0.1)
    board(tmp_path, {"fair": BAD, "unfair": BAD}, seeds, task="style", minority_ratio=0.5)
    board(tmp_path, {"fair": BAD, "unfair": GOOD}, seeds, task="expertise", minority_ratio=0.1)
    for name, rates in {"fair": GOOD, "unfair": BAD}.items():
        three = {name: rates | {"others": 0.9}}
        options = {"task_options": {"minority": "few"}, "groups": THREE}
        board(tmp_path, three, seeds, task="style", minority_ratio=0.1, **options)
    return load_rows(tmp_path)


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_each_contest_is_a_column_where_the_minority_is_smallest(tables, rows):
    head, _, *lines = cells(tables.across(rows))
    assert head == ["aligner", "needs", "`expertise`", "`style`", "3 groups"]
    worst = {line[0]: [cell.partition(" ")[0] for cell in line[2:]] for line in lines}
    fair, unfair = (worst[f"`{name}`"] for name in ("fair", "unfair"))
    assert float(fair[1]) > 0.6 > float(unfair[1]) and fair[2] == fair[1]
    assert fair[0] == unfair[1] and unfair[0] == fair[1]


def test_differences_are_marked_by_their_direction(tables, rows):
    (line,) = cells(tables.versus(rows, [("fair", "unfair")]))[2:]
    assert line[:2] == ["`fair`", "`unfair`"]
    assert line[2].startswith("*-0.5") and line[3].startswith("**+0.5") and line[4].startswith("**+0.5")
    (same,) = cells(tables.versus(rows, [("fair", "fair")]))[2:]
    assert all(cell.startswith("+0.00 [-") for cell in same[2:])


def test_clusters_are_counted_by_seed(tables, rows):
    """Of records with EM; those of this board have none."""
    assert tables.clusters(rows, "fair") == ""
    found = [
        row.first.model_copy(update={"em": _em(index, share)})
        for row in rows[:1]
        for index, share in ((2, 1.0), (3, 0.5), (2, 0.9))
    ]
    row = type(rows[0])(**vars(rows[0]) | {"records": dict(enumerate(found))})
    (line,) = cells(tables.clusters([row], row.first.aligner))[2:]
    assert line[2:] == ["2 on 2, 3 on 1", "0.80", "0.50", "3"]


def _em(clusters, agreement):
    return EmRecord.model_construct(clusters=clusters, adjusted_rand_index=agreement)
