"""Policies for each person on reviews: the published runs, and what docs/personal.md says of them."""

import pytest

from prefbench import registry
from prefbench.boards.people_file import read_people
from support.published import PUBLISHED, cells_of, check_table, runs_of

NEVER = ("em_personal", "user_regression", "popl", "pebs", "p_dpo")
READ_PAIRS = ("low_rank", "vpl", "em_personal", "user_regression")


@pytest.fixture(scope="module")
def people():
    """Rows of the board by aligner, knowledge and context."""
    registry.load_plugins()
    frame = read_people(PUBLISHED / "people-people.csv")
    known = frame["n"].astype(object).where(frame["n"].notna(), "seen")
    return frame.assign(known=known).set_index(["aligner", "known", "context"]).sort_index()


def test_every_cell_of_the_sweep_was_run_once(people):
    assert runs_of("people.zip") == cells_of("people.toml")
    assert (people["n_seeds"] == 10).all()


def test_the_table_follows_from_the_records(people):
    check_table("people.zip")


def worst(people, aligner, known):
    return people.loc[(aligner, known, "own"), "worst_group_win_rate"]


def surely_more(people, aligner, known):
    row = people.loc[(aligner, known, "own")]
    return row["minus_single"] > 0 and row["minus_single_p"] < 0.05


def test_the_best_single_policy_is_maxmin_and_knowing_the_wish_is_worth_more(people):
    assert set(people["single"]) - {""} == {"maxmin"}
    row = people.loc[("gold_personal", 8, "own")]
    assert 0.04 < row["minus_single_low"] < row["minus_single"] < 0.11


def test_to_be_told_the_group_is_worth_it(people):
    assert surely_more(people, "known_groups_personal", 1)
    assert worst(people, "known_groups_personal", 0) < 0.5


def test_eight_pairs_are_not_surely_enough_and_fifty_labels_are_for_one(people):
    for name in (*READ_PAIRS, "popl", "pebs", "p_dpo"):
        assert not any(surely_more(people, name, n) for n in (0, 1, 2, 4, 8))
        assert surely_more(people, name, "seen") == (name == "low_rank")
        beaten = people.loc[(name, 8, "own"), "beats_single_from"]
        assert beaten == ("never" if name in NEVER else "cannot tell")


def test_of_whom_nothing_is_known_maxmin_serves_best(people):
    told = people[(people["sees"] != "nothing") & (people.index.get_level_values("known") == 0)]
    assert told["worst_group_win_rate"].max() < 0.675 < 0.74 < worst(people, "maxmin", 0)


@pytest.mark.parametrize("name", (*READ_PAIRS, "pebs"))
def test_controls(people, name):
    for control in ("shuffled", "other group"):
        row = people.loc[(name, 8, control)]
        assert row["control"] == ("fails" if name == "pebs" else "passes")
        assert name == "pebs" or row["own_minus"] > 0.05
    assert abs(people.loc[(name, 8, "other person"), "own_minus"]) < 0.02


@pytest.mark.parametrize("known", ["seen", 8])
def test_the_worst_off_tenth_gains(people, known):
    won, before = (people.loc[(name, known, "own"), "worst_tenth"] for name in ("low_rank", "maxmin"))
    assert won > before + 0.03
