"""Stage `labels`: what annotators said of the pairs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from prefbench.learn.interface import Backbone
from prefbench.problem.brought import CONTEXT, STRENGTH
from prefbench.problem.contexts import unseen_contexts
from prefbench.problem.labels import given_pairs, label_pairs
from prefbench.problem.people import Scales, scales_of, tastes_of
from prefbench.problem.problem import Problem, apportion
from prefbench.running.pairs import sampled_pairs
from prefbench.spec import RunSpec, digest
from prefbench.store.stages import Store, Work, content_digest
from prefbench.store.tables import read_frame


@dataclass(frozen=True)
class Labels:
    """Labelled pairs and where they are stored."""

    rows: pd.DataFrame
    conflict: dict[str, Any]
    digest: str
    scales: Scales | None = None
    """Scales of members' own utilities; None where they want what their group wants."""


@dataclass(frozen=True)
class Contexts:
    """Pairs that the unseen people labelled: rows `user_id, prompt, chosen, rejected`; None of nobody."""

    rows: pd.DataFrame | None
    digest: str


def labels_of(spec: RunSpec, problem: Problem, backbone: Backbone, store: Store) -> Labels:
    """Annotators' labels, and how much the groups disagree."""
    if problem.given is not None:
        rows, conflict = given_pairs(problem)
        return Labels(rows, conflict, digest(rows.to_dict("list")))
    pairs, pairs_digest = sampled_pairs(spec, problem, backbone, store)
    key = {
        "pairs": pairs_digest,
        "groups": [[group.name, group.utility.name] for group in problem.groups],
        "annotators": apportion([group.share for group in problem.groups], problem.annotators),
        "temperature": problem.temperature,
        "seed": spec.seed,
    }
    key |= problem.population.behaviour  # nothing at the defaults: labels of before keep their key

    if problem.population.spread:
        key["spread"] = [problem.population.spread, [taste.name for taste in tastes_of(problem)]]

    def compute(work: Work) -> None:
        scales = scales_of(problem, pairs)
        rows, conflict = label_pairs(pairs, problem, spec.seed, scales)
        if scales is not None:
            (work.path / "scales.json").write_text(json.dumps(asdict(scales), indent=1))
        rows.to_parquet(work.path / "labels.parquet", index=False)
        (work.path / "conflict.json").write_text(json.dumps(conflict, indent=1))

    folder = store.stage("labels", key, compute)
    conflict = json.loads((folder / "conflict.json").read_text())
    scales = None
    if problem.population.spread:
        said = json.loads((folder / "scales.json").read_text())
        scales = Scales(**{name: tuple(values) for name, values in said.items()})
    return Labels(read_frame(folder / "labels.parquet"), conflict, content_digest(folder), scales)


def contexts_of(spec: RunSpec, problem: Problem, labels: Labels, store: Store) -> Contexts:
    """Pairs that the unseen people labelled; those of the seen are in the labels.

    The same for every aligner of a seed.
    """
    if not problem.meets_unseen:
        return Contexts(None, "")
    if problem.given is not None:
        brought = labels.rows[labels.rows["split"] == CONTEXT]
        brought = brought.groupby("user_id", sort=False).head(problem.population.context_pairs)
        columns = ["user_id", "prompt", "chosen", "rejected", *({STRENGTH} & set(brought))]
        return Contexts(brought[columns].reset_index(drop=True), labels.digest)
    key = {
        "labels": labels.digest,
        "population": problem.population.model_dump(),
        "temperature": problem.temperature,
        "seed": spec.seed,
    }

    def compute(work: Work) -> None:
        rows = unseen_contexts(labels.rows, problem, spec.seed, labels.scales)
        rows.to_parquet(work.path / "contexts.parquet", index=False)

    folder = store.stage("contexts", key, compute)
    return Contexts(read_frame(folder / "contexts.parquet"), content_digest(folder))
