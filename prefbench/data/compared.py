"""The pool of what people compared: equally many responses to each prompt, out of a table of their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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

    Of each prompt the same number of responses stays, those that were compared most often: the number that
    keeps most labels, the larger of equals. Prompts with fewer responses go.

    Args:
        source: the table's name.
        rows: columns `prompt, chosen, rejected` at least.

    Raises:
        UserError: fewer than 20 prompts would be left.
    """
    pairs: dict[str, list[tuple[str, str]]] = {}
    for prompt, chosen, rejected in tuples(rows, "prompt", "chosen", "rejected"):
        pairs.setdefault(prompt, []).append((chosen, rejected))
    ranked = {prompt: _by_labels(compared) for prompt, compared in pairs.items()}
    kept: Counter[int] = Counter()
    for prompt, compared in pairs.items():
        place = {text: k for k, text in enumerate(ranked[prompt], start=1)}
        needed = np.array([max(place[one], place[other]) for one, other in compared])
        for size in range(2, len(place) + 1):
            kept[size] += int((needed <= size).sum())
    size = max(kept, key=lambda count: (kept[count], count))
    prompts = tuple(sorted(prompt for prompt, responses in ranked.items() if len(responses) >= size))
    if len(prompts) < MIN_PROMPTS:
        raise UserError(
            f"{source!r} has {len(prompts)} prompts with {size} different responses, and {MIN_PROMPTS} are "
            "needed for a pool: name a larger table."
        )
    texts = tuple(tuple(sorted(ranked[prompt][:size])) for prompt in prompts)
    known = {(prompt, text) for prompt, row in zip(prompts, texts, strict=True) for text in row}
    here = [
        (prompt, chosen) in known and (prompt, rejected) in known
        for prompt, chosen, rejected in tuples(rows, "prompt", "chosen", "rejected")
    ]
    mine = rows[here].reset_index(drop=True)
    report = {
        "prompts": len(pairs),
        "prompts_left_out": len(pairs) - len(prompts),
        "labels_left_out": len(rows) - len(mine),
        "responses_each": size,
    }
    return Pool(source, prompts, tuple(f"response {k + 1}" for k in range(size)), texts, report), mine


def _by_labels(compared: Sequence[tuple[str, str]]) -> list[str]:
    """Responses to one prompt, those with most labels first."""
    times = Counter(text for pair in compared for text in pair)
    return sorted(times, key=lambda text: (-times[text], text))


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
