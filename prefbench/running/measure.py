"""Everything a run finds out after the reference policy stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prefbench import registry
from prefbench.backbone.outside.interface import Outside
from prefbench.evaluate.gold import FittedGold
from prefbench.evaluate.regret import regrets
from prefbench.learn.interface import Backbone
from prefbench.problem.problem import Problem, apportion
from prefbench.record.files import HISTORY_FILE, POLICIES_FILE
from prefbench.record.summary import summarise, summarise_prompted
from prefbench.record.summary_held_out import TIE, summarise_held_out
from prefbench.record.summary_people import summarise_people
from prefbench.running.held_out import held_out_margins
from prefbench.running.outside import PROMPTED_NOTE, described, labels_if_needed, policy_stage
from prefbench.running.people import people_scores
from prefbench.running.policy import aligned_policy
from prefbench.running.proxies import with_proxies
from prefbench.running.rewards import em_report, reward_accuracy, too_few_clusters
from prefbench.running.samples import Speaker, samples_of
from prefbench.running.scores import compared_in, prompted_scores, scored
from prefbench.running.selection import selection
from prefbench.spec import RunSpec, digest
from prefbench.store.stages import Store, content_digest
from prefbench.store.tables import read_frame


@dataclass(frozen=True)
class Found:
    """The findings of a run."""

    measured: dict[str, Any]
    """The record's measured fields."""
    items: pd.DataFrame
    prompted: pd.DataFrame | None
    people: pd.DataFrame | None
    policies: pd.DataFrame | None
    """The policies that people are given beside the default, where every response can be listed."""
    held_out: pd.DataFrame | None
    distribution: pd.DataFrame | None
    judgements: pd.DataFrame | None
    history: str | None
    """The policy's training, iteration by iteration, as JSON."""


def measure(
    spec: RunSpec, problem: Problem, backbone: Backbone, store: Store, outside: Outside | None
) -> Found:
    """The findings of a run, once its reference policy stands; of an aligner's policy or one from outside."""
    labels, contexts = labels_if_needed(spec, problem, outside, backbone, store)
    if outside is None:
        policy, policy_folder = aligned_policy(spec, problem, backbone, labels, contexts, store)
        identified = _digest(spec, problem, policy_folder)
    else:
        policy, policy_folder = outside.policy, policy_stage(spec, outside, backbone, store)
        identified = policy_folder.name
    speakers = (
        Speaker("policy", policy, identified),
        Speaker("reference", backbone.reference, backbone.digest),
    )
    prompts = list(problem.measured)
    ours, theirs = (samples_of(spec, problem, prompts, backbone, speaker, store) for speaker in speakers)
    items, unknown = with_proxies(scored(problem, ours, theirs, store), policy_folder, backbone, store)
    told = outside is None or outside.instructed
    prompted = prompted_scores(spec, problem, backbone, speakers, store) if told else None
    sees = registry.get("aligner", spec.aligner).sees
    distribution = backbone.distribution(policy, problem.measured)
    listed = None
    if distribution is not None and problem.world is not None:
        listed = distribution["policy"].to_numpy().reshape(distribution["state"].nunique(), -1)
    people = people_scores(spec, problem, labels, sees, policy_folder, ours, theirs, listed, store)
    counts = apportion([group.share for group in problem.groups], problem.annotators)
    groups = [
        (group.name, count / problem.annotators, group.name == problem.minority)
        for group, count in zip(problem.groups, counts, strict=True)
    ]
    measured = summarise(items, groups, spec.seed)
    if prompted is not None:
        apart, worst = summarise_prompted(prompted, groups, spec.seed)
        for row in measured["groups"]:
            row["prompted"] = apart.get(row["name"])
        measured |= worst
    measured["people"] = None
    if people is not None:
        scales = labels.scales
        measured["people"] = {
            "group_scales": None if scales is None else scales.groups,
            "taste_scales": None if scales is None else scales.tastes,
            **summarise_people(people, [group.name for group in problem.groups], spec.seed),
        }
    evidence = json.loads((policy_folder / "evidence.json").read_text())
    accuracy = reward_accuracy(problem, labels.rows, policy_folder, evidence)
    for row, group in zip(measured["groups"], problem.groups, strict=True):
        row.update(utility=group.utility.name, unit=group.utility.unit, reward_accuracy=accuracy[group.name])
    held_out = held_out_margins(problem, policy, policy_folder, backbone, labels, evidence, store, spec.seed)
    measured["held_out"] = None
    if held_out is not None and (held_out["strength"] != TIE).any():
        measured["held_out"] = summarise_held_out(held_out, [g.name for g in problem.groups], spec.seed)
    measured["em"] = em_report(labels.rows, evidence)
    reports = _utility_reports(problem, labels.rows, items, prompted, people)
    conflict = {"conflict": labels.conflict} if labels.conflict else {}
    measured["task_report"] = {**problem.report, **conflict, **reports}
    measured["regret"] = None
    if distribution is not None and problem.world is not None:
        columns = {f"utility/{i}": f"utility/{group.name}" for i, group in enumerate(problem.groups)}
        distribution = distribution.rename(columns=columns)
        names = [group.name for group in problem.groups]
        measured["regret"] = regrets(distribution, names, problem.world.beta)
    judged = None
    if spec.split == "validation":
        measured["selection"], judged = selection(
            spec, problem, labels.scales, policy_folder, items, listed, measured
        )
    measured["notes"] = [*evidence["notes"], *unknown, *_notes(spec, problem, backbone, measured["em"])]
    if outside is not None:
        measured["outside"] = described(spec, problem, outside, measured["kl"])
        unasked = not told and any(group.instruction is not None for group in problem.groups)
        measured["notes"] += [*outside.notes, *([PROMPTED_NOTE] if unasked else [])]
    history = policy_folder / HISTORY_FILE
    course = history.read_text() if history.exists() else None
    known = None if measured["held_out"] is None else held_out
    file = policy_folder / POLICIES_FILE
    policies = read_frame(file) if file.exists() else None
    return Found(measured, items, prompted, people, policies, known, distribution, judged, course)


def _digest(spec: RunSpec, problem: Problem, policy_folder: Path) -> str:
    """Identifies what a policy says: its files and, where it may ask for them, the true utilities."""
    content = content_digest(policy_folder)
    if "oracle" not in registry.get("aligner", spec.aligner).needs:
        return content
    return digest([content, *(group.utility.name for group in problem.groups)])


def _notes(spec: RunSpec, problem: Problem, backbone: Backbone, em: Mapping[str, Any] | None) -> list[str]:
    """Sentences on what went otherwise than it was meant to, and on rewards that are no measure."""
    notes = list(dict.fromkeys([*problem.remarks, *backbone.notes]))
    notes += [
        said for said in (problem.ratio_missed(spec.minority_ratio), too_few_clusters(problem, em)) if said
    ]
    for group in problem.groups:
        if isinstance(group.utility, FittedGold) and not group.utility.is_better_than_chance:
            notes.append(
                f"the gold reward of {group.name} orders {group.utility.accuracy:.0%} of "
                f"{group.utility.held_out} held-out pairs as labelled, as a coin might: "
                "win rates by it say nothing"
            )
    return notes


def _utility_reports(
    problem: Problem,
    labels: pd.DataFrame,
    items: pd.DataFrame,
    prompted: pd.DataFrame | None,
    people: pd.DataFrame | None,
) -> dict[str, Any]:
    """The reports of utilities that were fitted or asked for."""
    # Labels that a task brought along were not asked for, and those of nobody were not either.
    asked = [items] if problem.given is not None or labels.empty else [labels, items]
    reports = {}
    for group in problem.groups:
        told = [table[table["group"] == group.name] for table in (prompted, people) if table is not None]
        for table in [*asked, *told]:
            group.utility.recall(*compared_in(table, problem))
        report = group.utility.report()
        if report is not None:
            reports[group.name] = report
    return {"utilities": reports} if reports else {}
