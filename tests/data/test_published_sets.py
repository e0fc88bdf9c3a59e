"""Published sets of labels, in fixtures of our own writing that have the layout of the real files.

A real file is read where one is named in the environment: PREFBENCH_COMMUNITY_ALIGNMENT, PREFBENCH_PRISM,
PREFBENCH_TLDR, PREFBENCH_MULTIPREF, PREFBENCH_PERSONALLLM.
"""

import os

import pandas as pd
import pytest

from prefbench import registry
from prefbench.data.annotated import TIE, annotated
from prefbench.data.multipref import SLIGHTLY
from prefbench.data.published import PUBLISHED
from prefbench.problem.labels import given_pairs
from prefbench_tasks.preferences import PreferenceOptions, preferences
from support.people_tables import write_rows
from support.refusals import refusal

EMPTY = "EMPTY STRING"


def read(layout, data):
    source, found = PUBLISHED[layout].read(str(data))
    return annotated(source, found)


def community_row(who, first, second=None, **more):
    """A conversation of one or two turns; each is a preferred response."""
    row = {"conversation_id": "c", "annotator_id": who, "assigned_lang": "en", "wave": "1"}
    for turn, preferred in zip(
        ("first", "second", "third", "fourth"), (first, second, None, None), strict=True
    ):
        gone = preferred is None
        row[f"{turn}_turn_prompt"] = EMPTY if gone else f"{turn} question"
        for letter in "abcd":
            row[f"{turn}_turn_response_{letter}"] = EMPTY if gone else f"{turn} {letter}"
        row[f"{turn}_turn_preferred_response"] = EMPTY if gone else f"response_{preferred}"
        row[f"{turn}_turn_feedback"] = EMPTY
    facts = {
        "age": "18-34",
        "gender": "female",
        "education_level": EMPTY,
        "country": "India",
        "ethnicity": EMPTY,
    }
    row |= {f"annotator_{name}": value for name, value in facts.items()} | {"annotator_political": "Liberal"}
    return row | {"in_balanced_subset": True, "in_balanced_subset_10": False} | more


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_community_alignment(tmp_path, kind):
    rows = [
        community_row("7", "b", "d"),
        community_row("8", "a", annotator_country="Brazil", annotator_age=EMPTY),
        community_row(EMPTY, "a"),
    ]
    path = tmp_path / f"train.{kind}"
    if kind == "jsonl":
        write_rows(path, rows)
    else:
        getattr(pd.DataFrame(rows), f"to_{kind}")(path, index=False)
    table = read("community-alignment", path)
    assert table.report["read"]["without_annotator"] == 1 and len(table.rows) == 9
    mine = table.rows[table.rows["annotator"] == "7"]
    assert mine["chosen"].tolist() == [" first b"] * 3 + [" second d"] * 3
    assert mine["rejected"].tolist()[:3] == [" first a", " first c", " first d"]
    assert mine["prompt"].tolist()[0] == "first question"
    assert mine["prompt"].tolist()[3] == (
        "\n\nHuman: first question\n\nAssistant: first b\n\nHuman: second question\n\nAssistant:"
    )
    assert table.facts["country"] == {"7": "India", "8": "Brazil"}
    assert table.facts["age"] == {"7": "18-34"} and table.facts["ethnicity"] == {}
    assert table.facts["language"] == {"7": "en", "8": "en"}


def test_community_alignment_that_is_none(tmp_path):
    path = write_rows(tmp_path / "x.jsonl", [community_row("7", "e")])
    assert "prefers 'response_e' in the first turn" in refusal(read, "community-alignment", path)
    path = write_rows(tmp_path / "y.jsonl", [{"annotator": "7"}])
    assert "no column 'annotator_id'. Did you mean 'annotator'?" in refusal(read, "community-alignment", path)


def prism_rows():
    """Two turns of one person's conversation, one of another's without a choice."""
    rows = []
    for turn, scores, chosen in ((0, (80, 80, 90, 20), 0), (1, (50, 40), 0)):
        for place, score in enumerate(scores):
            rows.append(
                {
                    "utterance_id": f"u{turn}{place}", "interaction_id": f"i{turn}", "conversation_id": "c1",
                    "user_id": "user1", "turn": turn, "within_turn_id": place, "conversation_type": "guided",
                    "user_prompt": f"ask {turn}", "model_response": f"say {turn} {place}", "model_name": "m",
                    "model_provider": "p", "score": score, "if_chosen": place == chosen,
                    "included_in_balanced_subset": False,
                }
            )  # fmt: skip
    return [*rows, rows[0] | {"conversation_id": "c2", "user_id": "user2", "if_chosen": False}]


def test_prism(tmp_path):
    write_rows(tmp_path / "utterances.jsonl", prism_rows())
    survey = [
        {"user_id": "user1", "age": "25-34 years old", "location": {"reside_region": "Europe", "same": True},
         "stated_prefs": {"creativity": 70}, "self_description": ""},
        {"user_id": "user2", "age": "Prefer not to say", "location": {"reside_region": None}},
    ]  # fmt: skip
    write_rows(tmp_path / "survey.jsonl", survey)
    table = read("prism", tmp_path)
    assert table.rows["chosen"].tolist() == [" say 0 0", " say 0 0", " say 1 0"]
    assert table.rows["rejected"].tolist() == [" say 0 1", " say 0 3", " say 1 1"]
    assert table.rows["strength"].tolist() == [TIE, 1.0, 1.0]
    assert (
        table.rows["prompt"].tolist()[2].startswith("\n\nHuman: ask 0\n\nAssistant: say 0 0\n\nHuman: ask 1")
    )
    assert table.report["read"]["chosen_below_another"] == 1
    assert table.report["read"]["turns_without_choice"] == 1
    assert table.facts["location.reside_region"] == {"user1": "Europe"}
    assert table.facts["age"] == {"user1": "25-34 years old", "user2": "Prefer not to say"}
    assert table.facts["stated_prefs.creativity"] == {"user1": 70} and table.facts["self_description"] == {}
    assert read("prism", tmp_path / "utterances.jsonl").facts == table.facts
    (tmp_path / "utterances.jsonl").unlink()
    assert "has no utterances.jsonl" in refusal(read, "prism", tmp_path)


def test_tldr(tmp_path):
    info = {
        "id": "t3",
        "post": "A long story.",
        "title": "Help",
        "subreddit": "advice",
        "site": None,
        "article": None,
    }
    summaries = [
        {"text": " short", "policy": "sup1", "note": None},
        {"text": " long", "policy": "ref", "note": ""},
    ]
    row = {"info": info, "summaries": summaries, "choice": 1, "worker": "w1", "batch": "b", "split": "train",
           "extra": {"confidence": None}}  # fmt: skip
    news = row | {
        "info": {**info, "post": None, "title": None, "subreddit": None, "article": "News."},
        "choice": 0,
    }
    table = read("tldr", write_rows(tmp_path / "batch.jsonl", [row, news]))
    assert table.rows[["chosen", "rejected", "annotator"]].to_numpy().tolist() == [
        [" long", " short", "w1"],
        [" short", " long", "w1"],
    ]
    assert table.rows["prompt"].tolist() == [
        "SUBREDDIT: r/advice\n\nTITLE: Help\n\nPOST: A long story.\n\nTL;DR:",
        "POST: News.\n\nTL;DR:",
    ]
    for change in ({"choice": 2}, {"worker": None}, {"summaries": summaries[:1]}, {"info": None}):
        path = write_rows(tmp_path / "bad.jsonl", [row, row | change])
        assert "row 2 has no post, two summaries, choice of 0 or 1 and worker" in refusal(read, "tldr", path)


def test_multipref(tmp_path):
    def said(who, level):
        return {"evaluator": who, "overall_pref": level, "overall_confidence": "fairly-confident"}

    row = {"comparison_id": "1", "prompt_id": "p", "text": "q", "completion_a": "A", "completion_b": "B",
           "model_a": "m", "model_b": "n",
           "normal_worker_annotations": [said("n1", "A-is-clearly-better"), said("n2", "B-is-slightly-better")],  # noqa: E501
           "expert_worker_annotations": [said("e1", "Tie"), said("e2", None)]}  # fmt: skip
    table = read("multipref", write_rows(tmp_path / "m.jsonl", [row]))
    assert table.rows[["annotator", "chosen", "strength"]].to_numpy().tolist() == [
        ["n1", " A", 1.0],
        ["n2", " B", SLIGHTLY],
        ["e1", " A", TIE],
    ]
    assert table.facts["kind"] == {"n1": "normal", "n2": "normal", "e1": "expert"}
    assert table.report["read"]["without_preference"] == 1
    row["expert_worker_annotations"] = [said("e1", "A")]
    assert "overall_pref 'A', none of A-is-clearly-better" in refusal(
        read, "multipref", write_rows(tmp_path / "x.jsonl", [row])
    )


def test_terms_stand_where_they_are_read():
    doc = " ".join(registry.get("task", "preferences").doc.split())
    for word, published in PUBLISHED.items():
        assert f"{word}: {published.terms.line}" in doc


def test_a_published_set_is_a_problem(tmp_path):
    rows = []
    for who in range(12):
        for number in range(12):
            row = community_row(
                str(who), "abcd"[(who + number) % 4], annotator_country="India Brazil".split()[who % 2]
            )
            row["first_turn_prompt"] = f"question {number}"
            rows.append(row)
    path = write_rows(tmp_path / "train.jsonl", rows)
    options = PreferenceOptions(layout="community-alignment", group="country")
    problem = preferences(str(path), 0.2, 0, options)
    assert {group.name for group in problem.groups} == {"India", "Brazil"}
    assert "CC-BY-4.0" in problem.origin.terms and not problem.origin.invented_ids
    (conflict,) = given_pairs(problem)[1].values()
    assert conflict["pairs_shared"] > 0
    assert "no column 'countri'. Did you mean 'country'?" in refusal(
        preferences, str(path), 0.2, 0, options.model_copy(update={"group": "countri"})
    )


@pytest.mark.parametrize("layout", PUBLISHED)
def test_the_real_file_is_read(layout):
    variable = f"PREFBENCH_{layout.replace('-', '_').upper()}"
    if variable not in os.environ:
        pytest.skip(f"{variable} names no file")
    table = read(layout, os.environ[variable])
    assert len(table.rows) > 1000 and table.rows["annotator"].nunique() > 10
