"""A study of reports: its cells, what is read of their records, what policies are worth, what is refused."""

import io

import pytest
from rich.console import Console

from prefbench import registry
from prefbench.errors import UserError
from prefbench.evaluate.exaggeration import PAID, UNPAID
from prefbench.record.files import read_record
from prefbench.running.run import run
from prefbench.spec import run_name
from prefbench.sweep.exaggeration import measured, study, values_of
from support.commands import typed
from support.small_world import SMALL

SMALLEST = {"task": SMALL}


@pytest.fixture(scope="module", autouse=True)
def plugins():
    registry.load_plugins()


def small(**more):
    few = {"seeds": 1, "factors": (-1.0,), "reliabilities": (0.5,), "sets": SMALLEST, "minority_ratio": 0.3}
    return study("bandit_two_group", ["single_reward"], **{**few, **more})


def test_the_cells_differ_in_what_is_reported_and_in_nothing_else():
    of = small(seeds=2, factors=(-1.0, 2.0))
    cells = list(of.cells())
    # Truth, coins, and three reports of either group by all of it and by one annotator.
    assert len(cells) == 2 * (2 + 2 * 2 * 3)
    assert len({spec.hash for _, spec in cells}) == len(cells)
    names = [group.name for group in of.problem().groups]
    case, spec = cells[-1]
    assert case == {
        "aligner": "single_reward",
        "seed": 1,
        "reliability": 1.0,
        "group": names[1],
        "annotators": "1",
        "report": names[0],
    }
    assert spec.task_options == {
        **cells[0][1].task_options,
        "reporting": {names[1]: names[0]},
        "reporters": {names[1]: 1},
    }
    assert {spec.aligner for _, spec in cells} == {"single_reward"}


def test_what_is_run_is_read_and_the_reference_rows_stand_beside_it(tmp_path):
    of = small(factors=(), reliabilities=())
    cells = list(of.cells())
    assert [run(spec, tmp_path)[1].status for _, spec in cells] == ["ok"] * 5
    frame, failed = measured(of, tmp_path, Console(file=io.StringIO()), quiet=True)  # nothing is left to run
    assert failed == [] and set(frame["aligner"]) == {"single_reward", UNPAID, PAID}
    runs = frame[frame["aligner"] == "single_reward"]
    assert len(runs) == len(cells) and runs.notna().all().all()
    for (case, spec), (_, row) in zip(cells, runs.iterrows(), strict=True):
        record = read_record(tmp_path / run_name(spec))
        assert {name: row[name] for name in case} == case
        values = {name: row[f"value/{name}"] for name in values_of(record)}
        assert values == {group.name: group.value for group in record.regret.groups} == values_of(record)
    assert runs["value/" + of.problem().minority].nunique() > 1  # reports do move a policy


def test_of_a_policy_that_is_told_who_asks_its_annotators_values_count(tmp_path):
    _, spec = next(study("bandit_two_group", ["known_groups_personal"], sets=SMALLEST).cells())
    _, record = run(spec, tmp_path)
    told = values_of(record)
    assert told == {group.name: group.value for group in record.people.strata[0].exact.groups}
    assert told != {group.name: group.value for group in record.regret.groups}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"aligners": ["gold_maxmin"]}, "aligner 'gold_maxmin' is a ceiling: no label moves it"),
        ({"aligners": ["crowd_pref"]}, "set task.labels_per_pair=3"),
        ({"task": "imdb_two_group"}, "task 'imdb_two_group' is no world that is drawn"),
        ({"sets": {"task": {"reliability": 0.5}}}, "option task.reliability is what a study goes through"),
        ({"sets": {"aligner": {"clusters": 2}}}, "option aligner.clusters: none of these aligners has it"),
        ({"seeds": 0}, "seeds '0' is not a whole number from 1 up"),
    ],
)
def test_what_cannot_be_studied_is_one_line(more, said):
    given = {"task": "bandit_two_group", "aligners": ["single_reward"], **more}
    with pytest.raises(UserError) as caught:
        study(given.pop("task"), given.pop("aligners"), **given)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_all_learners_that_fit_are_studied_where_none_is_named():
    names = study("bandit_two_group").aligners
    assert {"dpo", "maxmin", "pessimistic_median"} <= set(names)
    assert not {"gold_maxmin", "reference", "crowd_pref"} & set(names)
    assert "crowd_pref" in study("bandit_two_group", sets={"task": {"labels_per_pair": 2}}).aligners


def test_the_command_refuses_in_one_line():
    outcome = typed("exaggeration", "--task", "bandit_two_group", "--reliability", "1.5")
    assert outcome.code == 2 and "--reliability is a share" in outcome.error
