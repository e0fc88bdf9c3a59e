"""Tables of labels: every form that a row can have, and every table that cannot be used."""

import csv
import json

import pytest

from prefbench.data.annotated import TIE, Label, Read, annotated, coverage
from prefbench.data.label_source import read_labels
from prefbench.data.label_table import read_table
from support.people_tables import write_rows
from support.refusals import refusal


def read(columns, named=None, group=None, verdict=None):
    return list(read_table("own.csv", columns, named or {}, group, verdict).labels)


PAIR = {"prompt": ["p"], "response_a": ["one"], "response_b": ["two"]}


def test_rows_of_chosen_and_rejected():
    columns = {
        "prompt": ["p", "p"],
        "chosen": ["one", "two"],
        "rejected": ["two", "one"],
        "user_id": [7, 8.0],
        "kind": ["x", None],
        "strength": [0.75, 0.25],
    }
    assert read(columns, group="kind") == [
        Label("p", "one", "two", "7", 0.75, "x"),
        Label("p", "two", "one", "8", 0.25, None),
    ]


@pytest.mark.parametrize(
    ("more", "chosen", "strength"),
    [
        ({"choice": ["a"]}, "one", 1.0),
        ({"winner": ["Response_B"]}, "two", 1.0),
        ({"choice": [2]}, "two", 1.0),
        ({"choice": [2.0]}, "two", 1.0),
        ({"choice": ["tie"]}, "one", TIE),
        ({"rating_a": ["3"], "rating_b": [4.5]}, "two", 1.0),
        ({"rating_a": [4], "rating_b": [4]}, "one", TIE),
        ({"rank_1": [1], "rank_2": [2]}, "one", 1.0),
    ],
)
def test_choices_ratings_and_ranks(more, chosen, strength):
    (label,) = read(PAIR | more)
    assert (label.chosen, label.strength, label.annotator) == (chosen, strength, None)
    assert {label.chosen, label.rejected} == {"one", "two"}


AGAINST = {
    "prompt": ["p", "q", "r", "s"],
    "response_a": ["one"] * 4,
    "response_b": ["two"] * 4,
    "choice": ["a", "tie", "a", "a"],
    "rating_a": [3, 1, 2, 1],
    "rating_b": [1, 5, 2, 4],
}


def test_a_row_that_contradicts_itself_is_one_line_until_it_is_said_what_counts():
    said = refusal(read, AGAINST)
    assert "row 4 cannot be used: by its choice the first response is better, and by its rating the" in said
    assert "second one; say which counts with task.verdict=choice or task.verdict=rating" in said
    assert [label.chosen for label in read(AGAINST, verdict="choice")] == ["one"] * 4
    by_rating = read(AGAINST, verdict="rating")
    assert [label.chosen for label in by_rating] == ["one", "two", "one", "two"]
    assert [label.strength for label in by_rating] == [1.0, 1.0, TIE, 1.0]
    assert "task.verdict=rank, and 'own.csv' has none: it has choice and rating" in refusal(
        read, AGAINST, verdict="rank"
    )


@pytest.mark.parametrize("ratings", [{"rating_b": [1, 5, 2, 0.5]}, {"rating_b": [1, 5, 2, None]}])
def test_a_tie_or_a_gap_contradicts_nothing(ratings):
    labels = read(AGAINST | ratings)
    assert [label.chosen for label in labels] == ["one"] * 4 and labels[1].strength == TIE


def test_counting_from_zero_is_seen_from_the_whole_column():
    columns = {name: values * 2 for name, values in PAIR.items()} | {"choice": [0, 1]}
    assert [label.chosen for label in read(columns)] == ["one", "two"]
    assert "whether counting begins at 0" in refusal(read, PAIR | {"choice": ["1"]})


def test_columns_by_role_and_the_nearest_name():
    columns = {"quest": ["p"], "good": ["x"], "bad": ["y"], "rater": ["r"]}
    named = {"prompt": "quest", "chosen": "good", "rejected": "bad", "annotator": "rater"}
    assert read(columns, named) == [Label("p", "x", "y", "r")]
    assert "no column 'questt'. Did you mean 'quest'?" in refusal(read, columns, named | {"prompt": "questt"})
    assert "role 'promt'. Did you mean 'prompt'?" in refusal(read, columns, {"promt": "quest"})
    assert "one column for two roles" in refusal(read, columns, named | {"chosen": "bad"})


def test_messages_and_transcripts():
    def said(*turns):
        return [{"role": role, "content": text} for role, text in turns]

    asked = said(("system", "Be kind."), ("user", "hello?"))
    one, two = said(("assistant", "hi")), said(("assistant", "go away"))
    columns = {"prompt": [asked], "chosen": [one], "rejected": [two]}
    assert read(columns) == [Label("Be kind.\n\nhello?", "hi", "go away", None)]
    as_text = {name: [json.dumps(values[0])] for name, values in columns.items()}
    assert read(as_text) == read(columns)
    whole = {"chosen": [asked + one], "rejected": [asked + two]}
    assert read(whole) == read(columns)
    long = said(("user", "a"), ("assistant", "b"), ("user", "c"))
    assert read(columns | {"prompt": [long]})[0].prompt == (
        "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
    )
    transcripts = {
        "chosen": ["\n\nHuman: q\n\nAssistant: yes"],
        "rejected": ["\n\nHuman: q\n\nAssistant: no"],
    }
    assert read(transcripts) == [Label("Human: q\n\nAssistant:", " yes", " no", None)]
    repeated = {"prompt": ["Q?"], "chosen": ["Q? yes"], "rejected": ["Q? no"]}
    assert read(repeated) == [Label("Q?", " yes", " no", None)]
    turns = {
        "prompt": ["Human: Q?"],
        "chosen": ["Human: Q?\n\nAssistant: yes"],
        "rejected": ["Human: Q?\n\nAssistant: no"],
    }
    assert read(turns) == [Label("Human: Q?\n\nAssistant:", " yes", " no", None)]
    for changed, said_of in (
        (columns | {"prompt": [asked + one]}, "the last message of a prompt is not the user's"),
        (columns | {"prompt": [said(("judge", "x"))]}, "a message has the role 'judge'"),
        (whole | {"rejected": [two]}, "chosen and rejected do not share all messages but the last"),
    ):
        assert f"row 1 cannot be used: {said_of}" in refusal(read, changed)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"prompt": ["p"], "text": ["x"]}, "no column 'chosen'"),
        ({"prompt": ["p"], "chosen": ["x"]}, "no column 'rejected'"),
        ({"chosen": ["x"], "rejected": ["y"]}, "row 1 cannot be used: there is no prompt"),
        (PAIR, "nothing that says which is better"),
        (PAIR | {"rating_a": [1]}, "a rating of one of two responses alone"),
        (PAIR | {"choice": [""]}, "its choice is missing"),
        (PAIR | {"choice": ["maybe"]}, "its choice is 'maybe'; wanted is a or b"),
        (PAIR | {"rating_a": ["good"], "rating_b": [1]}, "its rating is 'good', which is no number"),
        (PAIR | {"choice": ["a"], "strength": [3]}, "its strength is 3, and it goes from 0 to 1"),
        (PAIR | {"choice": ["a"], "annotator": [None]}, "it names no annotator"),
        (PAIR | {"choice": ["a"], "annotator": [1.5]}, "neither text nor a whole number"),
        ({"prompt": [None], "chosen": ["x"], "rejected": ["y"]}, "it has no prompt"),
        ({"prompt": ["p"], "chosen": [3], "rejected": ["y"]}, "its chosen is no text but 3"),
    ],
)
def test_tables_that_cannot_be_used(columns, said):
    assert said in refusal(read, columns)


def test_cleaning_keeps_other_people_s_contradictions_and_not_one_s_own():
    labels = [
        Label("p", "x", "y", "ann"),
        Label("p", "y", "x", "bob"),
        Label("p", "x", "y", "ann"),  # repeated
        Label("q", "x", "y", "cem"),
        Label("q", "y", "x", "cem"),  # contradicts herself
        Label("r", "x", "x ", "ann"),
        Label("r", "", "x", "ann"),
        Label("s", "x", "y", "ann", 0.2),  # says that y is better
    ]
    table = annotated("own", Read(labels))
    assert table.rows[["prompt", "chosen", "annotator", "strength"]].to_numpy().tolist() == [
        ["p", " x", "ann", 1.0],
        ["p", " y", "bob", 1.0],
        ["s", " y", "ann", 0.8],
    ]
    assert table.report["read"] == {
        "labels": 8, "without_text": 1, "same_response": 1, "repeated": 1, "contradicts_herself": 2,
    }  # fmt: skip
    unsigned = annotated("own", Read([label._replace(annotator=None) for label in labels]))
    assert len(unsigned.rows) == 6  # two rows that nobody signed may be two people's
    assert "names an annotator in 1 of 2 rows" in refusal(
        annotated, "own", Read([Label("p", "x", "y", "ann"), Label("p", "x", "y", None)])
    )
    assert "no usable label" in refusal(annotated, "own", Read([Label("p", "x", "x", "ann")]))


def test_what_cannot_be_told_is_said():
    one = [Label("p", "x", "y", "ann"), Label("q", "x", "y", "bob")]
    said = coverage(annotated("own", Read(one)))
    assert "no pair was labelled twice" in said[0] and "everybody gave one label" in said[1]
    more = [*one, Label("p", "x", "y", "bob"), Label("r", "x", "y", "cem"), Label("r", "x", "z", "dee")]
    assert coverage(annotated("own", Read(more))) == [
        "3 of 4 people gave one label, of whom nothing of their own can be learned"
    ]
    nobody = annotated("own", Read([label._replace(annotator=None) for label in more]))
    assert "annotators are made up" in coverage(nobody)[0]


def test_files_folders_and_what_is_none(tmp_path):
    rows = [{"prompt": "p", "chosen": "x", "rejected": "y"}]
    write_rows(tmp_path / "one" / "own.jsonl", rows)
    write_rows(tmp_path / "splits" / "data" / "train.jsonl", rows)
    write_rows(tmp_path / "splits" / "data" / "test-0001.jsonl", [rows[0] | {"extra": 1}])
    assert read_labels(str(tmp_path / "one"))[1]["prompt"] == ["p"]
    assert read_labels(str(tmp_path / "splits"))[1]["extra"] == [1, None]
    (tmp_path / "empty").mkdir()
    assert "holds no table of labels" in refusal(read_labels, str(tmp_path / "empty"))
    with (tmp_path / "twice.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["prompt", "chosen", "rejected", "chosen"], ["p", "x", "y", "z"]])
    assert "two columns 'chosen'" in refusal(read_labels, str(tmp_path / "twice.csv"))
    (tmp_path / "rows.csv").write_text("prompt,chosen,rejected\n")
    assert "holds no rows" in refusal(read_labels, str(tmp_path / "rows.csv"))
    assert "there is no such file or folder" in refusal(read_labels, str(tmp_path / "none.csv"))
