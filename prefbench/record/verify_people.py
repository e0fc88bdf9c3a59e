"""Evidence on people, held against the problem: who judges what, and by which utility."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from prefbench.evaluate.own_values import Case, GivenPolicies, cases_in, policies_in, values_of_people
from prefbench.problem.people import Scales, own_utilities, people_of, scales_of
from prefbench.problem.problem import Problem
from prefbench.problem.strata import is_default, plan, takes_place
from prefbench.problem.utilities.protocol import Utility
from prefbench.record.alike import TOLERANCE
from prefbench.record.checked import Checked
from prefbench.record.evidence import EXACT_COLUMNS, read_items
from prefbench.record.files import PEOPLE_FILE, POLICIES_FILE, has_evidence
from prefbench.record.people_controls import unlike_items
from prefbench.record.schema import PEOPLE_VERSION, Record
from prefbench.record.verify_texts import empty_differs
from prefbench.record.verify_utilities import rows_apart

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.arrays import Floats


def check_people(checked: Checked, record: Record, problem: Problem) -> None:
    """The table on people: the plan, the responses that items have too, the flags and the utilities."""
    if record.schema_version < PEOPLE_VERSION:
        return
    if takes_place(problem, record.sees) != (record.people is not None):
        checked.wrong.append("people is there where nobody differs, or missing where somebody does")
        return
    if record.people is None:
        return
    table = checked.tables["people"]
    wrong = _plan_differs(table, record, problem) or _responses_differ(checked.tables["items"], table, record)
    wrong += empty_differs(table, "response", "empty")
    wrong += empty_differs(table, "reference_response", "reference_empty")
    scales = _scales(record)
    wrong += _scales_differ(scales, problem)
    checked.wrong += wrong
    if not wrong:
        _check_utilities(checked, table, record, problem, scales)
        _check_values(checked, table, record, problem, scales)


def _plan_differs(table: pd.DataFrame, record: Record, problem: Problem) -> list[str]:
    people = people_of(problem, record.seed)
    due = plan(problem, people, record.sees, record.seed)
    samples = record.samples_per_prompt or 1
    if len(table) != len(due) * samples:
        return [f"{PEOPLE_FILE} has {len(table)} rows, the problem asks for {len(due) * samples}"]
    row = np.repeat(np.arange(len(due)), samples)
    places = due["place"].to_numpy()[row]
    asked = np.asarray(problem.measured, dtype=object)
    expected = {
        "prompt_id": due["prompt_id"].to_numpy()[row].tolist(),
        "sample": np.tile(np.arange(samples), len(due)).tolist(),
        "prompt": asked[due["prompt_id"].to_numpy()[row]].tolist(),
        "person": [str(people[place].id) for place in places],
        "group": [problem.groups[people[place].group].name for place in places],
        **{name: due[name].to_numpy()[row].tolist() for name in ("seen", "n", "context")},
    }
    wrong = []
    for name, values in expected.items():
        differing = sum(a != b for a, b in zip(table[name].tolist(), values, strict=True))
        if differing:
            wrong.append(f"{PEOPLE_FILE}: {name} is not what the problem asks for in {differing} rows")
    return wrong


def _responses_differ(items: pd.DataFrame, table: pd.DataFrame, record: Record) -> list[str]:
    """Responses to people that are also those of the items: the reference's, and the default policy's."""
    samples = record.samples_per_prompt or 1
    seen, n = table["seen"].tolist(), table["n"].tolist()
    default = np.array([not record.sees or is_default(*each) for each in zip(seen, n, strict=True)])
    wrong = []
    for name, rows in (("reference_response", np.ones(len(table), dtype=bool)), ("response", default)):
        differing = int(rows[unlike_items(items, table, name, samples)].sum())
        if differing:
            wrong.append(f"{PEOPLE_FILE}: {name} is not that of the items in {differing} rows")
    place = table["prompt_id"].to_numpy() * samples + table["sample"].to_numpy()
    said, due = (each.to_numpy(dtype=np.float64)[default] for each in (table["kl"], items["kl"].iloc[place]))
    if not np.allclose(said, due, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
        wrong.append(f"{PEOPLE_FILE}: kl of the default policy is not that of the items")
    return wrong


def _scales(record: Record) -> Scales | None:
    said = record.people
    if said is None or said.group_scales is None or said.taste_scales is None:
        return None
    return Scales(said.group_scales, said.taste_scales)


def _scales_differ(scales: Scales | None, problem: Problem) -> list[str]:
    """Scales of a world are computed again; of those of texts there is nothing here to read them off."""
    if (scales is None) != (problem.population.spread == 0):
        return ["the scales of people are there without a spread, or missing with one"]
    if scales is None:
        return []
    if problem.world is None:
        sizes = (len(problem.groups), len(problem.tastes) or len(problem.groups))
        fits = (len(scales.groups), len(scales.tastes)) == sizes and min(*scales.groups, *scales.tastes) >= 0
        return [] if fits else ["the scales of people do not fit the task's groups and tastes"]
    import pandas as pd

    exact = scales_of(problem, pd.DataFrame())
    assert exact is not None
    for said, true in ((scales.groups, exact.groups), (scales.tastes, exact.tastes)):
        if len(said) != len(true) or not np.allclose(said, true, rtol=TOLERANCE, atol=TOLERANCE):
            return ["the scales of people are not the world's"]
    return []


def _check_utilities(
    checked: Checked, table: pd.DataFrame, record: Record, problem: Problem, scales: Scales | None
) -> None:
    """Each one's own utility of both responses, computed again from the texts and her id."""

    def recalled(
        utility: Utility, prompts: list[str], first: list[str], second: list[str]
    ) -> tuple[Floats, Floats] | None:
        return utility.recalled(checked.folder.parent, prompts, first, second)

    texts = ["prompt", "response", "reference_response"]
    once = table.drop_duplicates(["person", *texts])
    by_id = {str(person.id): person for person in people_of(problem, record.seed)}
    found = own_utilities(
        problem,
        record.seed,
        scales,
        [by_id[person] for person in once["person"].tolist()],
        (once["prompt"].tolist(), once["response"].tolist(), once["reference_response"].tolist()),
        recalled,
    )
    if found is None:
        checked.unchecked.append("utilities of people: one is fitted by the run, on the run's own model")
        return
    known = once[["person", *texts]].assign(one=found[0], other=found[1])
    whole = table.merge(known, how="left", on=["person", *texts])
    told = whole["one"].notna().to_numpy()
    if not told.all():
        checked.unchecked.append(
            f"utilities of people: {int((~told).sum())} of {len(told)} verdicts are not beside the runs"
        )
    columns = (("utility", "reference_utility"), ("one", "other"))
    stored, computed = ([whole[name].to_numpy(dtype=np.float64)[told] for name in names] for names in columns)
    apart = int(rows_apart(stored, computed).sum())
    if apart:
        checked.wrong.append(f"utilities of people are not what the task computes in {apart} rows")


def _check_values(
    checked: Checked, table: pd.DataFrame, record: Record, problem: Problem, scales: Scales | None
) -> None:
    """Each one's exact value of the policy that she is given, and her best, computed again.

    The default policy is that of the distribution, the others lie in a table of their own.
    """
    stored = table[list(EXACT_COLUMNS)].to_numpy(dtype=np.float64)
    if np.isnan(stored).all():
        return
    if problem.world is None or "distribution" not in checked.tables:
        checked.wrong.append("people have exact values, but the responses of the task cannot be listed")
        return
    listed = checked.tables["distribution"]
    default = listed["policy"].to_numpy(dtype=np.float64).reshape(listed["state"].nunique(), -1)
    adapted = _adapted(checked, default.shape, record)
    cases = cases_in(table)
    by_id = {str(person.id): person for person in people_of(problem, record.seed)}
    met = ((by_id[case.person], case) for case in cases)
    found = values_of_people(problem, record.seed, scales, met, GivenPolicies(default, adapted))
    computed = np.array([found[case] for case in cases])
    told = ~np.isnan(computed[:, 0])
    if not told.all():  # a board need not have the policies, and some have no probabilities
        missing = f"the policies of {int((~told).sum())} rows are not in {POLICIES_FILE}"
        checked.unchecked.append(f"values of people: {missing}")
    beyond_best = ~told & (stored[:, 0] > computed[:, 1] + TOLERANCE)
    near = np.abs(stored - computed) <= TOLERANCE * np.maximum(1.0, np.abs(computed))
    apart = int((beyond_best | ~near[:, 1] | (told & ~near[:, 0])).sum())
    if apart:
        checked.wrong.append(f"values of people are not those of their policies in {apart} rows")


def _adapted(checked: Checked, shape: tuple[int, int], record: Record) -> Mapping[Case, Floats] | None:
    """The policies that are adapted to people; None where everybody is given the default."""
    if not has_evidence(checked.folder, POLICIES_FILE):
        return {} if record.sees else None
    adapted = policies_in(read_items(checked.folder, POLICIES_FILE), shape)
    for policy in adapted.values():
        if not (policy >= 0).all() or not np.allclose(policy.sum(axis=1), 1, atol=1e-6):
            checked.wrong.append(f"a policy of {POLICIES_FILE} is no distribution over responses")
            break
    return adapted
