"""Runs on validation prompts: what they measure, and that no board takes them in."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from prefbench import registry
from prefbench.boards.compare import compare_aligners
from prefbench.boards.pack import pack
from prefbench.boards.rows import load_rows
from prefbench.boards.submission import submit
from prefbench.boards.verify import verify_board
from prefbench.errors import UserError
from prefbench.estimate.estimate import problem_of
from prefbench.problem.problem import Group, Problem, Prompts, without_test
from prefbench.problem.utilities.content import Conciseness
from prefbench.record.evidence import read_items
from prefbench.record.files import find_records
from prefbench.running.run import run
from prefbench.spec import make_spec, run_name
from support.runs import spec_of
from support.small_world import SMALL, WORLD


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A runs folder with a run on test prompts and its twin on validation prompts, of a world."""
    runs = tmp_path_factory.mktemp("runs")
    specs = [
        make_spec(task=WORLD, aligner="dpo", sets={"task": SMALL}, split=split)
        for split in ("test", "validation")
    ]
    return runs, [run(spec, runs) for spec in specs]


def test_a_split_renames_no_run_that_has_none(both):
    _, ((_, test), (_, validation)) = both
    assert "split" not in test.spec and "tuning" not in test.spec
    assert validation.spec == {**test.spec, "split": "validation"}
    assert test.spec_hash != validation.spec_hash


def test_a_world_is_measured_on_the_states_of_its_validation_prompts(both):
    _, (_, (folder, record)) = both
    prompts = problem_of(make_spec(task=WORLD, aligner="dpo", sets={"task": SMALL})).prompts
    assert read_items(folder)["prompt"].tolist() == list(prompts.validation)
    selection = record.selection
    assert selection.measure == "value"
    values = [group.value for group in record.regret.groups]
    shares = [group.share for group in record.groups]
    assert selection.S0 == pytest.approx(np.average(values, weights=shares))
    assert (selection.S2, selection.S3) == (min(values), -record.regret.egalitarian_regret)


def test_texts_are_judged_by_annotators_whose_judgements_lie_beside_the_record(tmp_path):
    spec = replace(spec_of("maxmin"), split="validation")
    folder, record = run(spec, tmp_path)
    problem = problem_of(spec)
    assert problem.prompts.test == () and record.n_prompts == len(problem.prompts.validation)
    judged = pd.read_parquet(folder / "judgements.parquet")
    each = min(problem.pairs_per_annotator, len(problem.prompts.validation))
    assert len(judged) == problem.annotators * each
    assert record.selection.S0 == pytest.approx(judged["won"].mean())
    assert record.selection.S3 == record.worst_group_win_rate
    stored = json.loads((tmp_path / "stages" / "pairs" / record.stages["pairs"] / "done.json").read_text())
    pairs = pd.read_parquet(tmp_path / "stages" / "pairs" / record.stages["pairs"] / "pairs.parquet")
    assert stored["stage"] == "pairs" and set(pairs["split"]) == {"train", "validation"}
    assert all(group.reward_accuracy is not None for group in record.groups)  # of the validation pairs


def test_it_follows_from_its_evidence_but_no_board_takes_it_in(both, tmp_path):
    runs, ((test, _), (folder, _)) = both
    assert [each.wrong for each in verify_board([test, folder])] == [[], []]
    assert [row.first.split for row in load_rows(runs)] == ["test"]
    pack([runs], tmp_path / "board.zip")
    assert [record.split for _, record in find_records(tmp_path / "board.zip")] == ["test"]
    with pytest.raises(UserError, match="was measured on validation prompts, in tuning: it is of no board"):
        submit([folder], tmp_path / "packed")
    with pytest.raises(UserError, match="was measured in tuning, on no test prompt"):
        compare_aligners(str(test), str(folder), runs)
    with pytest.raises(UserError, match="no run of"):
        compare_aligners(json.loads((folder / "record.json").read_text())["spec_hash"], "dpo", runs)


def test_a_record_that_calls_its_split_otherwise_is_found(both, tmp_path):
    _, (_, (folder, record)) = both
    copy = tmp_path / folder.name
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "record.json").write_text(record.model_copy(update={"split": "test"}).model_dump_json())
    (found,) = verify_board([copy])
    assert "split is 'test', specified 'validation'" in found.wrong


def test_brought_labels_of_test_prompts_are_out_of_it_too():
    rows = [("train", 1, "a"), ("train", 2, "b"), ("validation", 1, "a"), ("test", 2, "b")]
    prompts = {split: (f"of {split}",) for split in ("train", "validation", "test")}
    given = pd.DataFrame(
        {
            "split": [split for split, _, _ in rows],
            "prompt": [f"of {split}" for split, _, _ in rows],
            "chosen": "yes",
            "rejected": "no",
            "user_id": [user for _, user, _ in rows],
            "group": [group for _, _, group in rows],
        }
    )
    groups = tuple(Group(name, 0.5, Conciseness(empty=-9.0)) for name in "ab")
    more = {"corpus": (), "temperature": 1.0, "response_tokens": 4, "given": given}
    problem = Problem(groups=groups, prompts=Prompts(**prompts), **more)
    left = without_test(problem)
    assert set(left.given["split"]) == {"train", "validation"}
    assert (left.annotators, left.groups) == (problem.annotators, problem.groups)
    assert not set(problem.prompts.test) & {*left.given["prompt"], *left.measured}
    assert left.measured == problem.prompts.validation and problem.measured == problem.prompts.test


def test_a_task_without_validation_prompts_cannot_be_tuned():
    problem = registry.get("task", "imdb_two_group").function("synthetic", 0.2, 0)
    with pytest.raises(UserError, match="no validation prompts"):
        without_test(replace(problem, prompts=Prompts(problem.prompts.train, (), problem.prompts.test)))


def test_run_names_differ(both):
    _, ((test, one), (validation, other)) = both
    assert test.name != validation.name
    assert test.name == run_name(make_spec(task=WORLD, aligner="dpo", sets={"task": SMALL}))
    assert (one.split, other.split) == ("test", "validation")
