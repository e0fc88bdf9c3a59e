"""Every two policies head to head, from utilities beside the records."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from prefbench.boards.csv_file import write_csv
from prefbench.boards.matrix import duels_frame, head_to_head, matrix_heading, matrix_tables
from prefbench.boards.rows import load_rows
from prefbench.errors import UserError
from prefbench.record.evidence import read_items, write_items
from support.boards import BAD, GOOD, board
from support.records import make_run


def give(folder, **columns):
    """Write columns of a run's items anew."""
    write_items(read_items(folder).assign(**columns), folder)


def duel(found, group, first, second):
    (one,) = (d for d in found.duels if (d.group, d.first, d.second) == (group, first, second))
    return one


def test_a_duel_by_hand(tmp_path):
    """Four prompts: won, tied, lost, and both empty, which is a tie."""
    sides = {
        "a": ([3.0, 1.0, 0.0, 9.0], [False, False, False, True]),
        "b": ([2.0, 1.0, 5.0, 0.0], [False] * 3 + [True]),
    }
    for aligner, (utility, empty) in sides.items():
        folder = make_run(tmp_path, GOOD, aligner=aligner, n=4)
        give(folder, **{"utility/many": utility, "utility/few": utility, "empty": empty})
    found = head_to_head(load_rows(tmp_path))
    one = found.duels[0]
    assert {one.first, one.second} == {"a", "b"} and (one.wins, one.ties, one.losses) == (1, 2, 1)
    assert one.win_rate == 0.5 and one.p_value == 1 and found.n_prompts == 4


def test_an_empty_response_loses_to_one_that_says_something(tmp_path):
    silent = make_run(tmp_path, GOOD, aligner="silent", n=20)
    give(silent, empty=True)
    loud = make_run(tmp_path, GOOD, aligner="loud", n=20)
    give(loud, empty=False, **{"utility/many": -5.0})
    found = head_to_head(load_rows(tmp_path))
    assert duel(found, "many", "loud", "silent").win_rate == 1


def test_rates_are_means_over_runs_with_their_t_interval(tmp_path):
    rng = np.random.default_rng(0)
    share = {}
    for seed in range(4):
        ours, theirs = rng.normal(0.3, 1, 50), rng.normal(0, 1, 50)
        for aligner, utility in (("a", ours), ("b", theirs)):
            folder = make_run(tmp_path, GOOD, aligner=aligner, n=50, seed=seed)
            give(folder, empty=False, **{"utility/few": utility})
        share[seed] = (ours > theirs).mean()
    found = head_to_head(load_rows(tmp_path))
    one = next(d for d in found.duels if d.group == "few")
    runs = list(share.values()) if one.first == "a" else [1 - rate for rate in share.values()]
    assert one.win_rate == pytest.approx(np.mean(runs), abs=1e-6)
    expected = stats.ttest_1samp(runs, 0.5).confidence_interval(0.95)
    assert one.low < expected[0] < expected[1] < one.high  # and half a prompt of doubt in fifty
    assert (one.low, one.high) == pytest.approx(expected, abs=0.03)
    assert found.seeds == (0, 1, 2, 3) and found.n_prompts == 200


def test_all_of_a_board_or_those_that_are_named(tmp_path):
    board(tmp_path, {"good": GOOD, "bad": BAD, "third": GOOD}, n=40)
    make_run(tmp_path, GOOD, aligner="wild", n=40, status="diverged")
    found = head_to_head(load_rows(tmp_path))
    assert len(found.duels) == 3 * 2 and found.left_out == ("wild: diverged",)
    assert found.policies[-1] == "bad"  # from the best worst group down
    assert head_to_head(load_rows(tmp_path), ["good", "bad"]).policies == ("good", "bad")
    few = duel(head_to_head(load_rows(tmp_path), ["good", "bad"]), "few", "good", "bad")
    assert few.win_rate > 0.6 and few.wins + few.ties + few.losses == 120
    make_run(tmp_path, GOOD, aligner="late", n=40)
    fewer = head_to_head(load_rows(tmp_path))
    assert fewer.seeds == (0,) and fewer.left_out[1:] == ("seed 1, 2: late not run with it",)
    # Two that say the same tie on every prompt.
    same = next(d for d in found.duels if {d.first, d.second} == {"good", "third"})
    assert same.win_rate == 0.5 and same.ties == 120


def test_shown_written_and_plain(tmp_path):
    board(tmp_path, {"good": GOOD, "=bad": BAD}, n=200, seeds=range(5))
    found = head_to_head(load_rows(tmp_path))
    tables = matrix_tables(found)
    assert [title for title, *_ in tables] == ["many", "few"]
    _, header, rows = tables[1]
    assert header == ["", "policy", "1", "2"] and rows[0][2] == "" and rows[1][3] == ""
    ours, theirs = rows[0][3], rows[1][2]
    assert ours.endswith("*") and int(ours[:-1]) + int(theirs[:-1]) == 100
    assert "1,000 prompts" in matrix_heading(found)
    assert json.loads(json.dumps(found.to_dict()))["duels"][0]["group"] == "many"
    write_csv(duels_frame(found), tmp_path / "out" / "duels.csv")
    with (tmp_path / "out" / "duels.csv").open() as file:
        read = list(csv.DictReader(file))
    assert len(read) == len(found.duels) and read[0]["second"] == "'=bad"
    assert float(read[0]["win_rate"]) == found.duels[0].win_rate


def test_what_cannot_be_compared_is_refused_in_a_line(tmp_path):
    board(tmp_path / "two", {"good": GOOD, "bad": BAD}, seeds=(0,))
    board(tmp_path / "two", {"good": GOOD}, seeds=(0,), minority_ratio=0.1)
    board(tmp_path / "seeds", {"good": GOOD}, seeds=(0,))
    board(tmp_path / "seeds", {"bad": BAD}, seeds=(1,))
    make_run(tmp_path / "prompts", GOOD, aligner="good")
    make_run(tmp_path / "prompts", GOOD, aligner="bad", n=70)
    make_run(tmp_path / "samples", GOOD, aligner="good")
    make_run(tmp_path / "samples", GOOD, aligner="bad", samples=2)
    for folder, options, said in [
        ("two", {}, "are of 2 boards"),
        ("two", {"minority_ratio": 0.1}, "1 whole policy on that board"),
        ("two", {"minority_ratio": 0.3}, "none of these runs"),
        ("two", {"task": "other"}, "none of these runs"),
        ("two", {"names": ["goood"], "minority_ratio": 0.2}, "Did you mean 'good'"),
        ("seeds", {}, "no seed in common"),
        ("prompts", {}, "their prompts differ at seed 0"),
        ("samples", {}, "other numbers of samples"),
    ]:
        with pytest.raises(UserError, match=said) as caught:
            head_to_head(load_rows(tmp_path / folder), **options)
        assert "\n" not in str(caught.value)
