"""The pool of what people compared: equally many responses to each prompt, out of a table of their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prefbench.arrays import Floats
from prefbench.data.comparisons import tuples
from prefbench.data.pool import MIN_PROMPTS, Pool
from prefbench.errors import UserError
from prefbench.learn.rewards import fit_linear
from prefbench.stats.intervals import wilson

if TYPE_CHECKING:
    import pandas as pd

PRIOR_VARIANCE = 1.0
"""Variance of each weight of a gold reward under its Gaussian prior, features having variance one."""


def compared_pool(source: str, rows: pd.DataFrame) -> tuple[Pool, pd.DataFrame]:
    """The pool, and the labels on it.

    Prompts stay that have as many different responses as those with most labels have; the others go.

    Args:
        source: the table's name.
        rows: columns `prompt, chosen, rejected` at least.

    Raises:
        UserError: fewer than 20 prompts would be left.
    """
    said: dict[str, dict[str, None]] = {}
    labels: Counter[str] = Counter()
    for prompt, chosen, rejected in tuples(rows, "prompt", "chosen", "rejected"):
        said.setdefault(prompt, {}).update({chosen: None, rejected: None})
        labels[prompt] += 1
    weight: Counter[int] = Counter()
    for prompt, responses in said.items():
        weight[len(responses)] += labels[prompt]
    size = max(weight, key=lambda count: (weight[count], count))
    prompts = tuple(sorted(prompt for prompt, responses in said.items() if len(responses) == size))
    if len(prompts) < MIN_PROMPTS:
        raise UserError(
            f"{source!r} has {len(prompts)} prompts with {size} different responses, and {MIN_PROMPTS} are "
            "needed for a pool: name a larger table."
        )
    kept = rows[rows["prompt"].isin(set(prompts))].reset_index(drop=True)
    report = {
        "prompts": len(said),
        "prompts_left_out": len(said) - len(prompts),
        "labels_left_out": len(rows) - len(kept),
        "responses_each": size,
    }
    texts = tuple(tuple(sorted(said[prompt])) for prompt in prompts)
    return Pool(source, prompts, tuple(f"response {k + 1}" for k in range(size)), texts, report), kept


@dataclass(frozen=True)
class GoldTables:
    """Gold rewards of all groups, of every response of a pool."""

    utilities: Floats
    """[S, R, G] in log odds of a label."""
    report: Mapping[str, Mapping[str, float | int | None]]
    """Pairs that each was fitted to, and the share of its people's labels on test prompts that it orders."""
    doubtful: tuple[str, ...]
    """Groups whose gold reward is no better on those than a coin might be."""


def gold_tables(
    pool: Pool, features: Floats, gold: Mapping[str, pd.DataFrame], test: Mapping[str, pd.DataFrame]
) -> GoldTables:
    """Linear Bradley-Terry rewards of each group's gold people, on the features of a pool.

    Args:
        pool: prompts and responses.
        features: of the responses, [S, R, d].
        gold: labels that each is fitted to, by group.
        test: labels of the same people that it is measured by.
    """
    places = {
        (prompt, text): features[i, k]
        for i, prompt in enumerate(pool.prompts)
        for k, text in enumerate(pool.responses[i])
    }

    def difference(rows: pd.DataFrame) -> Floats:
        pairs = tuples(rows, "prompt", "chosen", "rejected")
        each = [places[prompt, chosen] - places[prompt, rejected] for prompt, chosen, rejected in pairs]
        return np.array(each, dtype=np.float64).reshape(-1, features.shape[2])

    columns, report, doubtful = [], {}, []
    for name, rows in gold.items():
        strength = rows["strength"].to_numpy(dtype=np.float64)
        weights = fit_linear(difference(rows), 1 / PRIOR_VARIANCE, strength=strength)
        columns.append(features @ weights)
        margin = difference(test[name]) @ weights
        right = float(((np.sign(margin) + 1) / 2).sum())
        report[name] = {
            "gold_pairs": len(rows),
            "gold_accuracy": right / len(margin) if len(margin) else None,
            "gold_held_out": len(margin),
        }
        if not len(margin) or wilson(right, 0, len(margin)).low <= 0.5:
            doubtful.append(name)
    return GoldTables(np.stack(columns, axis=2), report, tuple(doubtful))
