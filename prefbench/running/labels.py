"""Stage `labels`: what annotators said of the pairs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prefbench.learn.interface import Backbone
from prefbench.problem.labels import given_pairs, label_pairs
from prefbench.problem.problem import Problem, apportion
from prefbench.running.pairs import sampled_pairs
from prefbench.spec import RunSpec, digest
from prefbench.store.stages import Store, Work, content_digest


@dataclass(frozen=True)
class Labels:
    """Labelled pairs and where they are stored."""

    rows: pd.DataFrame
    conflict: dict[str, Any]
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

    def compute(work: Work) -> None:
        rows, conflict = label_pairs(pairs, problem, spec.seed)
        rows.to_parquet(work.path / "labels.parquet", index=False)
        (work.path / "conflict.json").write_text(json.dumps(conflict, indent=1))

    folder = store.stage("labels", key, compute)
    conflict = json.loads((folder / "conflict.json").read_text())
    return Labels(pd.read_parquet(folder / "labels.parquet"), conflict, content_digest(folder))
