"""Every field of a record is checked or listed with a reason; boards; the command."""

import json
import shutil
import typing

import pandas as pd
import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from prefbench.backbone.options import FiniteOptions
from prefbench.boards.submission import submit
from prefbench.boards.verify import runs_in, verify_board
from prefbench.cli.entry import app
from prefbench.problem.utilities.protocol import Utility
from prefbench.record.checked import Checked
from prefbench.record.evidence import read_items, write_items
from prefbench.record.fields import CHECKED, UNCHECKED
from prefbench.record.files import read_record, write_record
from prefbench.record.schema import Record
from prefbench.record.summary import summarise_prompted
from prefbench.record.verify_utilities import check_utility
from prefbench.running.run import run
from prefbench.spec import digest, make_spec, parse_sets
from prefbench.tools.prompts import problem_stated
from prefbench.tools.rerun import draw, rerun
from support.brought import brought
from support.evaluated_once import evaluated_once
from support.personal import personal
from support.small_world import SMALL
from support.tiny import TINY_ALIGNER, TINY_SETS


def leaves(model, path=""):
    """Paths of all fields of a model, those of models within it too."""
    for name, field in model.model_fields.items():
        inner = [part for part in flat(field.annotation) if issubclass(part, BaseModel)]
        if inner:
            yield from leaves(inner[0], f"{path}{name}.")
        else:
            yield f"{path}{name}"


def flat(annotation):
    """Classes anywhere in an annotation."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return [annotation]
    return [part for inner in typing.get_args(annotation) for part in flat(inner)]


def test_every_field_is_checked_or_has_a_reason_why_not():
    assert sorted(leaves(Record)) == sorted([*CHECKED, *UNCHECKED])
    assert all([*CHECKED.values(), *UNCHECKED.values()])


@pytest.fixture(autouse=True, scope="module")
def tables_evaluated_once():
    """Here few tables stand beside many records."""
    with evaluated_once():
        yield


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Runs with a mixture, two seeds; with instructions, a world, from outside, people, brought labels."""
    runs = tmp_path_factory.mktemp("runs")
    quick = [f"aligner.{name}={value}" for name, value in TINY_ALIGNER.items()]
    tiny, persona = parse_sets([*TINY_SETS, *quick]), parse_sets(TINY_SETS)
    specs = [make_spec(task="imdb_two_group", aligner="maxmin", seed=seed, sets=tiny) for seed in (0, 1)]
    specs += [make_spec(task="tulu_style", aligner="reference", sets=persona)]
    tuning = {"digest": "0" * 16, "configurations": 16, "tokens": 5, "rule": "S0"}
    specs += [make_spec(task="bandit_two_group", aligner="dpo", tuning=tuning)]
    stated = problem_stated("imdb_two_group", "synthetic", 0.2, 0, persona["task"])
    rows = [{"prompt": prompt, "response": "a joy ."} for prompt in stated.prompts.test]
    answers = runs.parent / f"{runs.name}.jsonl"
    answers.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    named = {"trainer": "somebody", "link": "https://example.org"}
    specs += [make_spec(task="imdb_two_group", policy=f"responses:{answers}", named=named, sets=persona)]
    people = {**SMALL, "annotators": 8, "unseen_annotators": 8, "spread": 0.5}
    with personal(), brought():
        specs += [make_spec(task="bandit_two_group", aligner="own_reward", sets={"task": people})]
        few = {"unseen_annotators": 4, "context_pairs": 2}
        specs += [make_spec(task="brought_world", aligner="em_personal", sets={"task": few})]
        yield [run(spec, runs)[0] for spec in specs]


def edited(value):
    """Something else that the schema takes."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value + 0.03 if value < 0.5 else value - 0.03
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return [*value[:-1], edited(value[-1])] if value else ["oracle"]
    if isinstance(value, dict) and all(isinstance(inner, dict) for inner in value.values()):
        return {name: {key: edited(each) for key, each in inner.items()} for name, inner in value.items()}
    if isinstance(value, dict):
        return {**value, "source": "elsewhere"}
    return "failed" if value == "ok" else f"{value}x"


@pytest.mark.parametrize("path", [name for name in CHECKED if name != "code"])
def test_an_edit_of_a_checked_field_is_found(honest, tmp_path, path):
    tried = 0
    for folder in honest:
        plain = json.loads((folder / "record.json").read_text())
        *way, last = path.split(".")
        places = [plain]
        for name in way:
            inner = [place[name] for place in places if place[name] is not None]
            places = [each for part in inner for each in (part if isinstance(part, list) else [part])]
        places = [place for place in places if place[last] is not None]
        if not places:
            continue
        places[0][last] = edited(places[0][last])
        copy = shutil.copytree(folder, tmp_path / folder.name)
        (copy / "record.json").write_text(json.dumps(plain))
        (found,) = verify_board([copy])
        assert found.wrong, path
        tried += 1
    assert tried


def test_honest_runs_follow(honest):
    found = verify_board(honest)
    assert [(each.wrong, each.odd, each.unchecked) for each in found] == [([], [], [])] * len(honest)


def test_an_option_that_has_another_name_today_is_read_by_its_former_one(honest, tmp_path, monkeypatch):
    folder = shutil.copytree(honest[3], tmp_path / "run")
    record = read_record(folder)
    options = dict(record.spec["model_options"])
    options["ridge"] = options.pop("penalty")
    spec = {**record.spec, "model_options": options}
    usual = {**record.defaults["model"], "ridge": record.defaults["model"]["penalty"]}
    new = {"defaults": {**record.defaults, "model": {name: usual[name] for name in options}}}
    write_record(record.model_copy(update={**new, "spec": spec, "spec_hash": digest(spec)[:16]}), folder)
    assert "unknown option model.ridge" in verify_board([folder])[0].wrong[0]
    monkeypatch.setattr(FiniteOptions, "former", {"ridge": "penalty"})
    checked = verify_board([folder])
    assert checked[0].wrong == []
    (again,) = rerun(checked)
    assert (again.said, again.wrong) == ("text by text", ())


def test_an_edit_of_prompted_evidence_is_found(honest, tmp_path):
    folder = shutil.copytree(honest[2], tmp_path / "run")
    table = read_items(folder, "prompted.parquet")
    names = ["utility", "reference_utility"]
    for change, said in [
        (table.assign(**(table[names] + 1)), "prompted, is not what the task computes"),
        (table.assign(prompt=table["prompt"] + " !"), "are not the task's with its instruction"),
        (table.assign(reference_empty=True), "reference_empty does not fit"),
    ]:
        write_items(change, folder, "prompted.parquet")
        plain = json.loads((honest[2] / "record.json").read_text())
        groups = [(group["name"], group["share"], group["is_minority"]) for group in plain["groups"]]
        by_group, worst = summarise_prompted(change, groups, plain["seed"])
        for group in plain["groups"]:
            group["prompted"] = by_group[group["name"]]
        write_record(Record.model_validate(plain | worst), folder)
        (found,) = verify_board([folder])
        assert any(said in sentence for sentence in found.wrong), found.wrong


def test_a_row_whose_seeds_differ_in_code_is_called_mixed(honest, tmp_path):
    for index, folder in enumerate(honest[:2]):
        copy = shutil.copytree(folder, tmp_path / folder.name)
        record = read_record(copy)
        if index:
            write_record(record.model_copy(update={"code": "0" * 16}), copy)
    for found in verify_board(runs_in(tmp_path)):
        assert found.wrong == []
        assert any("its row is mixed" in said and "0" * 16 in said for said in found.odd)


def test_one_specification_twice_is_named(honest, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(honest[3], tmp_path / name)
    for found in verify_board(runs_in(tmp_path)):
        assert "is a run of the same specification" in found.wrong[0]


def test_a_stranger_decides_neither_what_is_fetched_nor_how_much_is_built(honest, tmp_path):
    """Hub data, files and servers named in a specification, and sizes that would fill the memory."""
    for name, change, said in [
        ("data", {"data": "imdb"}, "verifying fetches none"),
        ("size", {"synthetic_size": 10**9}, "too large a problem"),
        ("place", {"sentiment": "https://example.org/model"}, "names a file or an address"),
    ]:
        folder = shutil.copytree(honest[0], tmp_path / name)
        record = read_record(folder)
        spec = {**record.spec, **{key: value for key, value in change.items() if key == "data"}}
        spec["task_options"] |= {key: value for key, value in change.items() if key != "data"}
        new = {"spec": spec, "spec_hash": digest(spec)[:16], "data": spec["data"]}
        write_record(record.model_copy(update=new), folder)
        (found,) = verify_board([folder])
        assert found.wrong == [] and any(said in reason for reason in found.unchecked), found
        drawn, (passed,) = draw([found], 1, seed=0)
        assert drawn == [] and passed.how is None and said in passed.said


class Verdicts(Utility):
    """A judge whose cache holds every other verdict."""

    name = "judge"
    unit = "verdict"

    def recalled(self, runs_dir, prompts, first, second):
        ours = pd.Series([1.0, float("nan")] * (len(prompts) // 2)).to_numpy()
        return ours, 1 - ours


def test_verdicts_beside_the_runs_are_held_against_the_columns_and_missing_ones_are_told(tmp_path):
    table = pd.DataFrame(
        {"response": ["a"] * 4, "reference_response": ["b"] * 4, "mine": [1.0] * 4, "theirs": [0.0] * 4}
    )
    group = type("G", (), {"utility": Verdicts(), "name": "g"})()
    good, bad = Checked(tmp_path / "run"), Checked(tmp_path / "run")
    check_utility(good, group, table, ["?"] * 4, ("mine", "theirs"), "g")
    assert good.wrong == [] and good.unchecked == ["utility of g: 2 of 4 verdicts are not beside the runs"]
    check_utility(bad, group, table.assign(mine=0.0, theirs=1.0), ["?"] * 4, ("mine", "theirs"), "g")
    assert "in 2 rows" in bad.wrong[0]


def test_the_command_samples_recomputes_and_says_what_no_record_is_checked_for(honest, tmp_path):
    runs = tmp_path / "runs"
    submit([honest[3]], runs)
    words = ["leaderboard", "verify", "--runs-dir", str(runs)]
    good = CliRunner().invoke(app, [*words, "--rerun", "1", "--sample", "1", "--seed", "7"])
    assert good.exit_code == 0, good.output
    assert "1 of 1 records follow from their evidence\n" in good.output
    assert "1 of 1 runs are the same computed anew: 1 compared text by text, 0 by figures\n" in good.output
    assert "timings" in good.output and "text by text" in good.output
    (folder,) = runs.iterdir()
    spec = {**read_record(folder).spec, "task": "alien"}
    new = {"spec": spec, "spec_hash": digest(spec)[:16], "task": "alien"}
    write_record(read_record(folder).model_copy(update=new), folder)
    alien = CliRunner().invoke(app, words)
    assert "0 of 1 records follow" in alien.output and "1 are of a plug-in that is not here" in alien.output
    assert "not checked: task 'alien' is not here, name it with --plugin" in alien.output
    assert alien.exit_code == 1  # nothing was decided
