"""Real reviews: the published runs, and what docs/results.md says of them."""

import numpy as np
import pytest

from prefbench.boards.compare import Side, compare_rows, matched
from support.published import by_aligner, cells_of, check_table, mean_worst, runs_of

WORST = "worst_group_win_rate"


@pytest.fixture(scope="module")
def rows():
    return by_aligner("movie-reviews.zip")


@pytest.fixture(scope="module")
def differs(rows):
    """The difference of the worst groups of two aligners, by the project's own comparison."""

    def of(first, second):
        match = compare_rows(matched(*(Side(name, [rows[name]]) for name in (first, second))))
        return next(measure for measure in match.measures if measure.measure == WORST)

    return of


def test_every_cell_of_the_sweep_was_run_once(rows):
    assert runs_of("movie-reviews.zip") == cells_of("movie-reviews.toml")
    assert all(len(row.records) == 10 and row.status == "ok" for row in rows.values())


def test_the_table_follows_from_the_records():
    check_table("movie-reviews.zip")


@pytest.mark.parametrize("other", ["dpo", "reference"])
def test_maxmin_is_better_for_the_worst_off(differs, other):
    found = differs("maxmin", other)
    assert found.difference > 0 and found.p_value < 0.05


def test_dpo_is_worse_than_not_to_align(differs):
    found = differs("dpo", "reference")
    assert found.difference < 0 and found.p_value < 0.001


@pytest.mark.parametrize("other", ["single_reward", "maxmin_known_groups"])
def test_what_ten_seeds_do_not_tell(differs, other):
    assert 0.05 < differs("maxmin", other).p_value < 0.1


def test_the_groups_are_not_found_on_every_seed(rows):
    found = sorted(record.em.adjusted_rand_index for record in rows["maxmin"].records.values())
    assert found[1] < 0.25 and found[-3:] == [1, 1, 1] and 0.7 < np.mean(found) < 0.75


def test_a_constant_answer_is_above_everybody(rows):
    best = mean_worst(rows["best_constant"])
    assert best > 0.9 and all(mean_worst(row) < 0.75 for name, row in rows.items() if name != "best_constant")
