"""Reviews with tuned options: complete, and saying what docs/results.md says of them."""

import pytest

from prefbench import registry
from prefbench.boards.ranks import compare, ranked, roles
from prefbench.boards.rows import load_rows
from prefbench.stats.comparisons import holm
from prefbench.stats.runs import two_sided_p
from prefbench.sweep.tuned import read_tuned
from support.pages import ROOT
from support.published import PUBLISHED, cells_of, check_table, runs_of

WORST = "worst_group_win_rate"


@pytest.fixture(scope="module")
def moved():
    registry.load_plugins()
    return {row.first.aligner: row for row in load_rows(PUBLISHED / "reviews-tuned.zip")}


@pytest.fixture(scope="module")
def default():
    rows = load_rows(PUBLISHED / "reviews" / "10-1.zip")
    return {
        row.first.aligner: row
        for row in rows
        if row.first.spec["task_options"].get("labels_per_pair", 1) == 1
    }


@pytest.fixture(scope="module")
def places(default, moved, script):
    """Ranks of the family of docs/results.md among itself, by default and tuned."""
    family = script("tables").DPO_FAMILY

    def of(rows):
        mine = [rows[name] for name in family]
        return {row.first.aligner: rank for row, rank in ranked(mine, roles(mine))}

    return of(default), of(default | moved)


def test_every_run_is_a_cell_of_the_sweep(monkeypatch, moved):
    monkeypatch.chdir(ROOT)
    assert runs_of("reviews-tuned.zip") == cells_of("reviews-tuned.toml")
    assert all(len(row.records) == 10 and row.status == "ok" for row in moved.values())


def test_the_sweep_has_those_whose_options_tuning_moved(moved):
    tuned = read_tuned(PUBLISHED / "reviews.tuned.json")
    assert set(moved) == {each.name for each in tuned.aligners if each.chosen[each.rule] != 0}


def test_the_table_follows_from_the_records():
    check_table("reviews-tuned.zip")


def test_all_that_tuning_moved_is_better_for_the_worst_off(default, moved):
    changes = [compare(row, default[name], WORST)[0] for name, row in moved.items()]
    assert all(change.estimate > 0 for change in changes)
    assert (holm([two_sided_p(change) for change in changes]) < 0.05).all()


def test_the_order_by_default_is_not_the_order_after_tuning(places):
    before, after = places
    assert min(before[name].low for name in ("modpo", "pecan", "gr_dpo", "dpo")) >= 8
    assert (after["modpo"].low, after["modpo"].high) == (2, 2)
    assert max(after[name].high for name in ("pecan", "gr_dpo")) <= 8
    assert (after["ipo"].low, after["dpo"].low) == (10, 11)


@pytest.mark.parametrize("name", ["gr_dpo", "gr_ipo"])
def test_two_were_tuned_into_doing_nothing(moved, name):
    assert all(record.kl < 0.1 for record in moved[name].records.values())


def test_mpo_and_bfpo_are_above_all_others_and_not_told_apart(default, moved):
    names = {each.name for each in read_tuned(PUBLISHED / "reviews.tuned.json").aligners}
    rows = [(default | moved)[name] for name in names]
    found = {row.first.aligner: rank for row, rank in ranked(rows, roles(rows))}
    assert all((found[name].low, found[name].high) == (1, 2) for name in ("mpo", "bfpo"))
    assert min(rank.low for name, rank in found.items() if name not in ("mpo", "bfpo")) == 3


def test_tuned_two_are_better_than_not_aligning_and_two_are_not_told_from_it(default, moved):
    """docs/which-aligner.md."""
    changes = {name: compare(row, default["reference"], WORST)[0] for name, row in moved.items()}
    p = dict(zip(changes, holm([two_sided_p(change) for change in changes.values()]), strict=True))
    assert all(changes[name].estimate > 0.03 and p[name] < 0.05 for name in ("modpo", "is_dpo"))
    assert all(abs(changes[name].estimate) < 0.005 for name in ("gr_dpo", "gr_ipo"))
