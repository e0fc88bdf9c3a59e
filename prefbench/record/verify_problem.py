"""A record and its tables held against the problem that its specification states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prefbench.problem.problem import Problem, apportion
from prefbench.record.alike import alike
from prefbench.record.anonymous import without_paths
from prefbench.record.checked import Checked
from prefbench.record.problems import Problems, Unbuilt
from prefbench.record.schema import Record
from prefbench.record.verify_held_out import check_held_out
from prefbench.record.verify_people import check_people
from prefbench.record.verify_texts import lexicon_differs
from prefbench.record.verify_utilities import check_prompted, check_utility
from prefbench.record.verify_worlds import check_world

if TYPE_CHECKING:
    import pandas as pd

MEASURED_REPORTS = ("conflict", "utilities")
"""Entries of `task_report` that the run finds out, beside those of the task itself."""


def check_problem(checked: Checked, record: Record, problems: Problems, build: bool) -> None:
    """The record and its tables against the problem that the specification states.

    Where `build` is false, only whether it could be built is asked, so that a board of which a sample is
    built has no run that could not be drawn.
    """
    problem = problems.of(record) if build else problems.refused(record)
    if problem is None:
        return
    if isinstance(problem, Unbuilt):
        checked.unbuilt = problem
        checked.unchecked.append(f"problem and utilities: {problem.reason}")
        return
    items = checked.tables["items"]
    wrong = _groups_differ(record, problem) or _prompts_differ(items, record, problem)
    wrong += _em_differs(record, problem) + lexicon_differs(items, record, problem)
    extra = sorted(record.task_report.keys() - {*problem.report, *MEASURED_REPORTS})
    wrong += [f"task_report.{name} is nothing that the task says of itself" for name in extra]
    for name, value in problem.report.items():
        said = record.task_report.get(name)
        if not alike(said, value) and not alike(said, without_paths(value)):
            wrong.append(f"task_report.{name} is not what the task says of itself")
    checked.wrong += wrong
    if checked.wrong:
        return
    asked = items["prompt"].tolist()
    for group in problem.groups:
        columns = (f"utility/{group.name}", f"reference_utility/{group.name}")
        check_utility(checked, group, items, asked, columns, group.name)
    check_prompted(checked, record, problem)
    check_people(checked, record, problem)
    check_held_out(checked, record, problem)
    check_world(checked, record, problem)


def _groups_differ(record: Record, problem: Problem) -> list[str]:
    names = [group.name for group in problem.groups]
    if [group.name for group in record.groups] != names:
        return [f"groups are {', '.join(g.name for g in record.groups)}, the task has {', '.join(names)}"]
    wrong = []
    ratio = problem.ratio(record.spec["minority_ratio"])
    if record.minority_ratio != ratio:
        wrong.append(f"minority_ratio is {record.minority_ratio:g}, the problem has {ratio:g}")
    counts = apportion([group.share for group in problem.groups], problem.annotators)
    for said, group, count in zip(record.groups, problem.groups, counts, strict=True):
        share = count / problem.annotators
        if abs(said.share - share) > 1e-9:
            wrong.append(f"share of {said.name} is {said.share:g}, the specification gives {share:g}")
        if said.is_minority != (group.name == problem.minority):
            wrong.append(f"is_minority of {said.name} is {said.is_minority}, the task says otherwise")
        # A utility that the run has made ready has more behind its name.
        named = said.utility == group.utility.name
        if group.utility.is_prepared:
            named = named or said.utility.startswith(f"{group.utility.name}:")
        if not named:
            wrong.append(
                f"utility of {said.name} is {said.utility:.80}, the task's is {group.utility.name:.80}"
            )
        if said.unit != group.utility.unit:
            wrong.append(f"unit of {said.name} is {said.unit:.80}, the task's is {group.utility.unit:.80}")
        told = group.instruction is not None and (record.outside is None or _is_told(record))
        if told != (said.prompted is not None):
            wrong.append(f"{said.name} is prompted or not, the task says otherwise")
    return wrong


def _is_told(record: Record) -> bool:
    """True if a policy from outside was asked with instructions; a table of responses cannot be."""
    return any(group.prompted is not None for group in record.groups)


def _prompts_differ(items: pd.DataFrame, record: Record, problem: Problem) -> list[str]:
    test = problem.measured
    samples = record.spec["evaluate_options"].get("samples", record.samples_per_prompt)
    if record.samples_per_prompt != samples:
        return [f"samples_per_prompt is {record.samples_per_prompt}, specified {samples}"]
    if record.n_prompts != len(test):
        return [f"n_prompts is {record.n_prompts}, the task has {len(test)} {problem.measured_on} prompts"]
    ids = np.repeat(np.arange(len(test)), record.samples_per_prompt or 1)
    if (items["prompt_id"].to_numpy() != ids).any():
        return ["prompt_id does not count the test prompts"]
    differing = sum(text != test[index] for text, index in zip(items["prompt"].tolist(), ids, strict=True))
    return [f"its prompts are not the task's in {differing} rows"] if differing else []


def _em_differs(record: Record, problem: Problem) -> list[str]:
    em = record.em
    if em is None:
        return []
    wrong = []
    if len(em.cluster_sizes) != em.clusters:
        wrong.append(f"em.clusters is {em.clusters}, em.cluster_sizes has {len(em.cluster_sizes)}")
    if sum(em.cluster_sizes) != problem.annotators:
        wrong.append(f"em.cluster_sizes do not sum to the task's {problem.annotators} annotators")
    return wrong
