"""Weighted votes: trust from agreement, labels by hand, what becomes of a minority, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from prefbench.errors import UserError
from prefbench.learn.crowd import Votes, merged, trust
from prefbench.learn.interface import Pairs
from prefbench.learn.rewards import pairs_of
from prefbench.problem.view import make_view, pair_numbers
from prefbench.spec import make_spec
from support.people import aligned, people_bench, worth

RIGHT = np.array([0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.2])
"""How often each of seven people is right."""


def crowd(pairs: int = 10_000, seen: float = 1.0, seed: int = 0) -> tuple[Pairs, np.ndarray]:
    """Labels of pairs whose better response is called good, and the number of each one's pair."""
    rng = np.random.default_rng(seed)
    number, user = (each.ravel() for each in np.indices((pairs, len(RIGHT))))
    kept = rng.random(len(user)) < seen
    number, user = number[kept], user[kept]
    right = rng.random(len(user)) < RIGHT[user]
    first = np.where(right, "good", "bad").astype(object)
    other = np.where(right, "bad", "good").astype(object)
    order = rng.permutation(len(user))  # whose label stands first means nothing
    prompts = [f"p{i}" for i in number[order]]
    return Pairs(prompts, first[order].tolist(), other[order].tolist(), user[order]), number[order]


def accuracy(labels: Pairs) -> float:
    return float((np.asarray(labels.chosen) == "good").mean())


@pytest.mark.parametrize("seen", [1.0, 0.4])
def test_trust_is_found_without_an_answer_and_beats_the_majority(seen):
    pairs, number = crowd(seen=seen)
    votes = Votes.of(pairs, number, np.arange(7))
    found = trust(votes)
    assert found == pytest.approx(2 * RIGHT - 1, abs=0.03 / seen)
    assert found[-1] < 0  # whoever is mostly wrong is worth the contrary
    by_trust, by_majority = (accuracy(merged(pairs, votes, each)) for each in (found, np.ones(7)))
    assert by_trust > by_majority + 0.02
    assert len(merged(pairs, votes, found)) == len(votes.first)


def test_trust_is_the_least_squares_fit_of_rank_one():
    """No small change of any weight agrees better with how often people agree."""
    pairs, number = crowd(300, 0.5, seed=1)
    votes = Votes.of(pairs, number, np.arange(7))
    table = np.full((len(votes.first), 7), np.nan)
    table[votes.pair, votes.user] = votes.said
    there = ~np.isnan(table)
    shared = there.T.astype(float) @ there
    agreed = np.nan_to_num(table).T @ np.nan_to_num(table)
    off = ~np.eye(7, dtype=bool)

    def loss(m: np.ndarray) -> float:
        return float((shared * (agreed / shared - np.outer(m, m)) ** 2)[off].sum())

    found, rng = trust(votes), np.random.default_rng(0)
    assert (np.abs(found) < 1).all()
    assert all(loss(found) < loss(found + 1e-3 * rng.normal(size=7)) for _ in range(50))


def test_votes_are_summed_as_by_hand():
    # Pair 0: two say a, one says b. Pair 1: one says d, one c; a stranger's vote does not count.
    pairs = Pairs(
        ["p", "p", "p", "q", "q", "q"],
        ["a", "b", "a", "c", "d", "c"],
        ["b", "a", "b", "d", "c", "d"],
        np.array(["x", "y", "z", "x", "y", "who"], dtype=object),
    )
    votes = Votes.of(pairs, np.array([0, 0, 0, 1, 1, 1]), np.array(["x", "y", "z"], dtype=object))
    assert votes.said.tolist() == [1, -1, 1, 1, -1] and votes.user.tolist() == [0, 1, 2, 0, 1]
    weights = np.array([0.2, 0.6, 0.1])
    labels = merged(pairs, votes, weights)
    assert (labels.prompts, labels.chosen, labels.rejected) == (["p", "q"], ["b", "d"], ["a", "c"])
    assert labels.strength.tolist() == [1.0, 1.0] and labels.user_id is None
    shared = merged(pairs, votes, weights, shares=True)
    assert shared.chosen == labels.chosen and shared.strength == pytest.approx([0.6 / 0.9, 0.6 / 0.8])
    even = merged(pairs, votes, np.array([0.3, 0.3, 0.0]))
    assert even.strength.tolist() == [0.5, 0.5]


def test_a_pair_has_one_number_whichever_response_won():
    rows = pd.DataFrame(
        [("p", "a", "b"), ("p", "b", "a"), ("q", "a", "b"), ("p", "a", "c")],
        columns=["prompt", "chosen", "rejected"],
    )
    assert pair_numbers(rows).tolist() == [0, 0, 1, 2]


# ------------------------------------------------------------------------------------------ the aligner


@pytest.fixture(scope="module")
def opposed(tmp_path_factory):
    return people_bench(tmp_path_factory.mktemp("crowd"), labels_per_pair=3, pairs_per_annotator=80)


def test_a_minority_counts_as_people_who_err(opposed):
    problem, rows = opposed.problem, opposed.rows
    view = make_view(rows, problem, frozenset({"user_id", "votes", "group"}), 0)
    train = pairs_of(view.preferences["train"])
    people = np.unique(train.user_id)
    votes = Votes.of(train, np.asarray(view.preferences["train"]["pair"]), people)
    found = trust(votes)
    few = rows.loc[rows["group"] == problem.minority, "user_id"].unique()
    minority = np.isin(people, few)
    assert found[minority].max() < 0 < found[~minority].min()
    labels = merged(train, votes, found)
    assert len(labels) == len(problem.prompts.train)

    made = aligned(opposed, "crowd_pref")
    assert made.notes == [f"the votes of {len(few)} of {len(people)} annotators count the other way round"]
    known = aligned(opposed, "maxmin_known_groups").policy
    assert worth(opposed, made.policy, 1) < -1 < 0 < worth(opposed, known, 1)
    softer = aligned(opposed, "crowd_pref", merge="share").policy
    assert worth(opposed, softer, 0) != worth(opposed, made.policy, 0)


def test_pairs_that_one_person_labels_each_are_refused_in_one_line(opposed):
    with pytest.raises(UserError, match=r"'crowd_pref' compares .*: set task\.labels_per_pair=3") as caught:
        make_spec(task="bandit_two_group", aligner="crowd_pref")
    assert "\n" not in str(caught.value)
    spec = make_spec(task="bandit_two_group", aligner="crowd_pref", sets={"task": {"labels_per_pair": "2"}})
    assert spec.task_options["labels_per_pair"] == 2
    alone = opposed.rows.drop_duplicates(["prompt"])
    with pytest.raises(UserError, match="no two people labelled the same train pair"):
        make_view(alone, opposed.problem, frozenset({"user_id", "votes"}), 0)
