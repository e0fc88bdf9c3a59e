"""Scores that tuning selects a policy by on validation prompts, by every rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from prefbench import seeds
from prefbench.evaluate.selection import judgements, scores_of_judgements, scores_of_values
from prefbench.problem.problem import Problem, apportion
from prefbench.spec import RunSpec


def selection(
    spec: RunSpec, problem: Problem, items: pd.DataFrame, measured: Mapping[str, Any]
) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """The record's `selection` block, and the judgements behind it; none where values are exact.

    Each annotator judges as many comparisons as she labelled pairs for training, or all of them.
    """
    counts = apportion([group.share for group in problem.groups], problem.annotators)
    if measured["regret"] is not None:
        return {"measure": "value", **scores_of_values(measured["regret"], counts)}, None
    judged = judgements(
        items,
        dict(zip([group.name for group in problem.groups], counts, strict=True)),
        problem.temperature,
        problem.pairs_per_annotator or len(items),
        seeds.rng(spec.seed, "judgements"),
    )
    scores = scores_of_judgements(judged, measured["worst_group_win_rate"])
    return {"measure": "share won", **scores}, judged
