"""Figures of the evaluator: win rates, intervals and tests of fixed items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from prefbench import seeds
from prefbench.record.summary import summarise, summarise_prompted
from prefbench.stats import comparisons, intervals, power, runs
from prefbench.stats import worst as worst_groups
from prefbench.stats.rank_sets import rank_sets
from support.figures.numbers import flat
from support.figures.sections import EXACT, Figures, section


@section("evaluator", EXACT)
def evaluated(folder: Path) -> Figures:
    """Win rates, intervals and tests of fixed items."""
    rng = np.random.default_rng(1)
    prompts, samples, names = 30, 2, ("a", "b", "c")
    ids = np.repeat(np.arange(prompts), samples)
    items = pd.DataFrame({"prompt_id": ids, "sample": np.tile(np.arange(samples), prompts)})
    for column in ("prompt", "response", "reference_response"):
        items[column] = [f"{column} {i}" for i in range(len(items))]
    items["empty"] = np.arange(len(items)) % 17 == 3
    items["words"] = np.where(items["empty"], 0, rng.integers(1, 9, len(items)))
    items["reference_words"] = rng.integers(0, 4, len(items))
    items["kl"] = rng.normal(1, 1, len(items))
    for number, name in enumerate(names):
        items[f"utility/{name}"] = rng.integers(0, 5, len(items)) + 0.1 * number
        items[f"reference_utility/{name}"] = rng.integers(0, 4, len(items)) + 0.1 * number
    groups = [("a", 0.5, False), ("b", 0.3, False), ("c", 0.2, True)]
    told = pd.concat(
        [
            items[["prompt_id", "sample", "prompt", "response", "reference_response", "empty"]].assign(
                group=name,
                reference_empty=False,
                utility=items[f"utility/{name}"],
                reference_utility=items[f"reference_utility/{name}"],
            )
            for name in names
        ],
        ignore_index=True,
    )
    prompted, worst = summarise_prompted(told, groups, 0)
    old, new = rng.random((3, 40)), rng.random((3, 40)) * 0.9
    tests = {
        "wilson": list(intervals.wilson(7, 2, 20)),
        "over_runs": [*runs.mean_over_runs(list(old)), *runs.interval_of(runs.mean_over_runs(list(old)))],
        "cluster": list(intervals.cluster_bootstrap(old[0], seeds.rng(0, "figures"))),
        "detectable": power.minimum_detectable_effect(400),
        "needed": power.prompts_needed(0.05),
        "detectable_over_runs": power.detectable_over_runs(0.1, 5),
        "dropped": list(comparisons.judge_drop(runs.mean_over_runs(list(old - new)), 0.02, 120)),
        "counted": list(
            comparisons.judge_drop(
                runs.difference_of(comparisons.binomial(0.6, 400), comparisons.binomial(0.5, 300)), 0.02, 343
            )
        ),
        "cross_fitted": float(worst_groups.cross_fitted_worst(old.T, seeds.rng(0, "figures")).mean()),
        "ranks": [
            list(rank)
            for rank in rank_sets(
                old.mean(axis=1), lambda i, j: runs.mean_of_figures(old[i, :10] - old[j, :10])
            )
        ],
        "holm": np.asarray(comparisons.holm([0.01, 0.04, 0.03])).tolist(),
    }
    return flat({"items": summarise(items, groups, 0), "prompted": prompted, "worst": worst, "tests": tests})
