"""Confidence intervals of one run's win rates: Wilson's, and bootstraps over its prompts.

Intervals over several runs are in `runs`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from prefbench.arrays import Floats

Statistic: TypeAlias = Callable[[Floats], Floats]
"""From group means `[..., groups]` to one number each, `[...]`: vectorised over the leading axes."""

RESAMPLES = 10_000
FEW_ROWS = 64
"""Different rows of scores up to which counts of them are drawn."""
MANY_PROMPTS = 300
"""Prompts from which on a resampled mean is drawn from the normal distribution that it has by then."""


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def z_quantile(probability: float) -> float:
    """The standard normal quantile."""
    return NormalDist().inv_cdf(probability)


def wilson(wins: float, ties: float, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of `(wins + ties / 2) / n`, for one comparison per prompt.

    A tie counts as half a win. Half a win varies less than a whole one, so with ties the interval
    is a little wide, never too narrow. Without ties it equals `scipy.stats.binomtest(wins, n)
    .proportion_ci(level, "wilson")`, which takes no half counts.

    Args:
        wins: comparisons won, 0 to `n`.
        ties: comparisons tied; `wins + ties <= n`.
        n: comparisons, at least 1.
        level: two-sided confidence level.

    Raises:
        ValueError: if the counts are impossible.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n < 1 or wins < 0 or ties < 0 or wins + ties > n:
        raise ValueError(f"impossible counts: {wins} wins and {ties} ties of {n}")
    rate = (wins + ties / 2) / n
    z2 = z_quantile((1 + level) / 2) ** 2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At a boundary the formula gives exactly 0 or 1; rounding must not push it past.
    low = 0.0 if rate == 0 else max(0.0, centre - half)
    high = 1.0 if rate == 1 else min(1.0, centre + half)
    return Interval(low, high)


def resample_means(
    scores: Sequence[ArrayLike], rng: np.random.Generator, n_resamples: int = RESAMPLES
) -> Floats:
    """Group means in bootstrap resamples: of one run, prompts; of several, runs and prompts within them.

    No interval over several runs is made of it, as it covers too little (docs/statistics.md).

    Args:
        scores: one array per seed, `[prompts]` or `[prompts, groups]`; prompts may differ in number.
        rng: where the draws come from. With one seed no seed is drawn, so this is the plain prompt
            bootstrap.
        n_resamples: resamples to draw.

    Returns:
        `[n_resamples, groups]`: the mean over the drawn seeds of the mean over the drawn prompts.
    """
    per_seed = [as_table(values) for values in scores]
    if not per_seed:
        raise ValueError("no seed to resample")
    if len({values.shape[1] for values in per_seed}) > 1:
        raise ValueError("the seeds have different numbers of groups")
    n_seeds = len(per_seed)
    if n_seeds == 1:
        return _prompt_means(per_seed[0], rng, n_resamples)
    drawn = rng.integers(n_seeds, size=(n_resamples, n_seeds))
    means = np.empty((n_resamples, n_seeds, per_seed[0].shape[1]))
    for seed, values in enumerate(per_seed):
        chosen = drawn == seed
        means[chosen] = _prompt_means(values, rng, int(chosen.sum()))
    return np.asarray(means.mean(axis=1))


def _prompt_means(values: Floats, rng: np.random.Generator, n_resamples: int) -> Floats:
    """Means `[n_resamples, groups]` of prompts drawn with replacement from `[prompts, groups]`."""
    n = len(values)
    rows, counts = np.unique(values, axis=0, return_counts=True)
    if len(rows) <= FEW_ROWS or n < MANY_PROMPTS:
        # How often each row is drawn is multinomial.
        weights = rng.multinomial(n, counts / n, size=n_resamples)
        return np.asarray(weights @ rows / n)
    return _normal_means(values, rng, n_resamples)


def _normal_means(values: Floats, rng: np.random.Generator, n_resamples: int) -> Floats:
    """Means as `_prompt_means`, to second order: their mean, covariance and skewness are those of resamples.

    Source: the Cornish-Fisher expansion, x = z + g (z^2 - 1) / 6 with g the skewness of the mean (Hall 1992,
    "The Bootstrap and Edgeworth Expansion", section 2.5).
    """
    n = len(values)
    mean, spread = values.mean(axis=0), values.std(axis=0)
    standard = (values - mean) / np.where(spread > 0, spread, 1)
    z = rng.multivariate_normal(np.zeros(len(mean)), standard.T @ standard / n, n_resamples, method="eigh")
    skew = (standard**3).mean(axis=0) / math.sqrt(n)
    means = mean + spread / math.sqrt(n) * (z + skew * (z**2 - 1) / 6)
    return np.asarray(np.clip(means, values.min(axis=0), values.max(axis=0)))


def as_table(values: ArrayLike) -> Floats:
    """Scores `[prompts, groups]` of one seed; what is `[prompts]` gets one column.

    Raises:
        ValueError: there are no prompts, too many axes, or numbers that are not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    if table.ndim != 2 or len(table) == 0:
        raise ValueError(f"scores must be [prompts] or [prompts, groups], not of shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError("scores must be finite")
    return table


def percentile_interval(replicates: ArrayLike, estimate: float, n: int, level: float = 0.95) -> Interval:
    """The percentile interval of bootstrap replicates, or Wilson's where they do not vary.

    When every prompt scored alike, all resamples do, and the bootstrap would claim certainty after
    any number of prompts. For a statistic between 0 and 1 the answer is then Wilson's interval at
    the estimate with `n` prompts; outside that range there is nothing to fall back on and the
    interval is a point.

    Args:
        replicates: `[resamples]`.
        estimate: the statistic on the data as they are.
        n: prompts behind it, over all seeds.
        level: two-sided confidence level.
    """
    values = np.asarray(replicates, dtype=np.float64)
    if np.ptp(values) < 1e-12:
        if -1e-12 <= estimate <= 1 + 1e-12:
            return wilson(min(max(estimate, 0.0), 1.0) * n, 0, n, level)
        return Interval(estimate, estimate)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def cluster_bootstrap(
    values: ArrayLike, rng: np.random.Generator, level: float = 0.95, n_resamples: int = RESAMPLES
) -> Interval:
    """A percentile interval of a mean over prompts, each prompt one cluster.

    If all prompts scored alike it is Wilson's interval with as many trials as prompts (see
    `percentile_interval`).

    Args:
        values: `[prompts]`, each prompt's mean score over its samples, 0..1.
        rng: where the draws come from.
        level: two-sided confidence level.
        n_resamples: resamples to draw.
    """
    table = as_table(values)[:, :1]
    replicates = resample_means([table], rng, n_resamples)[:, 0]
    return percentile_interval(replicates, float(table.mean()), len(table), level)


def group_interval(scores: ArrayLike, rng: np.random.Generator, level: float = 0.95) -> Interval:
    """One group's win rate: Wilson for one sample per prompt, prompt-clustered bootstrap otherwise.

    Args:
        scores: `[prompts, samples]` outcomes: 1 won, 0.5 tied, 0 lost.
        rng: used by the bootstrap only.
        level: two-sided confidence level.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"scores must be [prompts, samples], not of shape {table.shape}")
    if table.shape[1] == 1:
        return wilson(float(table.sum()), 0, len(table), level)
    return cluster_bootstrap(table.mean(axis=1), rng, level)
