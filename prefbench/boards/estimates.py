"""A row's figures: means over its runs with their intervals, from the one function that makes them.

Whatever says something over seeds (table, page, plot, gate, comparison) takes it from here.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from prefbench.boards.columns import CROSS_FITTED, METRICS, PROMPTED
from prefbench.boards.rows import Row
from prefbench.stats.intervals import Interval
from prefbench.stats.runs import Mean, interval_of, mean_of_figures, mean_over_runs
from prefbench.stats.worst import own_worst


def estimates(row: Row) -> dict[str, tuple[float, Interval]]:
    """Every metric of a row with its 95% interval, by name; deterministic.

    With several seeds an interval is over runs; with one it is over prompts, and of that policy only.
    """
    found = {name: mean_over_runs(row.metric_scores(name)) for name in (*METRICS, CROSS_FITTED)}
    told = [seed.prompted for seed in row.seeds if seed.prompted is not None]
    if told and len(told) == len(row.seeds):
        found[PROMPTED] = mean_over_runs([own_worst(scores) for scores in told])
    return {name: (mean.estimate, interval_of(mean)) for name, mean in found.items()}


def worst_seed(row: Row) -> float:
    """The worst group's win rate in the run where it is smallest."""
    return min(float(scores.mean()) for scores in row.metric_scores("worst_group_win_rate"))


def usual_worst(row: Row) -> str:
    """The group that is worst in most runs; of several the one that wins least on average."""
    times = Counter(int(seed.scores.mean(axis=0).argmin()) for seed in row.seeds)
    means = row.means
    return row.groups[min(times, key=lambda group: (-times[group], means[group]))].name


def egalitarian_regret(row: Row) -> Mean | None:
    """The mean over runs of what the worst off lost against the optimum; None where it is unknown.

    In standard deviations of utility; exact in each run, so that all its doubt is between runs.
    """
    lost = [record.regret.egalitarian_regret for record in row.records.values() if record.regret]
    return mean_of_figures(np.array(lost)) if lost and len(lost) == len(row.records) else None
