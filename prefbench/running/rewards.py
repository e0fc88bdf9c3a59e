"""The learned rewards and clusters of a policy, held against the true groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench.problem.problem import Problem
from prefbench.store.tables import read_frame


def reward_accuracy(
    problem: Problem, rows: pd.DataFrame, policy_folder: Path, evidence: Mapping[str, Any]
) -> dict[str, float | None]:
    """Share of held-out pairs that a reward orders as the group's utility does, ties one half.

    A group is held against the reward that serves it: the only one, the one of its name, or the one of
    the cluster that most of its annotators were placed in. Pairs that the group is indifferent about
    do not count.
    """
    names = [group.name for group in problem.groups]
    if evidence["rewards"] is None:
        return dict.fromkeys(names)
    margins = read_frame(policy_folder / "margins.parquet").to_numpy()
    held_out = rows[rows["split"] == problem.measured_on]
    result: dict[str, float | None] = {}
    for name in names:
        gain = held_out[f"chosen_utility/{name}"] - held_out[f"rejected_utility/{name}"]
        preferred = np.sign(gain.to_numpy())
        margin = margins[:, serving(name, rows, evidence)]
        counted = preferred != 0
        agree = (np.sign(margin) * preferred + 1) / 2
        result[name] = float(agree[counted].mean()) if counted.any() else None
    return result


def serving(group: str, rows: pd.DataFrame, evidence: Mapping[str, Any]) -> int:
    """The learned reward that serves a group: its own, or that of the cluster with most of its people."""
    if evidence["assignment"] is not None:
        cluster = dict(evidence["assignment"])
        members = rows.loc[rows["group"] == group, "user_id"].unique().tolist()
        return int(np.bincount([cluster[user] for user in members if user in cluster]).argmax())
    names = evidence["rewards"]
    return names.index(group) if group in names else 0


def em_report(rows: pd.DataFrame, evidence: Mapping[str, Any]) -> dict[str, Any] | None:
    """The report of EM, with the agreement between its clusters and the true groups."""
    if evidence["em"] is None:
        return None
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score

    cluster = dict(evidence["assignment"])
    truth = rows.drop_duplicates("user_id").set_index("user_id")["group"]
    users = sorted(cluster)
    groups = pd.factorize(truth.loc[users])[0]
    found = np.array([cluster[user] for user in users])
    table = np.zeros((groups.max() + 1, found.max() + 1))
    np.add.at(table, (groups, found), 1)
    matched = linear_sum_assignment(table, maximize=True)
    return {
        **evidence["em"],
        "adjusted_rand_index": float(adjusted_rand_score(groups, found)),
        "accuracy": float(table[matched].sum() / len(users)),
    }


def too_few_clusters(problem: Problem, em: Mapping[str, Any] | None) -> str | None:
    """A sentence where people were placed in fewer clusters than there are groups to measure; else None."""
    if em is None:
        return None
    groups, clusters = len(problem.groups), sum(size > 0 for size in em["cluster_sizes"])
    if clusters >= groups:
        return None
    said = (
        f"EM placed the annotators in {clusters} of {em['clusters']} clusters, and {groups} groups are "
        "measured: some of them have no reward or policy of their own"
    )
    return f"{said}; aligner.clusters={groups} would give each one" if em["clusters"] < groups else said
