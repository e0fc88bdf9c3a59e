"""The record: its schema, its file, and that its numbers follow from the items.

`make_items`, `make_record` and `make_run` fabricate runs for the tests of the leaderboard and gate too.
"""

import json
import math
import warnings

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from prefbench.errors import UserError
from prefbench.record.evidence import item_columns, read_items, write_items
from prefbench.record.files import find_records, read_record, write_record
from prefbench.record.schema import SCHEMA_VERSION, Record, json_schema
from prefbench.record.summary import summarise
from prefbench.record.verify import comparable, verify
from support.records import GROUPS, PROVENANCE, RATES, make_items, make_record, make_run


@pytest.fixture(scope="module")
def made():
    return make_record(make_items(RATES))


def test_numbers_by_hand():
    items = make_items({"many": 1.0, "few": 1.0}, n=4, seed=3)
    items["empty"], items["response"] = [False, False, False, True], ["x", "x y", "x", " "]
    items["words"], items["kl"] = [1, 2, 1, 0], [0.0, 1.0, 2.0, 3.0]
    items["utility/few"] = [1.0, 0.0, -1.0, 5.0]
    found = summarise(items, GROUPS, 0)
    many, few = found["groups"]
    assert (many["wins"], many["ties"], many["losses"]) == (3, 0, 1)
    assert (few["wins"], few["ties"], few["losses"]) == (1, 1, 2)
    assert (many["win_rate"], few["win_rate"]) == (0.75, 0.375)
    assert few["mean_utility"] == 1.25
    assert (found["worst_group"], found["worst_group_win_rate"]) == ("few", 0.375)
    assert found["mean_win_rate"] == pytest.approx(0.5625)
    assert found["gap"] == 0.375
    assert (found["kl"], found["mean_length"], found["reference_length"]) == (1.5, 1.0, 3.0)
    assert (found["empty_rate"], found["n_prompts"], found["samples_per_prompt"]) == (0.25, 4, 1)
    assert found["minority_win_rate_ci"] == (few["ci_low"], few["ci_high"])


def test_an_empty_reference_loses():
    items = make_items({"many": 0.0, "few": 0.0}, n=3)
    items["empty"], items["response"] = False, "x"
    items["reference_words"] = [3, 0, 3]  # " ..." has no word either
    items.loc[1, "reference_response"] = " ..."
    assert summarise(items, GROUPS, 0)["groups"][0]["wins"] == 1


def test_row_order_does_not_matter():
    items = make_items(RATES, n=20, samples=3)
    shuffled = items.sample(frac=1, random_state=np.random.default_rng(0))
    assert summarise(items, GROUPS, 1) == summarise(shuffled, GROUPS, 1)
    assert summarise(items, GROUPS, 1) != summarise(items, GROUPS, 2)  # other resamples


def test_items_must_be_whole():
    items = make_items(RATES, n=5, samples=2)
    broken = [
        (items.drop(index=3), "lacks some of samples"),
        (items.drop(columns="words"), "no column 'words'"),
        (items.drop(columns="utility/few"), "no column 'utility/few'"),
        (items.iloc[:0], "no rows"),
        (items.assign(kl=[None] + [0.1] * 9), "lacks kl in 1 of 10"),
        (items.assign(**{"utility/few": "high"}), "not numeric"),
        (items.assign(empty=False, **{"utility/few": np.nan}), "not a finite number"),
        (items.assign(kl=np.inf), "not finite"),
    ]
    for frame, said in broken:
        with pytest.raises(UserError, match=said) as caught:
            summarise(frame, GROUPS, 0)
        assert "\n" not in str(caught.value)


def test_unknown_kl_is_null():
    assert summarise(make_items(RATES, kl=None), GROUPS, 0)["kl"] is None


def test_round_trip(tmp_path, made):
    path = write_record(made, tmp_path / "run")
    assert path.name == "record.json"
    assert read_record(path) == read_record(path.parent) == made
    assert list(path.parent.iterdir()) == [path]  # nothing temporary stays
    assert list(json.loads(path.read_text()))[:5] == ["schema_version", "status", "spec", "spec_hash", "task"]


def test_published_schema_fits_the_file(made):
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(made.model_dump(mode="json"), schema)
    assert schema["properties"]["gap"]["description"]
    undescribed = [name for name, field in schema["properties"].items() if "description" not in field]
    assert undescribed == []


numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.dictionaries(
    st.text(max_size=5), st.recursive(st.none() | st.booleans() | numbers | st.text(max_size=5), st.lists)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(plain, st.dictionaries(st.text(max_size=5), st.floats(0, 1e9)), numbers, st.text())
def test_any_record_survives_json(made, report, timings, kl, hardware):
    data = made.model_dump() | {"task_report": report, "timings": timings, "kl": kl}
    data["provenance"] = data["provenance"] | {"hardware": hardware}
    changed = Record.model_validate(data)
    assert Record.model_validate(json.loads(json.dumps(changed.model_dump(mode="json")))) == changed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_refused(made, bad):
    data = made.model_dump()
    group = data["groups"][0] | {"mean_utility": bad}
    spoiled = [{"kl": bad}, {"timings": {"policy": bad}}, {"task_report": {"deep": [{"er": bad}]}}]
    for change in [*spoiled, {"groups": [group, data["groups"][1]]}]:
        with pytest.raises(ValidationError):
            Record.model_validate(data | change)


def test_records_that_contradict_themselves_are_refused(made):
    data = made.model_dump()
    group = data["groups"][0]
    wrong = [
        {"groups": [group | {"wins": group["wins"] + 1}, data["groups"][1]]},
        {"groups": [group | {"win_rate": 0.123}, data["groups"][1]]},
        {"groups": [group, group]},
        {"groups": []},
        {"worst_group": "nobody"},
        {"worst_group_win_rate": None},
        {"message": "all is well"},
        {"status": "diverged", "message": "KL exploded"},
        {"n_prompts": 7},
        {"surprise": 1},
        {"minority_ratio": 0.6},
        {"needs": ["mind_reading"]},
    ]
    for change in wrong:
        with pytest.raises(ValidationError):
            Record.model_validate(data | change)


def test_a_diverged_run_has_no_numbers_but_a_reason():
    record = make_record(None, status="diverged")
    assert record.groups == () and record.gap is None and record.message == "KL exploded"
    with pytest.raises(ValidationError, match="says why"):
        Record.model_validate(record.model_dump() | {"message": None})


def test_needs_are_sorted(made):
    assert Record.model_validate(made.model_dump() | {"needs": {"user_id", "group"}}).needs == (
        "group",
        "user_id",
    )


def test_unreadable_records_say_what_to_do(tmp_path, made):
    data = made.model_dump(mode="json")
    cases = {
        "not JSON": "{",
        "NaN is no JSON number": json.dumps(data | {"kl": math.nan}),
        "not a JSON object": "[]",
        "upgrade prefbench": json.dumps(data | {"schema_version": SCHEMA_VERSION + 1}),
        "run it again": json.dumps(data | {"schema_version": None}),
        "field surprise": json.dumps(data | {"surprise": 1}),
        "field groups.0.wins": json.dumps(data | {"groups": [data["groups"][0] | {"wins": -1}]}),
    }
    for said, text in cases.items():
        path = tmp_path / "record.json"
        path.write_text(text)
        with pytest.raises(UserError, match=said) as caught:
            read_record(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no record at"):
        read_record(tmp_path / "nowhere")


def test_find_records_skips_what_it_cannot_read(tmp_path, made):
    write_record(made, tmp_path / "b")
    write_record(made, tmp_path / "a")
    (tmp_path / "c").mkdir()
    (tmp_path / "stages").mkdir()
    (tmp_path / "c" / "record.json").write_text("{}")
    with pytest.warns(UserWarning, match="left out"):
        found = find_records(tmp_path)
    assert [folder.name for folder, _ in found] == ["a", "b"]
    with pytest.raises(UserError, match="does not exist"):
        find_records(tmp_path / "nowhere")


def test_comparable_leaves_out_time_and_place(made):
    other = Record.model_validate(
        made.model_dump() | {"timings": {}, "provenance": PROVENANCE | {"hardware": "else"}}
    )
    assert comparable(other) == comparable(made)
    assert other != made


def test_verify_agrees_until_somebody_edits(tmp_path):
    folder = make_run(tmp_path, RATES, samples=2)
    assert verify(folder) == []
    record = read_record(folder)
    write_record(record.model_copy(update={"worst_group_win_rate": 0.99, "task": "other"}), folder)
    wrong = verify(folder)
    assert any("worst_group_win_rate is 0.99" in line for line in wrong)
    assert any("task is 'other'" in line for line in wrong)
    write_record(record, folder)
    items = read_items(folder)
    items.loc[0, "utility/few"] *= -1
    write_items(items, folder)
    assert any(line.startswith("few.") for line in verify(folder))


def test_verify_finds_silence_that_was_not_counted(tmp_path):
    folder = make_run(tmp_path, RATES)
    items = read_items(folder)
    items.loc[~items["empty"], "response"] = " "
    write_items(items, folder)
    assert any("not marked empty" in line for line in verify(folder))


def test_items_file_errors(tmp_path):
    with pytest.raises(UserError, match="missing"):
        read_items(tmp_path)
    (tmp_path / "items.parquet").write_text("nonsense")
    with pytest.raises(UserError, match="not readable parquet"):
        read_items(tmp_path)


def test_items_have_the_documented_columns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(make_items(RATES).columns) == item_columns(RATES)


def as_texts(items, **columns):
    """Items of responses that are texts: known to the reference model, of a task with a lexicon."""
    known = {"nonwords": 0.0, "tokens": 2.0, "logprob": -3.0, "logprob_elsewhere": -4.0}
    return items.assign(**known | {f"reference_{name}": value for name, value in known.items()} | columns)


def test_what_a_win_rate_does_not_see_by_hand():
    items = as_texts(make_items({"many": 1.0, "few": 1.0}, n=4, seed=3))
    items["empty"], items["words"] = [False, False, False, True], [1, 2, 1, 0]
    items["response"], items["reference_response"] = ["a", "a b", "a", ""], ["a", "b", "c", "d"]
    items["utility/few"] = [1.0, 0.0, -1.0, 5.0]
    items["nonwords"] = [0, 2, 1, 0]
    items["tokens"], items["logprob"] = [2, 3, 2, 1], [-1.0, -6.0, -2.0, -3.0]
    items["logprob_elsewhere"] = [-2.0, -6.0, -1.0, -9.0]
    found = summarise(items, GROUPS, 0)
    assert (found["agreed"], found["retention"]) == (2, 0.5)  # all win the first and lose the last
    text = found["text"]
    assert (text["nonword_rate"], text["reference_nonword_rate"]) == (0.5, 0.0)
    assert (text["logprob_per_token"], text["reference_logprob_per_token"]) == (-12 / 8, -1.5)
    assert text["relevance"] == (1 + 0.5 + 0 + 0.5) / 4  # nearer, a tie, further off, silent
    assert text["reference_relevance"] == 1
    assert (text["distinct_1"], text["reference_distinct_1"]) == (0.5, 1.0)  # all of "a", "a", "a", "b"
    without = as_texts(make_items(RATES), nonwords=np.nan, logprob=np.nan, tokens=np.nan)
    text = summarise(without, GROUPS, 0)["text"]
    assert [text[name] for name in ("nonword_rate", "logprob_per_token", "relevance")] == [None] * 3


def test_older_items_and_worlds_have_no_text_and_half_a_column_is_refused():
    items = make_items(RATES)
    assert summarise(items, GROUPS, 0)["text"] is None
    known = as_texts(items)
    for frame, said in (
        (known.drop(columns="reference_tokens"), "no column 'reference_tokens'"),
        (
            known.assign(logprob=[np.nan, *[-1.0] * (len(items) - 1)]),
            "logprob' has a value that is not finite",
        ),
        (known.assign(nonwords="none"), "'nonwords' is not numeric"),
    ):
        with pytest.raises(UserError, match=said):
            summarise(frame, GROUPS, 0)


def test_a_record_of_an_older_version_is_held_against_what_it_has(tmp_path):
    folder = make_run(tmp_path, RATES)
    old = read_record(folder).model_dump(mode="json") | {"schema_version": 4}
    for name in ("agreed", "retention", "text"):
        del old[name]
    write_record(Record.model_validate(old), folder)
    assert verify(folder) == []
    write_record(Record.model_validate(old | {"schema_version": 5}), folder)
    assert any(line.startswith("agreed is None") for line in verify(folder))
