"""The task `preferences`: a table of labels by people as a problem."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from prefbench.evaluate.gold import GoldReward
from prefbench.evaluate.judge import Judge
from prefbench.population import Population
from prefbench.problem.held_out import held_out_labels
from prefbench.problem.people import people_of
from prefbench.problem.splits import place
from prefbench.spec import make_spec
from prefbench_tasks.preferences import PreferenceOptions, preferences
from support.people_tables import PEOPLE, labels, write_rows
from support.refusals import refusal


@pytest.fixture(scope="module")
def rows():
    return labels()


@pytest.fixture(scope="module")
def own(rows, tmp_path_factory):
    return str(write_rows(tmp_path_factory.mktemp("own") / "own.jsonl", rows))


def made(data, seed=0, **options):
    return preferences(data, 0.2, seed, PreferenceOptions(**options))


def refused(data, **options):
    return refusal(preferences, data, 0.2, 0, PreferenceOptions(**options))


def test_groups_people_and_splits_of_one_s_own_table(own, rows):
    problem = made(own)
    assert [group.name for group in problem.groups] == ["brisk", "careful"]
    given = problem.given
    assert {
        who: group for who, group in zip(given["user_id"], given["group"], strict=True)
    }.items() <= PEOPLE.items()
    split = given.drop_duplicates("prompt").set_index("prompt")["split"].to_dict()
    assert given["prompt"].map(split).eq(given["split"]).all()  # every prompt has one split
    assert all(place(a) < place(b) for a in problem.prompts.test for b in problem.prompts.train)
    known = {(row["prompt"], row["chosen"], row["rejected"], row["annotator"]) for row in rows}
    columns = zip(given["prompt"], given["chosen"], given["rejected"], given["user_id"], strict=True)
    assert {(p, c.strip(), r.strip(), u) for p, c, r, u in columns} <= known
    # Whoever teaches the gold reward teaches nobody else, and no test prompt is in it.
    for group in problem.groups:
        gold = group.utility
        assert isinstance(gold, GoldReward) and gold.strength == ()
        assert not set(gold.prompts) & set(problem.prompts.test)
    people = problem.report["people"]
    assert people["brisk"] == {"all": 10, "train": 8, "gold": 2} and people["careful"]["all"] == 6
    assert given["user_id"].nunique() == 16 - people["brisk"]["gold"] - people["careful"]["gold"]
    assert problem.report["labelled_by_several"]["contradicted"] > 0.3  # both directions were kept
    assert not any(prompt in text for text in problem.corpus for prompt in problem.prompts.test)


def test_truth_and_test_are_the_same_for_every_seed_and_order_is_not(own):
    one, other = made(own), made(own, seed=1)
    assert one.prompts.test == other.prompts.test
    assert [group.utility.name for group in one.groups] == [group.utility.name for group in other.groups]
    assert not one.given.equals(other.given)
    columns = ["prompt", "chosen", "user_id"]
    assert set(map(tuple, one.given[columns].to_numpy())) == set(map(tuple, other.given[columns].to_numpy()))
    pd.testing.assert_frame_equal(made(own).given, one.given)


def test_clusters_are_inferred_where_there_are_no_groups(own):
    problem = made(own, group="clusters")
    assert [group.name for group in problem.groups] == ["cluster 1", "cluster 2"]
    found = dict(zip(problem.given["user_id"], problem.given["group"], strict=True))
    together = pd.crosstab(pd.Series(found), pd.Series(PEOPLE)[list(found)])
    assert (together > 0).sum().sum() == 2  # each cluster is one group
    again = dict(
        zip(*(made(own, seed=4, group="clusters").given[c] for c in ("user_id", "group")), strict=True)
    )
    assert again == found
    assert "16 people have 2 labels off the test prompts, and 20 clusters need 40" in refused(
        own, group="clusters", clusters=20
    )


def test_groups_from_a_table_of_people(own, rows, tmp_path):
    table = tmp_path / "people.csv"
    country = {who: "here" if index < 9 else "there" for index, who in enumerate(PEOPLE)}
    lines = [f"{who},{country[who]},{30 + index}" for index, who in enumerate(PEOPLE) if who != "pam"]
    table.write_text("annotator,country,age\n" + "\n".join(lines) + "\n")
    problem = made(own, people=str(table), group="country")
    assert {group.name for group in problem.groups} == {"here", "there"}
    assert "1 people have no country and are left out" in problem.remarks
    halves = made(own, people=str(table), group="age")
    assert {group.name for group in halves.groups} == {"up to 37", "above 37"}
    assert "set task.group to one of 'group', 'country', 'age'" in refused(own, people=str(table))
    assert "no column 'countri'. Did you mean 'country'?" in refused(own, people=str(table), group="countri")
    assert "no column 'anotator'. Did you mean 'annotator'?" in refused(
        own, people=str(table), key="anotator"
    )
    table.write_text("annotator,country\nann,here\nann,there\n")
    assert "'ann' twice, as country 'here' and 'there'" in refused(own, people=str(table), group="country")


def test_small_groups_are_put_together_or_refused(rows, tmp_path):
    alone = {"ann": "x", "bob": "y"}
    changed = [row | {"group": alone.get(row["annotator"], row["group"])} for row in rows]
    own = str(write_rows(tmp_path / "own.jsonl", changed))
    assert re.match(
        r"'own.jsonl': group '[xy]' has 1 people with \d+ labels off the test prompts", refused(own)
    )
    problem = made(own, least_annotators=2)
    assert {group.name for group in problem.groups} == {"brisk", "careful", "others"}
    assert "2 people of 2 groups with fewer than 2 are together as 'others'" in problem.remarks


def test_labels_that_nobody_signed_are_dealt_out(rows, tmp_path):
    unsigned = [{key: value for key, value in row.items() if key != "annotator"} for row in rows]
    own = str(write_rows(tmp_path / "own.jsonl", unsigned))
    problem = made(own, annotators=12)
    people = problem.report["people"]
    assert problem.origin.invented_ids and people["brisk"]["all"] + people["careful"]["all"] == 12
    assert people["brisk"]["all"] in (7, 8)  # in the shares of the labels
    assert "annotators are made up" in problem.remarks[0]
    nobody = [{key: value for key, value in row.items() if key != "group"} for row in unsigned]
    own = str(write_rows(tmp_path / "none.jsonl", nobody))
    assert "has neither annotators nor groups" in refused(own)


def test_bounds_on_people_and_pairs(own):
    problem = made(own, annotators=6, pairs_per_annotator=5, test_pairs=9)
    given = problem.given
    train = given[given["split"] == "train"]
    assert problem.annotators == 6 and train["user_id"].value_counts().max() == 5
    assert (given["split"] == "test").sum() == 9
    assert sorted(train.groupby("group")["user_id"].nunique()) == [2, 4]


def test_strength_and_unseen_people(rows, tmp_path):
    sure = [row | {"strength": 0.9 if index % 2 else 0.5} for index, row in enumerate(rows)]
    own = str(write_rows(tmp_path / "own.jsonl", sure))
    problem = preferences(own, 0.2, 0, PreferenceOptions())
    met = replace(problem, population=Population(unseen_annotators=4, context_pairs=4))
    assert set(met.given["strength"]) == {0.5, 0.9}
    for group in met.groups:
        assert set(group.utility.strength) == {0.9}  # a tie says nothing of what is gold
    unseen = {person.id for person in people_of(met, 0) if not person.seen}
    held_out = held_out_labels(met, 0)
    assert len(unseen) == 4 and unseen <= set(held_out.loc[~held_out["seen"], "person"])
    assert not unseen & set(met.given.loc[met.given["split"] == "train", "user_id"])
    assert "lower task.unseen_annotators" in refusal(
        replace, problem, population=Population(unseen_annotators=11)
    )


def test_options_that_came_later_rename_no_run(own):
    written = make_spec(task="preferences", data=own, aligner="dpo").task_options
    assert written["judge_model"] is None
    assert not {"verdict", "judge_prompt_price", "judge_completion_price"} & set(written)


def test_a_judge_is_told_the_group(own):
    problem = made(own, utility="llm_judge", judge_model="m")
    judge = problem.groups[0].utility
    assert (
        isinstance(judge, Judge)
        and judge.criterion == "The answer that a person whose group is 'brisk' would prefer."
    )
    priced = made(own, utility="llm_judge", judge_model="m", judge_prompt_price=2, judge_completion_price=3)
    server = priced.groups[0].utility.server
    assert (server.prompt_price, server.completion_price, server.model) == (2, 3, "m")
    assert "set task.judge_model" in refused(own, utility="llm_judge")
    assert "clusters have none" in refused(own, utility="llm_judge", judge_model="m", group="clusters")


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"group": "one"}, {}, "all people are of one group, 'one', and two are needed"),
        ({"group": None}, {}, "nobody's 'group' is known"),
        ({"prompt": "always the same"}, {}, "has 1 different prompts, and 10 are needed"),
        ({}, {"group": "grupo"}, "no column 'grupo'. Did you mean 'group'?"),
        ({}, {"only": {"age": "3"}}, "no column 'age'. Known: "),
        ({"age": 4}, {"only": {"age": "3"}}, "nobody in 'own.jsonl' has '3' as age"),
    ],
)
def test_tables_that_are_no_problem(rows, tmp_path, change, options, said):
    own = str(write_rows(tmp_path / "own.jsonl", [row | change for row in rows]))
    assert said in refused(own, **options)


def test_somebody_in_two_groups(rows, tmp_path):
    changed = [*rows[:-1], rows[-1] | {"group": "brisk" if rows[-1]["group"] == "careful" else "careful"}]
    message = refused(str(write_rows(tmp_path / "own.jsonl", changed)))
    assert "annotator 'pam' labels for two groups" in message


def test_no_table():
    assert "name a table of them with --data" in refused("synthetic")
