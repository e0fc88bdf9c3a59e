"""Reviews with tuned options: complete, and saying what docs/results.md says of them."""

import numpy as np
import pytest

from prefbench.boards.ranks import compare, ranked, roles
from prefbench.boards.rows import load_rows
from prefbench.stats.comparisons import holm
from prefbench.stats.runs import two_sided_p
from prefbench.sweep.tuned import read_tuned
from support.pages import ROOT
from support.published import PUBLISHED, by_aligner, cells_of, check_table, runs_of

WORST = "worst_group_win_rate"


@pytest.fixture(scope="module")
def moved():
    return by_aligner("reviews-tuned.zip")


@pytest.fixture(scope="module")
def default():
    rows = load_rows(PUBLISHED / "reviews" / "10-1.zip")
    return {
        row.first.aligner: row
        for row in rows
        if row.first.spec["task_options"].get("labels_per_pair", 1) == 1
    }


@pytest.fixture(scope="module")
def tuned():
    return {each.name: each for each in read_tuned(PUBLISHED / "reviews.tuned.json").aligners}


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


def test_the_sweep_has_those_whose_options_tuning_moved(moved, tuned):
    assert set(moved) == {name for name, each in tuned.items() if each.chosen[each.rule] != 0}


def test_the_table_follows_from_the_records():
    check_table("reviews-tuned.zip")


def surely(changes):
    """Of changes, by Holm: 1 where it is surely more, -1 where surely less, 0 where it is not told."""
    p = holm([two_sided_p(change) for change in changes.values()])
    return {
        name: 0 if each >= 0.05 else 1 if change.estimate > 0 else -1
        for (name, change), each in zip(changes.items(), p, strict=True)
    }


def test_tuning_is_better_for_the_worst_off_of_who_may_know_the_groups(default, moved):
    found = surely({name: compare(row, default[name], WORST)[0] for name, row in moved.items()})
    assert {name for name, told in found.items() if told == 1} == {
        *("can", "modpo", "pecan", "gr_dpo", "gr_ipo", "maxmin", "maxmin_known_groups", "mpo", "rmod")
    }
    assert {name for name, told in found.items() if told == -1} == {"welfare"}


def test_what_knows_nothing_is_tuned_away_from_the_worst_off(default, moved, tuned):
    """By estimate, all but `dpl`."""
    blind = {name for name in moved if tuned[name].rule == "S0"}
    found = {name: compare(moved[name], default[name], WORST)[0].estimate for name in blind}
    assert {name for name, change in found.items() if change > 0} == {"dpl"} and len(blind) == 6


def test_a_rule_that_sees_everybodys_labels_chose_a_policy_far_from_the_reference(moved, tuned):
    """`mean_variance_kl`, at 111 nats on a dev seed and 44 on the mean test seed."""
    mine = tuned["mean_variance_kl"]
    assert max(trial.kl for trial in mine.tried[mine.chosen[mine.rule]].trials) > 100
    assert np.mean([record.kl for record in moved["mean_variance_kl"].records.values()]) > 40


def test_a_rule_of_annotators_chose_against_the_worst_group(tuned):
    """What `welfare`'s rule saw of two weights of clusters, and what the worst group had."""
    seen = {
        configuration.options["weights"]: {
            rule: round(sum(trial.scores[rule] for trial in configuration.trials) / 3, 2)
            for rule in ("S1", "S2")
        }
        for configuration in tuned["welfare"].tried
        if len(configuration.trials) == 3
    }
    assert seen == {"shares": {"S1": 0.75, "S2": 0.67}, "equal": {"S1": 0.72, "S2": 0.73}}


def test_more_candidates_and_not_the_groups_part_rmod_from_what_knows_them(default, moved, tuned):
    change = compare(moved["rmod"], default["rmod_known_groups"], WORST)[0]
    assert change.estimate > 0.1 and two_sided_p(change) < 0.001
    drawn = {
        name: {configuration.options.get("candidates") for configuration in tuned[name].tried}
        for name in ("rmod", "rmod_known_groups")
    }
    assert 64 in drawn["rmod"] and 64 not in drawn["rmod_known_groups"]


def test_what_knows_who_labelled_is_better_than_one_reward(moved):
    """T3 with tuned options."""
    found = {
        name: compare(moved["maxmin"], moved[name], WORST)[0]
        for name in ("single_reward", "single_reward_balanced", "maxmin_known_groups")
    }
    assert found["single_reward"].estimate > 0.6 and surely(found) == {
        "single_reward": 1,
        "single_reward_balanced": 1,
        "maxmin_known_groups": 0,
    }


def test_ten_may_be_first_after_tuning(default, moved, tuned):
    rows = [(default | moved)[name] for name in tuned]
    found = {row.first.aligner: rank for row, rank in ranked(rows, roles(rows))}
    assert found["maxmin"].rank == 1
    first = {name for name, rank in found.items() if rank.low == 1}
    assert first == {
        "maxmin",
        "maxmin_known_groups",
        "shared_rep",
        "mpo",
        "pessimistic_median",
        "rmod",
        "can",
        "soups",
        "dpl",
        "sign_estimator",
    }


def test_the_order_by_default_is_not_the_order_after_tuning(places):
    before, after = places
    assert min(before[name].low for name in ("modpo", "pecan", "gr_dpo", "dpo")) >= 8
    assert (after["modpo"].low, after["modpo"].high) == (2, 2)
    assert max(after[name].high for name in ("pecan", "gr_dpo")) <= 8
    assert (after["ipo"].low, after["dpo"].low) == (10, 11)


@pytest.mark.parametrize("name", ["gr_dpo", "gr_ipo"])
def test_two_were_tuned_into_doing_nothing(moved, name):
    assert all(record.kl < 0.1 for record in moved[name].records.values())


def test_tuned_options_beside_not_aligning(default, moved):
    """docs/which-aligner.md."""
    changes = {name: compare(row, default["reference"], WORST)[0] for name, row in moved.items()}
    found = surely(changes)
    better = ("can", "modpo", "single_reward_balanced", "is_dpo", "maxmin", "rmod", "soups")
    assert all(found[name] == 1 for name in better) and found["mean_variance_kl"] == 0
    assert found["single_reward"] == found["population_proportional"] == -1
    assert all(abs(changes[name].estimate) < 0.005 for name in ("gr_dpo", "gr_ipo"))
