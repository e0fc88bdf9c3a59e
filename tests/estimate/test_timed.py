"""Times that are shipped: the file fits what is registered, and its script takes them of usual runs alone."""

import dataclasses
from importlib import util
from pathlib import Path

import pytest

from prefbench import registry
from prefbench.estimate.timed import table, timed
from prefbench.record.files import find_records, write_record
from prefbench.spec import make_spec
from prefbench.sweep.cell import Job
from prefbench.sweep.plan import SHARED_STAGES, make_plan, plan_lines, time_line

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    spec = util.spec_from_file_location("timings", ROOT / "leaderboard" / "scripts" / "timings.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def records():
    """The published runs of the gate, of one aligner on one task."""
    found = find_records(ROOT / "leaderboard" / "baseline")
    return [record for _, record in found if record.aligner == "maxmin"]


def test_every_row_is_of_what_is_here_and_names_stages_of_a_run():
    rows = table().rows
    assert len({(row.task, row.model, row.aligner) for row in rows}) == len(rows)
    for row in rows:
        spec = make_spec(task=row.task, aligner=row.aligner, model=row.model, sets=voted(row.aligner))
        assert timed(spec) == row
        assert set(row.shared) <= set(SHARED_STAGES) and "policy" in row.own
        assert all(0 <= seconds < 3600 for seconds in [*row.shared.values(), *row.own.values()])


def voted(aligner):
    """Options without which an aligner that compares people's labels is refused."""
    return {"task": {"labels_per_pair": "3"}} if "votes" in registry.get("aligner", aligner).needs else {}


def test_default_tasks_have_times_for_what_is_shown_first():
    timed_here = {(row.task, row.aligner) for row in table().rows}
    for task in registry.placed("task"):
        for aligner in registry.placed("aligner"):
            if task.backbone in aligner.backbones and aligner.needs <= task.provides:
                assert (task.name, aligner.name) in timed_here


def test_a_row_is_the_median_of_runs_that_computed_a_stage(script, records, tmp_path):
    for record, seconds in zip(records, (4.0, 2.0, 3.0, 0.01, 0.0), strict=True):
        changed = record.model_copy(update={"timings": {"pairs": seconds / 2, "policy": seconds}})
        write_record(changed, tmp_path / f"run-{record.seed}")
    (row,) = script.rows_of([tmp_path])
    assert (row["task"], row["aligner"], row["runs"]) == ("bandit_two_group", "maxmin", 5)
    assert (row["shared"], row["own"]) == ({"pairs": 1.5}, {"policy": 3.0})


def test_runs_with_options_of_their_own_or_that_failed_are_left_out(script, records):
    usual = records[0]
    spec = {**usual.spec, "aligner_options": {**usual.spec["aligner_options"], "clusters": 3}}
    assert script.timings(usual) == usual.timings
    assert script.timings(usual.model_copy(update={"spec": spec})) is None
    assert script.timings(usual.model_copy(update={"status": "diverged"})) is None
    assert script.timings(usual.model_copy(update={"numerics": 1})) is None
    # Half as many prompts: what is sampled and scored would have taken twice as long.
    usual_prompts = usual.spec["task_options"]["test_prompts"]
    task = {**usual.spec["task_options"], "test_prompts": usual_prompts // 2}
    fewer = usual.model_copy(
        update={"spec": {**usual.spec, "task_options": task}, "timings": {"samples": 1.0, "policy": 1.0}}
    )
    assert script.timings(fewer) == {"samples": 2.0, "policy": 1.0}


def test_the_first_source_with_runs_of_an_aligner_counts(script, records, tmp_path):
    for name, seconds in (("one", 1.0), ("two", 2.0)):
        write_record(records[0].model_copy(update={"timings": {"policy": seconds}}), tmp_path / name / "run")
    single = tmp_path / "one" / "run" / "record.json"
    assert script.rows_of([single, tmp_path / "two"])[0]["own"] == {"policy": 1.0}
    assert script.rows_of([tmp_path / "two", single])[0]["own"] == {"policy": 2.0}


def test_an_estimate_from_elsewhere_is_a_range(tmp_path):
    spec = make_spec(task="imdb_two_group", aligner="maxmin")
    plan = make_plan([spec], tmp_path)
    row = timed(spec)
    whole = sum(row.own.values()) + sum(row.shared.values())
    assert (plan.seconds, plan.borrowed) == (pytest.approx(whole), pytest.approx(whole))
    assert plan.spread == (pytest.approx(whole / 2), pytest.approx(2 * whole))
    assert time_line(plan).endswith("by runs on another machine at default options.")
    assert plan_lines(plan, Job(tmp_path))[-1].endswith("by runs on another machine at default options")
    unknown = dataclasses.replace(spec, aligner="nobody")
    assert timed(unknown) is None
