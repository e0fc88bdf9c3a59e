"""Scores by which tuning selects: who judges what, with what luck, and what each rule makes of it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from prefbench.evaluate.selection import asked, rule_of, scores_of_judgements, scores_of_values, won


def items(ours, theirs, empty=None) -> pd.DataFrame:
    """Items of one sample a prompt; utilities [prompts, 2] of groups a and b."""
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    table = {
        "prompt_id": np.arange(len(ours)),
        "sample": 0,
        "empty": [False] * len(ours) if empty is None else empty,
        "reference_words": 3,
    }
    for index, name in enumerate("ab"):
        table |= {f"utility/{name}": ours[:, index], f"reference_utility/{name}": theirs[:, index]}
    return pd.DataFrame(table)


GROUPS = {"a": 4, "b": 1}


def judgements(table, groups, temperature, each, rng) -> pd.DataFrame:
    """Judgements of what a plain policy says, noise being in standard deviations of a group's utility."""
    wanted, names = asked(len(table), list(groups.values()), each, rng), list(groups)
    ours, theirs = (
        table[[f"{side}/{n}" for n in names]].to_numpy() for side in ("utility", "reference_utility")
    )
    place, rows = (wanted.item, wanted.group), table.iloc[wanted.item]
    empty, silent = rows["empty"].to_numpy(dtype=bool), (rows["reference_words"] == 0).to_numpy()
    chosen = won(wanted, ours[place], theirs[place], empty, silent, temperature * theirs.std(axis=0))
    return (
        rows[["prompt_id", "sample"]]
        .assign(user_id=wanted.user, group=[names[g] for g in wanted.group], won=chosen)
        .reset_index(drop=True)
    )


def test_without_noise_each_annotator_says_what_her_group_wants():
    # Group a prefers ours on three of four prompts, b on one.
    table = items([[1, 0], [1, 0], [1, 1], [0, 0]], [[0, 1], [0.5, 1], [0, 0], [1, 1]])
    judged = judgements(table, GROUPS, 0.0, 10, np.random.default_rng(0))
    assert len(judged) == 5 * 4  # nobody judges a comparison twice
    assert judged.groupby("group")["won"].mean().to_dict() == {"a": 0.75, "b": 0.25}
    scores = scores_of_judgements(judged, 0.2)
    assert scores == {"S0": 0.65, "S1": 0.25, "S2": 0.25, "S3": 0.2}


def test_the_worst_fifth_is_rounded_up():
    judged = pd.DataFrame(
        {"user_id": range(6), "group": list("aaaabb"), "won": [1.0, 0.9, 0.8, 0.7, 0.2, 0.4]}
    )
    assert scores_of_judgements(judged, 0.5)["S1"] == pytest.approx((0.2 + 0.4) / 2)
    assert scores_of_judgements(judged, 0.5)["S2"] == pytest.approx(0.3)


@given(st.integers(2, 30), st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(0, 5))
def test_work_is_shared_out_evenly(prompts, each, many, few, seed):
    rng = np.random.default_rng(seed)
    table = items(rng.normal(size=(prompts, 2)), rng.normal(size=(prompts, 2)))
    judged = judgements(table, {"a": many, "b": few}, 0.5, each, np.random.default_rng(seed))
    assert set(judged.groupby("user_id").size()) == {min(each, prompts)}
    often = judged.groupby("prompt_id").size().reindex(range(prompts), fill_value=0)
    assert often.max() - often.min() <= 1
    assert judged.groupby("user_id")["group"].nunique().max() == 1
    assert judged.groupby("group")["user_id"].nunique().to_dict() == {"a": many, "b": few}
    assert not judged.duplicated(["user_id", "prompt_id"]).any()


def test_the_chance_to_win_is_the_tasks_own():
    theirs = np.tile([[0.0, 0.0], [2.0, 4.0]], (2000, 1))  # spread 1 and 2
    ours = theirs + np.array([0.5, -1.0])
    judged = judgements(items(ours, theirs), {"a": 20, "b": 20}, 0.5, 4000, np.random.default_rng(0))
    won = judged.groupby("group")["won"].mean()
    assert won["a"] == pytest.approx(expit(0.5 / (0.5 * 1)), abs=0.005)
    assert won["b"] == pytest.approx(expit(-1.0 / (0.5 * 2)), abs=0.005)


def test_an_empty_response_loses_however_good_it_is():
    table = items([[9, 9], [9, 9]], [[0, 0], [1, 1]], empty=[True, False])
    judged = judgements(table, GROUPS, 0.0, 2, np.random.default_rng(0))
    assert judged.groupby("prompt_id")["won"].mean().tolist() == [0.0, 1.0]
    table["reference_words"] = 0
    table["utility/a"] = -9.0
    judged = judgements(table, GROUPS, 0.0, 2, np.random.default_rng(0))
    assert judged.groupby("prompt_id")["won"].mean().tolist() == [
        0.0,
        1.0,
    ]  # and to say something beats silence


def test_two_policies_are_judged_by_the_same_people_in_the_same_mood():
    rng = np.random.default_rng(1)
    theirs = rng.normal(size=(50, 2))
    worse, better = (
        judgements(items(theirs + by, theirs), GROUPS, 1.0, 20, np.random.default_rng(3)) for by in (0.0, 0.4)
    )
    same = ["prompt_id", "sample", "user_id", "group"]
    assert worse[same].equals(better[same])
    assert (better["won"] >= worse["won"]).all() and better["won"].sum() > worse["won"].sum()


def test_values_of_worlds_are_weighed_as_the_rules_may():
    values = np.array([0.5, -0.1])
    found = scores_of_values(values, np.repeat(values, [8, 2]), [8, 2], 0.3)
    assert found == pytest.approx({"S0": 0.38, "S1": -0.1, "S2": -0.1, "S3": -0.3})
    assert scores_of_values(values, np.repeat(values, [9, 1]), [9, 1], 0.3)["S1"] == pytest.approx(
        (0.5 - 0.1) / 2
    )


def test_people_of_one_group_may_be_given_different_values():
    each = np.array([0.9, 0.1, -0.4, 0.6, 0.2])
    found = scores_of_values(np.array([0.3, 0.2]), each, [4, 1], -0.05)
    assert found == pytest.approx({"S0": (4 * 0.3 + 0.2) / 5, "S1": -0.4, "S2": 0.2, "S3": 0.05})


def test_the_rule_is_the_best_that_the_needs_allow():
    needs = [(), ("user_id",), ("group",), ("group", "user_id"), ("oracle",), ("oracle", "group")]
    assert [rule_of(each) for each in needs] == ["S0", "S1", "S2", "S2", "S3", "S3"]
