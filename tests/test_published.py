"""The published results: complete, and saying what docs/results.md says of them."""

from itertools import pairwise
from pathlib import Path

import pytest

from prefbench import registry
from prefbench.report.leaderboard import read_csv

RATIOS = [0.5, 0.3333, 0.1429, 0.0909]  # 1:1, 2:1, 6:1, 10:1


@pytest.fixture(scope="module")
def board():
    frame = read_csv(Path(__file__).parents[1] / "leaderboard" / "results.csv")
    return frame.set_index(["aligner", "minority_ratio"])


ALIGNERS = (
    "constant dpo gold_maxmin gold_utilitarian longest maxmin maxmin_known_groups reference shortest "
    "single_reward single_reward_balanced"
).split()


def test_every_aligner_of_the_board_at_every_ratio_over_five_seeds(board):
    assert set(ALIGNERS) <= {entry.name for entry in registry.entries("aligner")}
    assert set(board.index) == {(aligner, ratio) for aligner in ALIGNERS for ratio in RATIOS}
    assert (board["status"] == "ok").all() and (board["n_seeds"] == 5).all()


def test_a_single_reward_leaves_the_minority_the_more_the_smaller_it_is(board):
    rates = [board.loc[("single_reward", ratio), "minority_win_rate"] for ratio in RATIOS]
    assert all(later < earlier for earlier, later in pairwise(rates)), rates


@pytest.mark.parametrize("ratio", [0.1429, 0.0909])
def test_maxmin_is_better_for_the_worst_off_by_more_than_the_intervals(board, ratio):
    ours, single = board.loc[("maxmin", ratio)], board.loc[("single_reward", ratio)]
    assert ours["worst_group_win_rate_low"] > single["worst_group_win_rate_high"]


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_ceiling_bounds_it_and_no_null_does_well(board, ratio):
    ceiling = board.loc[("gold_maxmin", ratio), "worst_group_win_rate"]
    for aligner in ("maxmin", "maxmin_known_groups", "single_reward", "dpo"):
        assert board.loc[(aligner, ratio), "worst_group_win_rate"] < ceiling
    for null in ("reference", "constant", "longest", "shortest"):
        assert board.loc[(null, ratio), "worst_group_win_rate"] < 0.52
