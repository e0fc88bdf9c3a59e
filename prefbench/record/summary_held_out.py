"""The record's entry on held-out labels, made out of its evidence alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import UserError
from prefbench.record.evidence import HELD_OUT_COLUMNS
from prefbench.record.files import HELD_OUT_FILE
from prefbench.seeds import rng
from prefbench.stats.crossed import crossed_means, drawn_prompts, rate_interval
from prefbench.stats.inequality import worst_tenth

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.arrays import Floats

TIE = 0.5
"""Strength of a label that prefers neither response."""


def summarise_held_out(table: pd.DataFrame, groups: Sequence[str], rng_seed: int) -> dict[str, Any]:
    """The fields of `HeldOutRecord`, from its evidence alone.

    Args:
        table: rows as `HELD_OUT_COLUMNS` says, in any order.
        groups: names of the groups in the task's order.
        rng_seed: of the bootstrap.

    Raises:
        UserError: the table is incomplete, or holds no label that prefers a response.
    """
    lacking = [name for name in HELD_OUT_COLUMNS if name not in table.columns]
    if lacking:
        raise UserError(f"{HELD_OUT_FILE} has no column '{lacking[0]}': run it again.")
    if not set(table["group"]) <= set(groups):
        raise UserError(f"{HELD_OUT_FILE} has a group that there is none of: run it again.")
    tied = table["strength"] == TIE
    once = table.drop_duplicates("label")
    decided = table[~tied].sort_values(["seen", "n", "label"], kind="stable", ignore_index=True)
    if decided.empty:
        raise UserError(f"{HELD_OUT_FILE} has no label that prefers a response: run it again.")
    strata = []
    # Of the seen n differs from person to person.
    known = decided["n"].where(~decided["seen"].astype(bool), -1)
    for n in sorted(set(known.tolist()), key=lambda n: (n >= 0, n)):
        mine = decided[known == n].reset_index(drop=True)
        strata.append(
            {
                "seen": n < 0,
                "n": None if n < 0 else int(n),
                "implicit": _accuracy(mine, "implicit", groups, rng_seed),
                "reward": _accuracy(mine, "reward", groups, rng_seed),
            }
        )
    return {"ties": int((once["strength"] == TIE).sum()), "strata": strata}


def _accuracy(
    table: pd.DataFrame, column: str, groups: Sequence[str], rng_seed: int
) -> dict[str, Any] | None:
    """The fields of `HeldOutAccuracy` of one stratum and one column of margins; None where it is unknown."""
    margin = table[column].to_numpy(dtype=np.float64)
    if np.isnan(margin).all():
        return None
    if not np.isfinite(margin).all():
        raise UserError(f"{HELD_OUT_FILE}: column '{column}' has a value that is not finite: run it again.")
    right = (np.sign(margin) + 1) / 2
    prompts, prompt = np.unique(table["prompt_id"].to_numpy(), return_inverse=True)
    drawn = drawn_prompts(len(prompts), rng(rng_seed, "interval", "held out", "prompts"))
    entries: list[dict[str, Any]] = []
    replicates: list[Floats] = []
    own: list[Floats] = []
    shares: list[Floats] = []
    for name in groups:
        mine = np.flatnonzero((table["group"] == name).to_numpy())
        if not len(mine):
            continue
        people, person = np.unique(table["person"].to_numpy(dtype=object)[mine], return_inverse=True)
        taken = drawn_prompts(len(people), rng(rng_seed, "interval", "held out", name))
        means = crossed_means(taken, drawn, right[mine], person, prompt[mine])
        rate = float(right[mine].mean())
        interval = rate_interval(means, rate, len(mine))
        entries.append(
            {
                "name": name,
                "labels": len(mine),
                "people": len(people),
                "accuracy": rate,
                "ci_low": interval.low,
                "ci_high": interval.high,
            }
        )
        replicates.append(means)
        each = np.bincount(person, weights=right[mine]) / np.bincount(person)
        own.append(each)
        shares.append(taken @ each)
    accuracies = np.concatenate(own)
    worst = int(np.argmin([entry["accuracy"] for entry in entries]))
    lowest = rate_interval(
        np.stack(replicates).min(axis=0), entries[worst]["accuracy"], entries[worst]["labels"]
    )
    mean = float(accuracies.mean())
    average = rate_interval(np.sum(shares, axis=0) / len(accuracies), mean, len(accuracies))
    return {
        "groups": entries,
        "worst_group": entries[worst]["name"],
        "worst_group_accuracy": entries[worst]["accuracy"],
        "worst_group_accuracy_ci": (lowest.low, lowest.high),
        "people_accuracy": mean,
        "people_accuracy_ci": (average.low, average.high),
        "worst_tenth": worst_tenth(accuracies),
    }
