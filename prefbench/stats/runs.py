"""The mean over runs: the one figure, standard error and interval of everything that is said over seeds.

A run of another seed is another draw of the whole recipe, so one run is one observation: its figure holds
the luck of its training and of its prompts together, and runs are independent. Their mean is judged by
Student's t with as many degrees of freedom as runs less one. A standard error put together of a part between
seeds and a part within them covers worse in simulations (docs/statistics.md): added up, prompts count twice;
subtracted, the part between is often found to be nothing.

One run says nothing of the spread between runs: its interval is over its prompts, and is of that policy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from prefbench.arrays import Floats
from prefbench.stats.intervals import Interval, as_table, z_quantile


class Mean(NamedTuple):
    """A mean, or a difference of two, with its standard error and the degrees of freedom of that."""

    estimate: float
    se: float
    df: float


def mean_over_runs(scores: Sequence[ArrayLike]) -> Mean:
    """The mean of runs' own means, or of their differences, with its standard error.

    Half a prompt at +1 and half a prompt at -1 are added to each run's variance (in the spirit of Agresti &
    Min 2005, for matched pairs): without them, runs and prompts that all agree would leave no doubt at all.
    Their effect is below one prompt in n.

    Args:
        scores: one array `[prompts]` per run, each in -1..1. With one run the standard error is over its
            prompts, and `df` is prompts less one.

    Raises:
        ValueError: there is no run, or one without prompts.
    """
    tables = [as_table(values)[:, 0] for values in scores]
    if not tables:
        raise ValueError("no run to average")
    if len(tables) == 1:
        return mean_over_prompts(tables)
    return mean_of_rates([values.mean() for values in tables], [len(values) for values in tables])


def mean_of_rates(rates: ArrayLike, prompts: Sequence[int]) -> Mean:
    """`mean_over_runs` of which only the runs' own rates, or their differences, are known.

    Args:
        rates: `[runs]`, each in -1..1. With one run the standard error is infinite.
        prompts: behind each of them.
    """
    return mean_of_figures(rates, float(np.mean([1 / (n * max(1, n - 1)) for n in prompts])))


def mean_of_figures(figures: ArrayLike, doubt: float = 0.0) -> Mean:
    """The mean of one figure per run, by Student's t.

    Args:
        figures: `[runs]`. With one run the standard error is infinite: nothing is known of other runs.
        doubt: variance that each figure has at least.
    """
    values = np.asarray(figures, dtype=np.float64)
    n = len(values)
    if n < 2:
        return Mean(float(values.mean()), math.inf, 1.0)
    return Mean(float(values.mean()), math.sqrt((float(values.var(ddof=1)) + doubt) / n), n - 1.0)


def mean_over_prompts(scores: Sequence[ArrayLike]) -> Mean:
    """The mean of these very policies, whatever other seeds would give: prompts are the only doubt.

    Args:
        scores: one array `[prompts]` per run, each in -1..1.
    """
    tables = [as_table(values)[:, 0] for values in scores]
    n = len(tables)
    variance = float(np.mean([_variance_of_mean(values) for values in tables])) / n
    df = max(1, sum(map(len, tables)) - n)
    return Mean(float(np.mean([values.mean() for values in tables])), math.sqrt(variance), float(df))


def _variance_of_mean(values: Floats) -> float:
    n = len(values)
    return float((((values - values.mean()) ** 2).sum() + 1) / (n * max(1, n - 1)))


def spread(scores: Sequence[ArrayLike]) -> float | None:
    """The standard deviation of runs' own means, prompts' noise within it; None for one run."""
    means = [float(as_table(values)[:, 0].mean()) for values in scores]
    return float(np.std(means, ddof=1)) if len(means) > 1 else None


def difference_of(first: Mean, second: Mean) -> Mean:
    """First minus second, of two independent means, with Welch's and Satterthwaite's degrees of freedom."""
    variance = first.se**2 + second.se**2
    if not 0 < variance < math.inf:
        return Mean(first.estimate - second.estimate, math.sqrt(variance), min(first.df, second.df))
    inverse = first.se**4 / first.df + second.se**4 / second.df
    df = variance**2 / inverse if inverse else math.inf
    return Mean(first.estimate - second.estimate, math.sqrt(variance), df)


def interval_of(mean: Mean, low: float = 0.0, high: float = 1.0, level: float = 0.95) -> Interval:
    """The two-sided t interval of a mean, cut at what it can be."""
    half = t_quantile((1 + level) / 2, mean.df) * mean.se
    return Interval(max(low, mean.estimate - half), min(high, mean.estimate + half))


def two_sided_p(mean: Mean) -> float:
    """The probability of a mean at least as far from nothing as this one, were there nothing."""
    if mean.se == 0:
        return float(mean.estimate == 0)
    return min(1.0, 2 * t_upper_tail(abs(mean.estimate) / mean.se, mean.df))


def t_quantile(probability: float, df: float) -> float:
    """The quantile of Student's t; of the normal for infinite `df`."""
    if math.isinf(df):
        return z_quantile(probability)
    from scipy.special import stdtrit

    return float(stdtrit(df, probability))


def t_upper_tail(value: float, df: float) -> float:
    """P(T > value) for Student's t; for the normal if `df` is infinite."""
    if math.isinf(df):
        return NormalDist().cdf(-value)
    from scipy.special import stdtr

    return float(stdtr(df, -value))
