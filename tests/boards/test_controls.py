"""Rows of aligners that do not learn, the floor and the ceiling of every board."""

from prefbench import registry
from prefbench.boards.table import build, missing_controls
from support.records import make_run

GOOD = {"many": 0.8, "few": 0.75}


def test_a_board_without_floor_or_ceiling_is_named(tmp_path):
    make_run(tmp_path, GOOD, aligner="gold_maxmin", needs=("oracle",))
    make_run(tmp_path, GOOD, aligner="reference")
    make_run(tmp_path, GOOD, aligner="shortest", minority_ratio=0.1)
    make_run(tmp_path, GOOD, aligner="gold_maxmin", needs=("oracle",), minority_ratio=0.1, seed=1)
    make_run(tmp_path, GOOD, minority_ratio=0.3)
    assert missing_controls(build(tmp_path)) == [
        "toy@1 nano synthetic 0.3 has no complete floor (run --aligner reference) and no row "
        "that was told the true utilities (run --aligner gold_maxmin)",
        "toy@1 nano synthetic 0.1 has no complete floor (run --aligner reference) and no row "
        "that was told the true utilities (run --aligner gold_maxmin)",
    ]


def test_floors_and_ceilings_are_those_that_declare_it(tmp_path):
    """A stranger's as a built-in; of one that is not installed here what it was told decides."""

    def learner(view, backbone, options: registry.NoOptions):
        """Never called."""

    told = ("oracle",)
    with registry.lent():
        registry.aligner("their_floor", role="floor")(learner)
        registry.aligner("their_ceiling", role="ceiling")(learner)
        registry.aligner("their_learner", needs=told)(learner)
        make_run(tmp_path, GOOD, aligner="their_floor")
        make_run(tmp_path, GOOD, aligner="their_learner", needs=told)
        (said,) = missing_controls(build(tmp_path))
        assert "no complete row that was told the true utilities" in said and "floor" not in said
        make_run(tmp_path, GOOD, aligner="their_ceiling")
        assert missing_controls(build(tmp_path)) == []
    make_run(tmp_path, GOOD, aligner="reference")
    assert missing_controls(build(tmp_path)) == [], "an old record of somebody else's gold"
