"""The published boards of reviews: complete, and saying what docs/results.md says of them."""

import numpy as np
import pytest

from prefbench import registry
from prefbench.boards.compare import Side, compare_rows, matched
from prefbench.boards.csv_file import read_csv
from prefbench.boards.ranks import roles
from prefbench.boards.rows import load_rows
from prefbench.stats.runs import interval_of, two_sided_p
from support.published import PUBLISHED, cells_of, change, check_table, runs_of

REVIEWS = PUBLISHED / "reviews"
RATIOS = {"1-1": 0.5, "2-1": 0.3333, "6-1": 0.1429, "10-1": 0.0909}
NOT_TOLD = {("dpo", 0.5), ("single_reward", 0.5)}
"""Where maxmin is not told from whom."""
VOTED = {"crowd_pref", "ordinal", "ordinal_dpo"}
"""Aligners that need several labels of a pair, or are another one without."""


@pytest.fixture(scope="module")
def rows():
    """The published rows by aligner and ratio, of pairs with one label."""
    found = [row for name in RATIOS for row in load_rows(REVIEWS / f"{name}.zip")]
    return {
        (row.first.aligner, row.first.minority_ratio): row
        for row in found
        if row.first.spec["task_options"].get("labels_per_pair", 1) == 1
    }


@pytest.fixture(scope="module")
def learned():
    """Every built-in aligner that runs on language models and gives one policy to everybody."""
    registry.load_plugins()
    return {
        entry.name
        for entry in registry.entries("aligner")
        if "causal_lm" in entry.backbones
        and "prefbench_baselines" in entry.function.__module__
        and not entry.sees
    }


def test_every_aligner_over_ten_seeds_where_the_minority_is_smallest(learned):
    board = read_csv(REVIEWS / "10-1.csv")
    assert set(board["aligner"]) == learned
    assert (board["n_seeds"] == 10).all() and (board["status"] == "ok").all()
    votes = board["variant"].str.contains("labels_per_pair")
    assert set(board.loc[~votes, "aligner"]) == learned - VOTED


def test_every_run_is_a_cell_of_the_sweep():
    registry.load_plugins()
    cells = cells_of("reviews.toml")
    for name in RATIOS:
        runs = runs_of(f"reviews/{name}.zip")
        assert runs and runs <= cells


@pytest.mark.parametrize("name", RATIOS)
def test_a_board_follows_from_its_records(name):
    check_table(f"reviews/{name}.zip")


@pytest.fixture(scope="module")
def compared(rows):
    """The project's own comparison of two rows' worst groups."""

    def by_name(first, second, ratio=0.0909):
        found = compare_rows(matched(*(Side(name, [rows[name, ratio]]) for name in (first, second))))
        return next(m for m in found.measures if m.measure == "worst_group_win_rate")

    return by_name


@pytest.mark.parametrize(
    ("aligner", "figure"),
    [("single_reward", "reward_accuracy"), ("single_reward", "win_rate"), ("dpo", "win_rate")],
)
def test_the_majority_gains_and_the_minority_loses_as_it_gets_smaller(rows, aligner, figure):
    """T1 and T2 of docs/results.md."""
    ends = [rows[aligner, RATIOS[name]] for name in ("10-1", "1-1")]
    lost, gained = (change(*ends, figure, is_minority) for is_minority in (True, False))
    assert interval_of(lost, -1.0, 1.0).high < 0 < interval_of(gained, -1.0, 1.0).low
    assert max(two_sided_p(lost), two_sided_p(gained)) < 0.05


def test_the_reward_of_everybody_still_orders_half_of_the_minoritys_pairs(rows):
    for ratio in RATIOS.values():
        of = [
            next(g.reward_accuracy for g in record.groups if g.is_minority)
            for record in rows["single_reward", ratio].records.values()
        ]
        assert np.mean(of) > 0.5


@pytest.mark.parametrize("ratio", RATIOS.values())
@pytest.mark.parametrize("other", ["dpo", "single_reward"])
def test_maxmin_is_better_for_the_worst_off(compared, other, ratio):
    """T3 of docs/results.md."""
    found = compared("maxmin", other, ratio)
    assert (found.p_value < 0.05 and found.difference > 0.1) == ((other, ratio) not in NOT_TOLD)


def test_the_majority_pays_for_it(rows):
    sides = (Side(name, [rows[name, 0.0909]]) for name in ("maxmin", "single_reward"))
    found = {each.measure: each for each in compare_rows(matched(*sides)).measures}["group/sentiment"]
    assert found.high < 0 and found.p_value < 0.05 and found.first > 0.7


@pytest.mark.parametrize(
    ("inferred", "known"), [("maxmin", "maxmin_known_groups"), ("rmod", "rmod_known_groups")]
)
def test_what_inferring_the_groups_costs_is_not_told_from_nothing(compared, inferred, known):
    assert compared(inferred, known).p_value > 0.05


@pytest.mark.parametrize("name", ["single_reward", "dpo"])
def test_following_everybodys_labels_is_worse_for_the_worst_off_than_not_to_align(compared, name):
    found = compared(name, "reference")
    assert found.high < 0 and found.p_value < 0.05


def test_balance_is_not_enough(compared):
    found = compared("maxmin", "single_reward_balanced")
    assert found.low > 0 and found.p_value < 0.05


def test_the_best_ten_know_who_labelled(rows):
    role = roles(rows.values())
    board = read_csv(REVIEWS / "10-1.csv")
    learners = board[(board["role"] == "learner") & ~board["variant"].str.contains("labels_per_pair")]
    best = learners.sort_values("rank").head(10)
    assert (best["needs"] != "nothing").all()
    assert learners.sort_values("rank")["aligner"].iloc[-1] == "dpo" and role["dpo"] == "learner"


def test_one_word_is_above_every_learner_and_no_other_floor_is_above_one_half():
    board = read_csv(REVIEWS / "10-1.csv").set_index("aligner")
    worst = board["worst_group_win_rate"]
    assert worst["best_constant"] > worst[board["role"] == "learner"].max()
    for name in ("reference", "tempered", "constant", "shortest", "longest"):
        assert np.max(worst[name]) < 0.52


def test_several_labels_of_a_pair_help_nobody_but_maxmin():
    """The board's own sets: maxmin is first, and the others are not told apart."""
    board = read_csv(REVIEWS / "10-1.csv")
    votes = board[board["variant"].str.contains("labels_per_pair") & (board["role"] == "learner")]
    votes = votes.set_index("aligner")
    assert tuple(votes.loc["maxmin", ["rank_low", "rank_high"]]) == (1, 1)
    others = votes.drop("maxmin")
    assert (others["rank_low"] <= 3).all() and (others["rank_high"] >= 5).all()
    assert (others["worst_group_win_rate"] < 0.3).all()
