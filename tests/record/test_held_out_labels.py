"""Held-out labels of people: numbers by hand, evidence of runs, and what is no evidence."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from prefbench.boards.pack import write_board
from prefbench.boards.submission import submit
from prefbench.boards.verify import verify_board
from prefbench.errors import UserError
from prefbench.problem.held_out import held_out_labels
from prefbench.record.evidence import HELD_OUT_COLUMNS, read_items, write_items
from prefbench.record.files import HELD_OUT_FILE, find_records, read_record, write_record
from prefbench.record.schema_held_out import HeldOutRecord
from prefbench.record.summary_held_out import summarise_held_out
from prefbench.record.verify import verify
from prefbench.report.held_out_table import held_out_table
from prefbench.report.tables import render
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from prefbench.stats.crossed import RESAMPLES, crossed_means, drawn_prompts
from support.brought import brought, brought_world

PEOPLE = ["task.unseen_annotators=4", "task.context_pairs=4"]


def table(rows):
    """Rows of label, prompt, person, group, margin of the policy, and maybe strength."""
    return pd.DataFrame(
        {
            "label": [row[0] for row in rows],
            "prompt_id": [row[1] for row in rows],
            "person": [row[2] for row in rows],
            "group": [row[3] for row in rows],
            "seen": True,
            "n": 5,
            "strength": [row[5] if len(row) > 5 else 1.0 for row in rows],
            "implicit": [row[4] for row in rows],
            "reward": np.nan,
        }
    )


ROWS = [
    (0, 0, "ann", "x", 1.0),
    (1, 1, "ann", "x", -2.0),
    (2, 0, "bob", "x", 0.0),  # equal margins count one half
    (3, 2, "cem", "y", 3.0),
    (4, 0, "cem", "y", -9.0, 0.5),  # a tie counts nowhere
]


def test_numbers_by_hand():
    found = HeldOutRecord.model_validate(summarise_held_out(table(ROWS), ["x", "y"], 0))
    assert found.ties == 1
    (seen,) = found.strata
    assert (seen.seen, seen.n, seen.reward) == (True, None, None)
    first, second = seen.implicit.groups
    assert (first.name, first.labels, first.people, first.accuracy) == ("x", 3, 2, 0.5)
    assert (second.name, second.labels, second.people, second.accuracy) == ("y", 1, 1, 1.0)
    assert second.ci_low < 0.5  # one label: Wilson's, where no resample varies
    assert (seen.implicit.worst_group, seen.implicit.worst_group_accuracy) == ("x", 0.5)
    assert seen.implicit.people_accuracy == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert seen.implicit.worst_tenth == 0.5
    unknown = summarise_held_out(table(ROWS).assign(implicit=np.nan), ["x", "y"], 0)
    assert unknown["strata"][0]["implicit"] is None


@given(st.permutations(range(5)), st.floats(0.01, 100))
def test_neither_the_order_of_rows_nor_a_scale_of_the_reward_counts(order, scale):
    whole = table(ROWS)
    turned = whole.iloc[list(order)].assign(implicit=lambda rows: rows["implicit"] * scale)
    assert summarise_held_out(turned, ["x", "y"], 0) == summarise_held_out(whole, ["x", "y"], 0)


def test_resampled_means_by_hand():
    people, prompts = np.array([[1, 1], [2, 0], [0, 2]]), np.array([[1, 1], [0, 2], [2, 0]])
    means = crossed_means(people, prompts, [1.0, 0.0, 1.0], [0, 0, 1], [0, 1, 1])
    # All three; only ann's second, four times; bob's only prompt is not drawn.
    assert means[0] == pytest.approx(2 / 3) and means[1] == 0 and np.isnan(means[2])


def test_intervals_cover_people_who_differ():
    """People whose accuracies lie far apart make a wide interval, however many labels each gave."""
    rng = np.random.default_rng(0)
    right = rng.random((6, 400)) < np.array([0.2, 0.9, 0.3, 0.8, 0.4, 0.7])[:, None]
    person, prompt = np.repeat(np.arange(6), 400), np.tile(np.arange(400), 6)
    taken, drawn = drawn_prompts(6, rng), drawn_prompts(400, rng)
    means = crossed_means(taken, drawn, right.ravel().astype(float), person, prompt)
    assert means.shape == (RESAMPLES,)
    assert np.std(means) == pytest.approx(np.std(right.mean(axis=1)) / np.sqrt(6), rel=0.15)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="reward"), "has no column 'reward'"),
        (lambda t: t.assign(group="z"), "a group that there is none of"),
        (lambda t: t.assign(strength=0.5), "no label that prefers a response"),
        (lambda t: t.assign(implicit=[1.0, np.inf, 0, 0, 0]), "is not finite"),
    ],
)
def test_what_is_no_evidence(change, said):
    with pytest.raises(UserError, match=said):
        summarise_held_out(change(table(ROWS)), ["x", "y"], 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of a policy for everybody, and of one that is told of people."""
    folder = tmp_path_factory.mktemp("runs")
    with brought():
        yield {
            name: run(make_spec(task="brought_world", aligner=name, sets=parse_sets(PEOPLE)), folder)
            for name in ("dpo", "em_personal", "gold_personal")
        }


def test_a_run_has_the_accuracy_of_both_rewards(runs):
    folder, record = runs["dpo"]
    seen, nothing = record.held_out.strata
    assert (seen.seen, nothing.seen, nothing.n) == (True, False, 0)
    assert seen.reward is None and seen.implicit is not None
    evidence = read_items(folder, HELD_OUT_FILE)
    assert list(evidence) == list(HELD_OUT_COLUMNS)
    policy = seen.implicit.groups[0]
    mine = evidence[evidence["seen"] & (evidence["group"] == policy.name)]
    assert policy.accuracy == pytest.approx(((np.sign(mine["implicit"]) + 1) / 2).mean())
    assert policy.accuracy > 0.6  # it has learned what the majority wants
    personal = runs["em_personal"][1].held_out
    assert [(stratum.seen, stratum.n) for stratum in personal.strata] == [
        (True, None), (False, 0), (False, 1), (False, 2), (False, 4),
    ]  # fmt: skip
    assert all(stratum.reward is not None for stratum in personal.strata)
    assert "held-out labels" in render(held_out_table(record), Console(width=100))
    assert held_out_table(record.model_copy(update={"held_out": None})) is None


def test_who_is_told_of_people_orders_their_labels_better(runs):
    """The true utility of each one's group orders almost all; of whoever names none it cannot."""
    strata = runs["gold_personal"][1].held_out.strata
    seen, nothing, one_pair = (stratum.implicit.worst_group_accuracy for stratum in strata[:3])
    everybody = runs["dpo"][1].held_out.strata[0].implicit.worst_group_accuracy
    assert min(seen, one_pair) > 0.9 and everybody < 0.85 and nothing < 0.85


def test_labels_below_one_half_are_turned():
    problem = brought_world("synthetic", 0.25, 0)
    table = problem.given.assign(strength=0.2)
    held_out = held_out_labels(replace(problem, given=table), 0)
    test = problem.given[problem.given["split"] == "test"]
    assert held_out["chosen"].tolist() == test["rejected"].tolist()
    assert set(held_out["strength"]) == {0.8} and held_out["turned"].all()


def test_edits_of_the_evidence_are_found(runs, tmp_path):
    for name, change, said in [
        ("person", lambda t: t.assign(person="person 3"), "person is not that of the task's labels"),
        ("twice", lambda t: pd.concat([t, t.head(1)]), "has a label twice"),
        ("fewer", lambda t: t[t["label"] > 3], "does not have the labels that the task holds out"),
        (
            "n",
            lambda t: t.assign(n=t["n"].where(~t["seen"], 99)),
            "n is not the number of labels in training",
        ),
    ]:
        folder = shutil.copytree(runs["dpo"][0], tmp_path / name)
        changed = change(read_items(folder, HELD_OUT_FILE))
        write_items(changed, folder, HELD_OUT_FILE)
        record = read_record(folder)
        groups = [group.name for group in record.groups]
        found = HeldOutRecord.model_validate(summarise_held_out(changed, groups, record.seed))
        write_record(record.model_copy(update={"held_out": found}), folder)
        assert verify(folder) == []
        (checked,) = verify_board([folder])
        assert any(said in sentence for sentence in checked.wrong), (name, checked.wrong)


def test_honest_runs_follow_and_go_with_their_evidence(runs, tmp_path):
    found = verify_board([folder for folder, _ in runs.values()])
    assert [each.wrong for each in found] == [[], [], []]
    assert [each.unchecked for each in found] == [[], [], []]
    packed = submit([folder for folder, _ in runs.values()], tmp_path / "board")
    for folder in packed:
        assert list(read_items(folder, HELD_OUT_FILE)) == list(HELD_OUT_COLUMNS) and verify(folder) == []
    write_board(packed, {}, tmp_path / "board.zip")
    found = find_records(tmp_path / "board.zip")
    assert [verify(folder) for folder, _ in found] == [[], [], []]
    assert all(record.held_out is not None for _, record in found)
