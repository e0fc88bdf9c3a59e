"""The published results: complete, and saying what docs/results.md says of them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefbench import registry
from prefbench.boards.csv_file import read_csv
from prefbench.boards.table import build
from prefbench.boards.verify import runs_in, verify_board
from prefbench.evaluate.texts import count_nonwords
from prefbench.record.evidence import read_evidence
from prefbench.record.files import find_records
from prefbench.sweep.file import read_sweep
from prefbench_tasks.synthetic_reviews import REVIEW_WORDS

RATIOS = [0.5, 0.3333, 0.1429, 0.0909]  # 1:1, 2:1, 6:1, 10:1
PUBLISHED = Path(__file__).parents[2] / "leaderboard"


@pytest.fixture(scope="module")
def board():
    frame = read_csv(PUBLISHED / "results.csv")
    return frame.set_index(["aligner", "minority_ratio"])


NOT_RUN = {"best_constant", "best_of_n", "gold_best_of_n", "tempered"}
"""Aligners that came after the board was made."""


@pytest.fixture(scope="module")
def aligners():
    """Every built-in aligner that runs on language models and is older than the board."""
    return {
        entry.name
        for entry in registry.entries("aligner")
        if "causal_lm" in entry.backbones and "prefbench_baselines" in entry.function.__module__
    } - NOT_RUN


def test_every_aligner_at_every_ratio_over_five_seeds(board, aligners):
    assert set(board.index) == {(aligner, ratio) for aligner in aligners for ratio in RATIOS}
    assert (board["status"] == "ok").all() and (board["n_seeds"] == 5).all()


def test_the_board_follows_from_the_published_records():
    frame = build(PUBLISHED / "results.zip")
    columns = [name for name in frame.columns if name != "version"]
    read = read_csv(PUBLISHED / "results.csv")
    key = ["aligner", "minority_ratio"]
    ours, theirs = (f.sort_values(key, ignore_index=True)[columns] for f in (frame, read))
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)


def test_no_win_rate_shows_words_that_are_none():
    """Shares of responses with one at 10:1 over five seeds, of policies and of the reference."""
    shares = {}
    for folder, record in find_records(PUBLISHED / "results.zip"):
        if record.minority_ratio == 0.0909:
            said = read_evidence(folder, columns=["response", "reference_response"])
            shares.setdefault(record.aligner, []).append(
                [
                    np.mean(np.array(count_nonwords(said[name].to_pylist(), REVIEW_WORDS)) > 0)
                    for name in said.column_names
                ]
            )
    found = {name: np.mean(rows, axis=0) for name, rows in shares.items()}
    counted = {
        "reference": 0.02,
        "maxmin": 0.015,
        "dpo": 0.16,
        "is_dpo": 0.29,
        "single_reward_balanced": 0.39,
        "em_dpo": 0.55,
    }
    for name, share in counted.items():
        assert found[name][0] == pytest.approx(share, abs=0.005)
        assert found[name][1] == pytest.approx(0.024, abs=0.001)
    assert found["constant"][0] == 0


@pytest.mark.slow
def test_every_published_record_holds_against_its_problem_and_the_others():
    found = verify_board(runs_in(PUBLISHED / "results.zip"))
    assert len(found) == 380
    assert [(run.folder.name, run.wrong, run.odd) for run in found if run.wrong or run.odd] == []
    assert not any(run.unchecked for run in found)


def test_the_published_sweep_is_the_board(aligners):
    cells = read_sweep(str(PUBLISHED / "sweep.toml")).expand()
    assert {(cell.aligner, cell.minority_ratio, cell.seed) for cell in cells} == {
        (aligner, ratio, seed) for aligner in aligners for ratio in RATIOS for seed in range(5)
    }
    assert len(runs_in(PUBLISHED / "results.zip")) == len(cells)


def test_a_single_reward_leaves_the_minority_the_more_the_smaller_it_is(board):
    rates = [board.loc[("single_reward", ratio), "minority_win_rate"] for ratio in RATIOS]
    assert all(later < earlier for earlier, later in pairwise(rates)), rates


@pytest.mark.parametrize("ratio", [0.1429, 0.0909])
def test_maxmin_is_better_for_the_worst_off_by_more_than_the_intervals(board, ratio):
    ours, single = board.loc[("maxmin", ratio)], board.loc[("single_reward", ratio)]
    assert ours["worst_group_win_rate_low"] > single["worst_group_win_rate_high"]


@pytest.mark.parametrize("ratio", RATIOS)
def test_gold_ppo_is_above_and_no_null_does_well(board, ratio):
    gold = board.loc[("gold_maxmin", ratio), "worst_group_win_rate"]
    for aligner in ("maxmin", "maxmin_known_groups", "single_reward", "dpo"):
        assert board.loc[(aligner, ratio), "worst_group_win_rate"] < gold
    for null in ("reference", "constant", "longest", "shortest"):
        assert board.loc[(null, ratio), "worst_group_win_rate"] < 0.52


# --- personas -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def personas():
    return read_csv(PUBLISHED / "personas.csv")


def test_the_persona_table_is_whole_for_every_task_that_it_has(personas, aligners):
    for _, rows in personas.groupby("task"):
        assert len(rows) == len(RATIOS) * len(aligners) and set(rows["aligner"]) == aligners
        assert (rows["status"] == "ok").all() and (rows["n_seeds"] == 5).all()
        assert rows["prompted_worst_group_win_rate"].notna().all()


def test_one_reward_leaves_the_minority_persona_behind_and_several_do_not(personas):
    style = personas[personas["task"] == "tulu_style@1"].set_index(["aligner", "minority_ratio"])
    minority = style["minority_win_rate"]["single_reward"].sort_index()
    assert minority.is_monotonic_increasing and minority.iloc[0] < 0.1  # T2: the smaller, the worse off
    for ratio in minority.index:  # T3
        assert style["worst_group_win_rate"]["maxmin", ratio] > minority[ratio]
    worst = style.xs(0.0909, level="minority_ratio")
    assert worst["worst_group_win_rate_low"]["maxmin"] > worst["worst_group_win_rate_high"]["single_reward"]


def test_opposite_personas_need_several_rewards_and_compatible_ones_do_not(personas):
    assert set(personas["task"]) == {
        f"tulu_{name}@1" for name in ("style", "expertise", "informativeness", "personas")
    }
    last = personas[personas["minority_ratio"] == 0.0909].set_index(["task", "aligner"])
    worst, low, high = (last[f"worst_group_win_rate{end}"] for end in ("", "_low", "_high"))
    for name in ("style", "expertise", "informativeness"):
        assert low[f"tulu_{name}@1", "maxmin"] > high[f"tulu_{name}@1", "single_reward"]
        assert low[f"tulu_{name}@1", "gold_maxmin"] > 0.5
    assert worst["tulu_personas@1", "single_reward"] > 0.8
