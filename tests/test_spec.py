"""Specifications: every spelling of a run gives one object, and what is wrong is said in one line."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefbench.errors import UserError
from prefbench.spec import make_spec, parse_ratio, parse_sets, read_toml, stored_spec

TASK = {"task": "imdb_two_group", "aligner": "maxmin"}


@pytest.mark.parametrize(
    ("spelled", "share"),
    [
        ("0.2", 0.2),
        (0.2, 0.2),
        ("4:1", 0.2),
        ("20%", 0.2),
        ("8:2", 0.2),
        ("2e-1", 0.2),
        ("10:1", 0.0909),
        ("0.0909", 0.0909),
        ("1:1", 0.5),
        (0.5, 0.5),
        ("50%", 0.5),
        ("99:1", 0.01),
        (" 0.2 ", 0.2),
    ],
)
def test_every_spelling_of_a_ratio(spelled, share):
    assert parse_ratio(spelled) == share
    assert make_spec(**TASK, minority_ratio=spelled).hash == make_spec(**TASK, minority_ratio=share).hash


@pytest.mark.parametrize(
    "wrong",
    [
        "0",
        "0.51",
        "1:4",
        "-0.2",
        "nan",
        "inf",
        "60%",
        "",
        "4:",
        ":",
        "0:0",
        "1:-2",
        "1:2:3",
        "few",
        1,
        0,
        "1e-9",
    ],
)
def test_a_ratio_outside_its_range_is_refused_with_the_range(wrong):
    with pytest.raises(UserError, match=r"minority ratio .* is not in \(0, 0\.5\]"):
        parse_ratio(wrong)


@given(st.integers(1, 500), st.integers(1, 500))
def test_a_ratio_and_its_share_are_the_same_run(majority, minority):
    small, large = sorted((majority, minority))
    share = small / (large + small)
    if round(share, 4) > 0:
        assert parse_ratio(f"{large}:{small}") == parse_ratio(share) == parse_ratio(f"{share:.4f}")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "imdb_two_grup"}, "unknown task 'imdb_two_grup'. Did you mean 'imdb_two_group'?"),
        ({"task": "zzz"}, "unknown task 'zzz'. Known: "),
        ({"aligner": "maxmim"}, "unknown aligner 'maxmim'. Did you mean 'maxmin'?"),
        ({"model": "nanoo"}, "unknown model 'nanoo'. Did you mean 'nano'?"),
        ({"model": "./nowhere"}, "model folder './nowhere' does not exist"),
        ({"sets": {"taks": {}}}, "unknown option section 'taks'. Did you mean 'task'?"),
        (
            {"sets": {"task": {"anotators": 4}}},
            "unknown option task.anotators of 'imdb_two_group'. Did you mean",
        ),
        (
            {"sets": {"aligner": {"iteration": 4}}},
            "unknown option aligner.iteration of 'maxmin'. Did you mean",
        ),
        (
            {"sets": {"evaluate": {"sample": 4}}},
            "unknown option evaluate.sample of 'evaluator'. Did you mean",
        ),
        (
            {"model": "gpt2", "sets": {"model": {"sft_learning_rate": 1e-5}}},
            "unknown option model.sft_learning_rate of 'gpt2'. Did you mean 'learning_rate'?",
        ),
        (
            {"sets": {"model": {"sft_steps": 10}}},
            "unknown option model.sft_steps of 'nano'. Did you mean 'steps'?",
        ),
        (
            {"sets": {"model": {"width": 7}}},
            "option model.width=7: Input should be greater than or equal to 8.",
        ),
        ({"sets": {"aligner": {"welfare": "max"}}}, "option aligner.welfare='max': Input should be"),
        (
            {"aligner": "em_dpo", "sets": {"aligner": {"select_clusters": 3}}},
            "option aligner.select_clusters: 'em_dpo' makes no use of it: leave it out.",
        ),
        ({"sets": {"task": {"annotators": "many"}}}, "option task.annotators='many': "),
        ({"seed": -1}, "seed '-1' is not a whole number from 0 up"),
        ({"seed": True}, "seed 'True' is not a whole number from 0 up"),
        ({"task": None}, "--task is missing: name one from `prefbench list tasks`."),
        ({"aligner": None}, "--aligner is missing: name one from `prefbench list aligners`."),
    ],
)
def test_what_is_wrong_is_said_in_one_line(changes, said):
    with pytest.raises(UserError) as caught:
        make_spec(**{**TASK, **changes})
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_defaults_are_filled_in_so_that_saying_one_changes_nothing():
    plain = make_spec(**TASK)
    said = make_spec(**TASK, model="nano", data="synthetic", seed=0, sets={"task": {"annotators": "40"}})
    assert plain == said
    assert plain.hash == said.hash
    assert plain.task_options["annotators"] == 40
    assert plain.evaluate_options == {"samples": 1}


def test_an_option_that_can_only_be_none_may_be_said_to_be():
    options = {"aligner": {"select_clusters": "none"}}
    assert make_spec(**TASK | {"aligner": "em_dpo"}, sets=options) == make_spec(
        **TASK | {"aligner": "em_dpo"}
    )


def test_text_and_typed_values_are_the_same_options():
    text = {"task": {"temperature": "1"}, "aligner": {"normalise": "false", "iterations": "5"}}
    typed = {"task": {"temperature": 1}, "aligner": {"normalise": False, "iterations": 5}}
    assert make_spec(**TASK, sets=text).hash == make_spec(**TASK, sets=typed).hash


@pytest.mark.parametrize(
    "changes",
    [
        {"aligner": "single_reward"},
        {"data": "imdb"},
        {"minority_ratio": 0.1},
        {"seed": 1},
        {"sets": {"task": {"annotators": 20}}},
        {"sets": {"aligner": {"iterations": 1}}},
        {"sets": {"model": {"width": 8}}},
        {"sets": {"evaluate": {"samples": 2}}},
    ],
)
def test_whatever_changes_a_run_changes_its_hash(changes):
    assert make_spec(**TASK).hash != make_spec(**{**TASK, **changes}).hash


def test_a_specification_is_frozen_and_survives_json():
    spec = make_spec(**TASK)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.seed = 1
    assert json.loads(json.dumps(spec.to_dict(), allow_nan=False)) == spec.to_dict()


def test_sets_are_taken_apart_at_the_first_dot_and_the_first_equals_sign():
    items = ["aligner.text= it = a.b", "task.x=1", "task.x=2", "task.y="]
    assert parse_sets(items) == {"aligner": {"text": "it = a.b"}, "task": {"x": "2", "y": ""}}


@pytest.mark.parametrize("item", ["annotators=4", "task.annotators", "task.=4", "", "="])
def test_a_set_that_cannot_be_taken_apart_is_shown_how_to_write(item):
    with pytest.raises(UserError, match=r"write it as SECTION\.NAME=VALUE"):
        parse_sets([item])


def test_a_run_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml: no such file"):
        read_toml(str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("task = \n")
    with pytest.raises(UserError, match=r"broken\.toml: not a readable TOML file"):
        read_toml(str(broken))
    with pytest.raises(UserError, match="not a readable TOML file"):
        read_toml(str(tmp_path))
    (tmp_path / "latin.toml").write_bytes(b'task = "caf\xe9"')
    with pytest.raises(UserError, match="not a readable TOML file"):
        read_toml(str(tmp_path / "latin.toml"))


@pytest.mark.parametrize(
    "text",
    ["seed = " + "1" * 5000, "plugin = " + "[" * 5000, 'task = "\udc80"'.encode("utf-8", "surrogatepass")],
)
def test_a_run_file_that_no_parser_takes_is_one_line(text, tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match="not a readable TOML file") as caught:
        read_toml(str(path))
    assert "\n" not in str(caught.value)


def test_a_ratio_beyond_all_floats_is_refused():
    with pytest.raises(UserError, match="minority ratio"):
        parse_ratio(10**4000)


def test_a_stored_specification_is_read_by_the_names_of_today():
    stored = {**make_spec(**TASK, model="gpt2").to_dict()}
    today = stored["model_options"]
    former = {"sft_steps": 7, "sft_batch": today["batch"], "sft_learning_rate": today["learning_rate"]}
    kept = {name: value for name, value in today.items() if f"sft_{name}" not in former}
    spec = stored_spec({**stored, "model_options": {**kept, **former}})
    assert spec == make_spec(**TASK, model="gpt2", sets={"model": {"steps": 7}})
