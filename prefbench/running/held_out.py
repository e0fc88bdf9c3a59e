"""Stage `held_out`: labels that a task brought and nobody learned from, against what was learned.

A policy's implicit reward is beta log(pi / pi_ref) (Rafailov et al. 2023, arXiv 2305.18290, section 4). It
orders a pair by the sign of a difference of log-ratios, which no beta moves.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench.arrays import Floats
from prefbench.learn.interface import Backbone, Personal, Policy
from prefbench.problem.held_out import held_out_labels
from prefbench.problem.people import pairs_known
from prefbench.problem.problem import Problem
from prefbench.problem.strata import SIZES
from prefbench.running.labels import Labels
from prefbench.running.people import Briefing
from prefbench.running.rewards import serving
from prefbench.spec import digest
from prefbench.store.stages import Store, Work, content_digest
from prefbench.store.tables import read_frame

NEVER = -1e6
"""Log-probability, in nats, of a response that a policy never gives."""
MARGINS_FILE = "personal_margins.parquet"
"""Margins of a personal policy, beside its default: `label`, `n`, `implicit`."""


def log_ratios(policy: Policy, reference: Policy, rows: pd.DataFrame) -> Floats:
    """Differences of log(pi / pi_ref) between chosen and rejected, nats [n]; NaN where one is unknown.

    A response that the policy never gives has a log-probability of `NEVER`; two such are equal.
    """
    prompts = rows["prompt"].tolist()
    ratios = []
    for column in ("chosen", "rejected"):
        said = rows[column].tolist()
        ours, theirs = policy.logprob(prompts, said), reference.logprob(prompts, said)
        if ours is None or theirs is None:
            return np.full(len(rows), np.nan)
        ratio = np.asarray(ours, dtype=np.float64) - theirs
        ratios.append(np.where(np.isneginf(ours), NEVER, ratio))
    return np.asarray(ratios[0] - ratios[1])


def personal_margins(policy: Personal, briefing: Briefing, reference: Policy) -> pd.DataFrame | None:
    """The margins of a personal policy on each one's held-out labels, with her own context.

    Of an unseen person as many pairs are known as in the strata of people, one after the other.

    Returns:
        Rows `label, n, implicit`; None where no labels are held out.
    """
    held_out = held_out_labels(briefing.problem, briefing.seed)
    if held_out is None:
        return None
    known = pairs_known(briefing.problem) if briefing.problem.meets_unseen else 0
    tables = []
    for person in briefing.people:
        mine = held_out[held_out["user_id"] == person.id]
        if mine.empty:
            continue
        for n in [person.labelled] if person.seen else [size for size in SIZES if size <= known]:
            default = not person.seen and n == 0
            adapted = policy.default if default else policy.adapt(briefing.context(person, n))
            margin = log_ratios(adapted, reference, mine)
            tables.append(pd.DataFrame({"label": mine["label"], "n": n, "implicit": margin}))
    return pd.concat(tables, ignore_index=True)


def held_out_margins(
    problem: Problem,
    policy: Policy,
    policy_folder: Path,
    backbone: Backbone,
    labels: Labels,
    evidence: Mapping[str, Any],
    store: Store,
    seed: int,
) -> pd.DataFrame | None:
    """The evidence on held-out labels, as `record.evidence` says; None where there are none.

    Args:
        problem: with the labels that it brought.
        policy: for everybody; of a personal one the default.
        policy_folder: of the stage `policy`: margins of its rewards, and of a personal policy.
        backbone: whose reference policy it is held against.
        labels: of all splits.
        evidence: of the policy's rewards and clusters.
        store: where the stage is kept.
        seed: the run's.
    """
    rows = held_out_labels(problem, seed)
    if rows is None:
        return None
    key = {
        "policy": content_digest(policy_folder),
        "reference": backbone.digest,
        "labels": digest(rows.to_dict("list")),
    }

    def compute(work: Work) -> None:
        at = backbone.at(work)
        margins = rows[["label", "n"]].assign(implicit=log_ratios(policy, at.reference, rows))
        margins.to_parquet(work.path / "margins.parquet", index=False)

    personal = policy_folder / MARGINS_FILE
    if personal.exists():
        margins = read_frame(personal)
    else:
        margins = read_frame(store.stage("held_out", key, compute) / "margins.parquet")
    known = rows.assign(reward=_rewards(rows, policy_folder, labels.rows, evidence))
    # The learned rewards say the same of a pair whatever is known of a person.
    table = margins.merge(known.drop(columns="n"), how="left", on="label")
    return table[["label", "prompt_id", "person", "group", "seen", "n", "strength", "implicit", "reward"]]


def _rewards(
    rows: pd.DataFrame, policy_folder: Path, labels: pd.DataFrame, evidence: Mapping[str, Any]
) -> Floats:
    """Margins of the reward that serves each label's person, [n]; NaN where no reward was learned."""
    if evidence["rewards"] is None:
        return np.full(len(rows), np.nan)
    margins = read_frame(policy_folder / "margins.parquet").to_numpy()
    cluster = dict(evidence["assignment"] or [])
    of_group = {name: serving(name, labels, evidence) for name in rows["group"].unique()}
    column = [
        cluster.get(user, of_group[group])
        for user, group in zip(rows["user_id"].tolist(), rows["group"].tolist(), strict=True)
    ]
    mine = margins[rows["label"].to_numpy(), column]
    return np.asarray(np.where(rows["turned"], -mine, mine), dtype=np.float64)
