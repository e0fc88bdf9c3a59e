"""Exact values of people in worlds: closed forms, sums by hand, tables that were tampered with."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from prefbench.boards.verify import verify_board
from prefbench.errors import UserError
from prefbench.estimate.estimate import problem_of
from prefbench.evaluate.own_values import policies_in
from prefbench.problem.people import beyond, people_of
from prefbench.record.evidence import read_items, write_items
from prefbench.record.files import PEOPLE_FILE, POLICIES_FILE, read_record, write_record
from prefbench.record.schema import Record
from prefbench.record.summary_people import summarise_people
from prefbench.record.verify import verify
from prefbench.running.run import run
from prefbench.spec import make_spec, parse_sets
from support.personal import personal
from support.small_world import SMALL, WORLD

PEOPLE = {**SMALL, "annotators": 8, "unseen_annotators": 8, "features": "swapped"}


def world_run(runs, aligner, **more):
    """The specification of a run in a world, its folder and its record."""
    sets = parse_sets([f"task.{name}={value}" for name, value in {**PEOPLE, **more}.items()])
    spec = make_spec(task=WORLD, aligner=aligner, minority_ratio="3:1", sets=sets)
    folder, record = run(spec, runs)
    assert record.status == "ok", record.message
    return spec, folder, record


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A run whose policies are each one's own, of people who differ within groups."""
    with personal():
        yield world_run(tmp_path_factory.mktemp("own"), "own_reward", spread=0.5)


def test_what_wants_alike_has_its_groups_value(tmp_path):
    _, _, record = world_run(tmp_path, "maxmin")
    for stratum in record.people.strata:
        for person, group in zip(stratum.exact.groups, record.regret.groups, strict=True):
            assert (person.value, person.regret) == pytest.approx((group.value, group.regret), abs=1e-9)
        assert stratum.exact.worst_group_value == pytest.approx(min(g.value for g in record.regret.groups))
        assert stratum.exact.regret == pytest.approx(np.mean([g.regret for g in record.regret.groups]))
        assert stratum.exact.regret_worst_tenth == pytest.approx(record.regret.max_regret)


def test_the_reference_is_everybodys_zero_and_a_group_told_is_lost_nothing(tmp_path):
    _, folder, record = world_run(tmp_path, "reference", spread=0.5)
    table = read_items(folder, PEOPLE_FILE)
    assert table["value"].abs().max() < 1e-9 and table["best_value"].min() > 0
    assert record.people.strata[0].exact.regret > 0
    _, folder, record = world_run(tmp_path, "gold_personal", **{"beta": 0.1})
    told = [stratum.exact for stratum in record.people.strata if stratum.n != 0 and stratum.context == "own"]
    for exact in told:
        # Its utilities are scaled over the responses in the pairs, not over all.
        assert exact.regret < 0.02 and exact.regret_worst_tenth < 0.02
    (nobody,) = (stratum.exact for stratum in record.people.strata if stratum.n == 0)
    assert nobody.regret > 0.05


def test_a_value_is_a_sum_over_responses_of_her_own_utility(own):
    spec, folder, record = own
    problem, table = problem_of(spec), read_items(folder, PEOPLE_FILE)
    world, said = problem.world, record.people
    from prefbench.problem.people import Scales

    states, counts = np.unique(world.rows(problem.measured), return_counts=True)
    weight, reference = (counts / counts.sum())[:, None], world.reference[states]
    policies = policies_in(read_items(folder, POLICIES_FILE), reference.shape)
    rows = table[~table["seen"] & (table["n"] == 4) & (table["context"] == "own")].drop_duplicates("person")
    by_id = {str(person.id): person for person in people_of(problem, spec.seed)}
    assert len(rows) == 8
    for row in rows.itertuples():
        person, policy = by_id[row.person], policies[(row.person, False, 4, "own")]
        scales = Scales(said.group_scales, said.taste_scales)
        features = world.features[states].reshape(reference.size, -1)
        ids, groups = [person.id] * reference.size, [person.group] * reference.size
        utility = world.utilities[states, :, person.group] + beyond(
            problem, spec.seed, scales, ids, groups, features
        ).reshape(reference.shape)
        mean = (weight * reference * utility).sum()
        spread = math.sqrt((weight * reference * (utility - mean) ** 2).sum())
        kl = (weight * policy * np.log(policy / reference)).sum()
        value = (weight * policy * (utility - mean) / spread).sum() - world.beta * kl
        best = world.beta * (
            weight[:, 0] @ np.log((reference * np.exp((utility - mean) / spread / world.beta)).sum(axis=1))
        )
        assert (row.value, row.best_value) == pytest.approx((value, best), abs=1e-9)
        assert value <= best


def test_the_entry_is_of_people_counted_by_hand(own):
    _, folder, record = own
    table = read_items(folder, PEOPLE_FILE)
    for stratum in record.people.strata:
        rows = table[(table["seen"] == stratum.seen) & (table["context"] == stratum.context)]
        rows = rows[rows["n"] == stratum.n] if stratum.n is not None else rows
        people = rows.drop_duplicates("person").set_index("person")
        lost = (people["best_value"] - people["value"]).to_numpy()
        exact = stratum.exact
        assert exact.regret_worst_tenth == pytest.approx(lost.max())  # of eight people one is a tenth
        apart = np.abs(lost[:, None] - lost).mean() / (2 * lost.mean())
        assert exact.regret_gini == pytest.approx(apart)
        values = people.groupby("group")["value"].mean()
        assert {g.name: g.value for g in exact.groups} == pytest.approx(values.to_dict())
        assert (exact.worst_group, exact.worst_group_value) == (values.idxmin(), pytest.approx(values.min()))


def forged(source, into, change, file=PEOPLE_FILE):
    """The run with another table, and a record that follows from it."""
    folder = into / source.name
    for each in source.glob("*.parquet"):
        table = read_items(source, each.name)
        write_items(change(table) if each.name == file else table, folder, each.name)
    plain = json.loads((source / "record.json").read_text())
    groups = [group["name"] for group in plain["groups"]]
    plain["people"] |= summarise_people(read_items(folder, PEOPLE_FILE), groups, plain["seed"])
    write_record(Record.model_validate(plain), folder)
    assert verify(folder) == []
    return folder


@pytest.mark.parametrize(
    ("change", "file"),
    [
        (lambda t: t.assign(value=t["value"] + 0.01), PEOPLE_FILE),
        (lambda t: t.assign(best_value=t["best_value"] - 0.01), PEOPLE_FILE),
        (lambda t: t.assign(policy=t["policy"].to_numpy().reshape(-1, 8)[:, ::-1].ravel()), POLICIES_FILE),
    ],
)
def test_values_that_are_not_those_of_the_policies_are_found(own, tmp_path, change, file):
    with personal():
        (found,) = verify_board([forged(own[1], tmp_path, change, file)])
    assert any("values of people are not those of their policies" in line for line in found.wrong), (
        found.wrong
    )


def test_a_policy_that_is_no_distribution_is_found(own, tmp_path):
    with personal():
        folder = forged(own[1], tmp_path, lambda t: t.assign(policy=2 * t["policy"]), POLICIES_FILE)
        (found,) = verify_board([folder])
    assert any("is no distribution over responses" in line for line in found.wrong)


def test_without_the_policies_a_value_may_not_be_beyond_the_best(own, tmp_path):
    with personal():
        folder = forged(own[1], tmp_path / "one", lambda table: table)
        (folder / POLICIES_FILE).unlink()
        (found,) = verify_board([folder])
        assert found.wrong == [] and any(POLICIES_FILE in line for line in found.unchecked)
        folder = forged(own[1], tmp_path / "two", lambda t: t.assign(value=t["best_value"] + 0.1))
        (folder / POLICIES_FILE).unlink()
        (found,) = verify_board([folder])
        assert any("values of people are not those" in line for line in found.wrong)


def test_a_record_and_a_table_of_before_are_read_and_follow(own, tmp_path):
    _, source, _ = own
    folder = tmp_path / source.name
    for each in source.glob("*.parquet"):
        write_items(read_items(source, each.name), folder, each.name)
    write_items(read_items(source, PEOPLE_FILE).drop(columns=["value", "best_value"]), folder, PEOPLE_FILE)
    plain = json.loads((source / "record.json").read_text())
    for stratum in plain["people"]["strata"]:
        del stratum["exact"]
    (folder / "record.json").write_text(json.dumps(plain))
    assert all(stratum.exact is None for stratum in read_record(folder).people.strata)
    assert verify(folder) == [] and read_items(folder, PEOPLE_FILE)["value"].isna().all()
    with personal():
        (found,) = verify_board([folder])
    assert (found.wrong, found.unchecked) == ([], [])


def test_two_values_of_one_policy_for_one_person_are_refused(own):
    _, folder, record = own
    table = read_items(folder, PEOPLE_FILE)
    table.loc[table.index[0], "value"] += 1
    with pytest.raises(UserError, match="two values of one policy for one person"):
        summarise_people(table, [group.name for group in record.groups], 0)


def test_blocks_of_policies_are_of_one_case_each():
    whole = pd.DataFrame({"person": list("aabb"), "seen": True, "n": 1, "context": "own", "policy": 0.5})
    assert set(policies_in(whole, (1, 2))) == {("a", True, 1, "own"), ("b", True, 1, "own")}
    with pytest.raises(ValueError, match="more than one person"):
        policies_in(whole.assign(person=list("abab")), (1, 2))
    with pytest.raises(ValueError, match="not so many times"):
        policies_in(whole, (1, 3))
