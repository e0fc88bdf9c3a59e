"""Runs on the finite backbone: what does not fit together is refused, any number of groups is not."""

import pytest

from prefbench import registry
from prefbench.errors import UserError
from prefbench.running.run import run
from prefbench.spec import make_spec


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "bandit_two_group", "model": "nano"}, "does not fit task"),
        ({"task": "imdb_two_group", "model": "finite"}, "does not fit task"),
        ({"task": "bandit_two_group", "aligner": "constant"}, "does not apply"),
        ({"task": "imdb_two_group", "aligner": "preference_matching"}, "does not apply"),
    ],
)
def test_what_does_not_fit_together_is_refused_before_anything_is_written(given, message, tmp_path):
    with pytest.raises(UserError, match=message):
        make_spec(**({"aligner": "dpo"} | given))


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("bandit_two_group", {"actions": "1"}, "leaves nothing to choose"),
        ("bandit_two_group", {"beta": "0"}, "positive KL weight"),
        ("bandit_two_group", {"beta": "-1"}, "positive KL weight"),
        ("bandit_k_group", {"diversity": "1e-12"}, "want the same"),
        ("bandit_k_group", {"groups": "6"}, "more than an equal share"),
        ("bandit_k_group", {"groups": "2", "shares": "1.0,0.0"}, "not 2 positive shares"),
        ("bandit_k_group", {"groups": "3", "shares": "0.5,0.5"}, "not 3 positive shares"),
        ("bandit_k_group", {"groups": "3", "dimensions": "2"}, "need 3 or more"),
        ("worst_case_two_group", {"beta": "0"}, "positive KL weight"),
    ],
)
def test_degenerate_tasks_are_refused(task, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run(make_spec(task=task, aligner="reference", sets={"task": options}), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("aligner", ["maxmin", "em_dpo", "welfare"])
def test_more_clusters_than_annotators_are_refused(aligner, tmp_path):
    with pytest.raises(UserError, match="clusters are more than the 20 annotators"):
        run(
            make_spec(task="bandit_two_group", aligner=aligner, sets={"aligner": {"clusters": "21"}}),
            tmp_path,
        )


def test_a_run_without_kl_charge_is_refused(tmp_path):
    with pytest.raises(UserError, match="kl_coefficient"):
        run(
            make_spec(
                task="bandit_two_group", aligner="single_reward", sets={"aligner": {"kl_coefficient": "0"}}
            ),
            tmp_path,
        )


def test_computed_worlds_take_no_data(tmp_path):
    for entry in registry.entries("task"):
        if entry.backbone == "finite" and entry.own_data and entry.name != "response_pool":
            with pytest.raises(UserError, match="leave --data at synthetic"):
                run(make_spec(task=entry.name, aligner="reference", data="reviews.csv"), tmp_path)


def test_any_number_of_groups_needs_no_code(tmp_path):
    sets = {"task": {"groups": "5", "shares": "0.3,0.25,0.2,0.15,0.1"}, "aligner": {"clusters": "5"}}
    _, record = run(make_spec(task="bandit_k_group", aligner="maxmin", sets=sets), tmp_path)
    assert [round(group.share, 2) for group in record.groups] == [0.3, 0.25, 0.2, 0.15, 0.1]
    assert record.groups[4].is_minority and len(record.regret.groups) == 5
