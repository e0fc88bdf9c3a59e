"""Votes: one row a pair, and the same loss as of all its labels."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.errors import UserError
from prefbench.learn.rewards import log_likelihood
from prefbench.tools.export import export, export_spec
from prefbench.tools.export_rows import columns_of, votes_of
from support.commands import sets, typed

TEXTS = st.sampled_from(["a", "b", "c"])


def labels(*rows):
    return pd.DataFrame(
        [dict(zip(("split", "prompt", "chosen", "rejected", "strength"), row, strict=True)) for row in rows]
    )


def test_a_share_of_votes_is_counted_by_hand():
    found = votes_of(
        labels(
            ("train", "p", "b", "a", 1.0),
            ("train", "p", "a", "b", 1.0),
            ("train", "p", "a", "b", 0.5),
            ("train", "q", "b", "a", 1.0),
            ("train", "q", "a", "b", 1.0),
            ("test", "p", "b", "a", 1.0),
        )
    )
    assert found.to_dict("list") == {
        "split": ["train", "train", "test"],
        "prompt": ["p", "q", "p"],
        "chosen": ["b", "b", "b"],
        "rejected": ["a", "a", "a"],
        "strength": [0.5, 0.5, 1.0],
        "votes": [3, 2, 1],
    }


def test_the_majority_is_chosen():
    rows = [("train", "p", "a", "b", 1.0)] + 2 * [("train", "p", "b", "a", 1.0)]
    (row,) = votes_of(labels(*rows)).to_dict("records")
    assert (row["chosen"], row["strength"], row["votes"]) == ("b", pytest.approx(2 / 3), 3)


@given(
    st.lists(st.tuples(st.just("train"), TEXTS, TEXTS, TEXTS, st.sampled_from([0.5, 0.75, 1.0])), min_size=1)
)
def test_votes_have_the_loss_of_their_labels(rows):
    """By whatever reward: strength goes into a likelihood as the labels would, one by one."""
    table = labels(*(row for row in rows if row[2] != row[3]))
    if table.empty or not table.duplicated(["prompt"]).any():
        return
    reward = {"a": 0.3, "b": -1.1, "c": 2.0}
    try:
        merged = votes_of(table)
    except UserError:
        return

    def loss(of, weight):
        margin = np.array([reward[x] - reward[y] for x, y in zip(of["chosen"], of["rejected"], strict=True)])
        return float((weight * log_likelihood(margin, of["strength"].to_numpy())).sum())

    assert loss(merged, merged["votes"].to_numpy()) == pytest.approx(loss(table, 1.0))
    assert merged["votes"].sum() == len(table) and merged["strength"].between(0.5, 1).all()
    assert not merged.duplicated(["prompt", "chosen", "rejected"]).any()


def test_a_pair_of_equal_responses_is_a_tie():
    (row,) = votes_of(labels(*2 * [("train", "p", "a", "a", 1.0)])).to_dict("records")
    assert (row["strength"], row["votes"]) == (0.5, 2)


SEVERAL = ("task.labels_per_pair=3", "task.pairs_per_annotator=4", "task.test_prompts=20")


def test_the_command_writes_votes_and_the_card_says_so(tmp_path):
    words = ["export", "--task", "bandit_two_group", "--runs-dir", tmp_path / "runs"]
    assert typed(*words, "--out", tmp_path / "each", *sets(*SEVERAL)).code == 0
    outcome = typed(*words, "--out", tmp_path / "votes", "--votes", *sets(*SEVERAL))
    assert outcome.code == 0, outcome.err
    each, votes = (pd.read_parquet(tmp_path / name / "data/train.parquet") for name in ("each", "votes"))
    assert list(votes.columns) == ["prompt", "chosen", "rejected", "strength", "votes"]
    assert votes["votes"].sum() == len(each) == 3 * len(votes)
    card = (tmp_path / "votes" / "README.md").read_text()
    assert "| `votes` | int64 |" in card and "`user_id`" not in card
    assert "the share of its votes for the chosen response" in card and "3 different annotators" in card
    assert f"| train | {len(votes)} | " in card


def test_without_several_labels_there_is_nothing_to_count(tmp_path):
    spec = export_spec(task="gridworld_two_group", sets={"task": {"test_prompts": "20"}})
    labelled = pd.DataFrame({"split": ["train"], "prompt": ["p"], "chosen": ["a"], "rejected": ["b"]})
    with pytest.raises(UserError, match=r"set task\.labels_per_pair to 2") as caught:
        votes_of(labelled)
    assert "\n" not in str(caught.value)
    assert export(spec, tmp_path / "out", tmp_path / "runs")["test"] == 20
    assert "## People" not in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("spread=0.5", "0.5 standard deviations of it away"),
        ("reliability=0.9", "means 90% of her labels"),
        ("tie_band=0.3", "Two utilities nearer to each other than 0.3 standard deviations are a tie"),
        ("unseen_annotators=8", "8 more people have no label here"),
        ("reporting=group 2=-1", "group 2 does not label by what it wants, but by -1 times its utility"),
    ],
)
def test_the_card_says_who_people_are_and_how_they_label(tmp_path, option, said):
    words = ["export", "--task", "bandit_two_group", "--runs-dir", tmp_path / "runs"]
    options = sets("task.pairs_per_annotator=4", "task.test_prompts=20", f"task.{option}")
    outcome = typed(*words, "--out", tmp_path / "out", *options)
    assert outcome.code == 0, outcome.err
    card = (tmp_path / "out" / "README.md").read_text()
    assert said in card.split("\n## People\n")[1].split("\n## ")[0]
    assert "what the section People says, and preference noise" in card


def test_columns_that_are_there_are_exported_in_order():
    table = pd.DataFrame(columns=["split", "side/x", "strength", "chosen", "prompt", "rejected", "utility/g"])
    assert columns_of(table) == ["prompt", "chosen", "rejected", "side/x", "strength"]
