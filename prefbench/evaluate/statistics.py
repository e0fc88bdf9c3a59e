"""Intervals, resampling and tests for win rates, in one place so that every number is judged alike.

Three rules hold throughout. The unit is the prompt: several samples for one prompt are one cluster
(Miller 2024, arXiv:2411.00640, section 2.2). Seeds are resampled before prompts, since a second run
of the same recipe differs by more than its prompts (Agarwal et al. 2021, arXiv:2108.13264, argue for
resampling runs). And a test has three answers, never two: yes, no, and too few prompts to say.

Rates, margins and differences are shares (0.05 is five points), never percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Statistic: TypeAlias = Callable[[Floats], Floats]
"""From group means `[..., groups]` to one number each, `[...]`: vectorised over the leading axes."""

RESAMPLES = 10_000
_CHUNK = 2_000_000  # draws held in memory at once: 16 MB of indices


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


Verdict: TypeAlias = Literal["held", "fell", "cannot tell"]


class Difference(NamedTuple):
    """A difference of two means with the standard error and degrees of freedom of its estimate."""

    estimate: float
    se: float
    df: float


class DropTest(NamedTuple):
    """Whether a rate fell by more than a margin.

    Attributes:
        drop: baseline minus new, so a positive number is a loss.
        low: the one-sided lower bound of the drop; beyond the margin means that it fell.
        high: the one-sided upper bound of the drop; up to the margin means that it held.
        p_value: of H0 "new >= baseline - margin" against H1 "it fell by more than the margin".
        verdict: `fell`, `held` or `cannot tell`.
        n_needed: prompts per arm with which no change at all would be called `held` with the power
            asked for. Where there are that many and the answer is still `cannot tell`, the drop lies
            near the margin: then prompts that tell a drop of just this size from the margin. None
            where no number would do (a margin of 0 cannot be held, a drop of the margin not told).
    """

    drop: float
    low: float
    high: float
    p_value: float
    verdict: Verdict
    n_needed: int | None


def z_quantile(probability: float) -> float:
    """The standard normal quantile."""
    return NormalDist().inv_cdf(probability)


# ------------------------------------------------------------------------------------- intervals


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
    """Group means in bootstrap resamples: seeds first, then prompts within each seed drawn.

    Args:
        scores: one array per seed, `[prompts]` or `[prompts, groups]`; prompts may differ in number.
        rng: where the draws come from. With one seed no seed is drawn, so this is the plain prompt
            bootstrap.
        n_resamples: resamples to draw.

    Returns:
        `[n_resamples, groups]`: the mean over the drawn seeds of the mean over the drawn prompts.
    """
    per_seed = [_as_table(values) for values in scores]
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
    if len(rows) <= (64 if n <= 100_000 else 5000):
        # With one sample per prompt few rows differ, and how often each is drawn is multinomial:
        # the same distribution at a hundredth of the cost.
        weights = rng.multinomial(n, counts / n, size=n_resamples)
        return np.asarray(weights @ rows / n)
    means = np.empty((n_resamples, values.shape[1]))
    step = max(1, _CHUNK // n)
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        index = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
        weights = np.bincount(index.ravel(), minlength=size * n).reshape(size, n)
        means[start : start + size] = weights @ values / n
    return means


def _as_table(values: ArrayLike) -> Floats:
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


def two_level_bootstrap(
    scores: Sequence[ArrayLike],
    statistic: Statistic,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = RESAMPLES,
) -> Interval:
    """A percentile interval for a statistic of group means, over seeds and prompts within them.

    Seeds are drawn with replacement, then prompts within each seed drawn; the statistic is taken of
    the mean over seeds. With one seed it is the prompt bootstrap and says nothing about other seeds.

    With few seeds the interval is rough: n seeds show only (n - 1) / n of the variance between them,
    and prompts are counted twice, which errs the other way. A minimum over groups is biased low (the
    smallest of several noisy means lies below the smallest true mean), and so is its interval; a
    maximum minus a minimum is biased high.

    Args:
        scores: one array per seed, `[prompts]` or `[prompts, groups]`, in 0..1.
        statistic: for example `lambda means: means.min(axis=-1)`.
        rng: where the draws come from.
        level: two-sided confidence level.
        n_resamples: resamples to draw.
    """
    per_seed = [_as_table(values) for values in scores]
    replicates = statistic(resample_means(per_seed, rng, n_resamples))
    estimate = float(statistic(np.mean([values.mean(axis=0) for values in per_seed], axis=0)))
    return percentile_interval(replicates, estimate, sum(map(len, per_seed)), level)


def first_column(means: Floats) -> Floats:
    """The statistic that is simply the mean of the first, or only, column."""
    return means[..., 0]


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
    return two_level_bootstrap([values], first_column, rng, level, n_resamples)


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


# --------------------------------------------------------------------------------- sample sizes


def minimum_detectable_effect(
    n: int, paired: bool = False, power: float = 0.8, level: float = 0.05, correlation: float = 0.5
) -> float:
    """The smallest difference of two win rates that `n` prompts per arm can tell from none.

    Worst case: the rates lie astride one half, where a share varies most. Solves
    `sqrt(n) d = z(1 - level/2) sqrt(1/2) + z(power) sqrt((1 - d^2) / 2)` for d, the usual pooled
    two-proportion formula (Fleiss, Levin & Paik 2003, section 4.2, without continuity correction).

    Args:
        n: prompts per arm, at least 1.
        paired: whether both arms answer the same prompts and are compared prompt by prompt.
        power: the chance to find a difference of that size.
        level: two-sided significance level.
        correlation: between the arms' scores over prompts; used when paired, and an assumption. One
            half is worth twice the prompts; 0 is worth nothing.

    Returns:
        A difference of shares, at most 1.
    """
    if n < 1:
        raise ValueError(f"{n} prompts")
    effective = n / (1 - correlation) if paired else float(n)
    a, b = z_quantile(1 - level / 2) / math.sqrt(2), z_quantile(power) / math.sqrt(2)
    root = effective + b * b - a * a
    if root <= 0:
        return 1.0
    return min(1.0, (a * math.sqrt(effective) + b * math.sqrt(root)) / (effective + b * b))


def prompts_needed(
    effect: float, paired: bool = False, power: float = 0.8, level: float = 0.05, correlation: float = 0.5
) -> int:
    """Prompts per arm that show a difference of `effect`: the inverse of `minimum_detectable_effect`.

    Five points need 1,569 and ten need 391, unpaired. Rounded to the nearest whole prompt; the
    normal approximation is no better than that.
    """
    if not 0 < effect <= 1:
        raise ValueError(f"an effect of {effect} is not in (0, 1]")
    a, b = z_quantile(1 - level / 2) / math.sqrt(2), z_quantile(power) / math.sqrt(2)
    n = ((a + b * math.sqrt(1 - effect * effect)) / effect) ** 2
    return max(1, round(n * (1 - correlation) if paired else n))


# ---------------------------------------------------------------------------------------- tests


def mean_difference(differences: Sequence[ArrayLike], unbiased: bool = False) -> Difference:
    """The mean of per-prompt differences, over seeds and prompts, with its standard error.

    The variance is what the two-level bootstrap converges to, written out:
    `var(seed means) / seeds + mean(variance of each seed's mean) / seeds`, the first with divisor
    `seeds` rather than `seeds - 1`. Degrees of freedom follow Satterthwaite (1946), so that a
    difference that rests on the spread of two or three seeds is judged by a wide t.

    Half a prompt at +1 and half a prompt at -1 are added to each seed's variance (in the spirit of
    Agresti & Min 2005, for matched pairs): without them, prompts that all agree would leave no
    doubt at all. Their effect is below one prompt in n.

    Args:
        differences: one array `[prompts]` per seed, each in -1..1.
        unbiased: take the variance of seed means with divisor `seeds - 1`, for a test that must keep its
            level where a few seeds differ by more than their prompts. It then errs by counting prompts
            twice, on the safe side.
    """
    tables = [_as_table(values)[:, 0] for values in differences]
    if not tables:
        raise ValueError("no seed to compare")
    means = np.array([values.mean() for values in tables])
    n_seeds = len(tables)
    within = float(np.mean([_variance_of_mean(values) for values in tables])) / n_seeds
    between = float(means.var(ddof=1 if unbiased and n_seeds > 1 else 0)) / n_seeds
    df_within = max(1, sum(map(len, tables)) - n_seeds)
    inverse_df = within**2 / df_within
    if n_seeds > 1:
        inverse_df += between**2 / (n_seeds - 1)
    df = (within + between) ** 2 / inverse_df
    return Difference(float(means.mean()), math.sqrt(within + between), df)


def _variance_of_mean(values: Floats) -> float:
    n = len(values)
    return float((((values - values.mean()) ** 2).sum() + 1) / (n * max(1, n - 1)))


def paired_drop_test(
    baseline_scores: Sequence[ArrayLike] | Floats,
    new_scores: Sequence[ArrayLike] | Floats,
    margin: float,
    level: float = 0.05,
    power: float = 0.8,
) -> DropTest:
    """Whether a score fell by more than a margin, on the same prompts before and after.

    A one-sided t test on the per-prompt differences (see `mean_difference`).

    Args:
        baseline_scores: `[prompts]`, or one such array per seed; each prompt's mean score, 0..1.
        new_scores: the same prompts and seeds in the same order.
        margin: the drop that is still tolerated, a share.
        level: one-sided significance level of each of the two answers `fell` and `held`.
        power: for `n_needed`.

    Raises:
        ValueError: if the two sides do not have the same seeds and prompts.
    """
    before, after = _per_seed(baseline_scores), _per_seed(new_scores)
    if [len(values) for values in before] != [len(values) for values in after]:
        raise ValueError("a paired test needs the same prompts on both sides")
    difference = mean_difference([old - new for old, new in zip(before, after, strict=True)])
    return judge_drop(difference, margin, sum(map(len, before)), level, power)


def _per_seed(scores: Sequence[ArrayLike] | Floats) -> list[Floats]:
    flat = isinstance(scores, np.ndarray) or all(np.ndim(value) == 0 for value in scores)
    return [np.asarray(values, dtype=np.float64) for values in ([scores] if flat else scores)]


def two_sample_drop_test(
    p_base: float,
    n_base: int,
    p_new: float,
    n_new: int,
    margin: float,
    *,
    se_base: float | None = None,
    se_new: float | None = None,
    seeds_base: int = 1,
    seeds_new: int = 1,
    level: float = 0.05,
    power: float = 0.8,
) -> DropTest:
    """Whether a rate fell by more than a margin, from two summaries.

    A one-sided normal test. Where a standard error is not given it is the binomial one after adding
    one win and one loss (Agresti & Caffo 2000), so that a rate of 0 or 1 is not taken for certain.

    A standard error over several seeds is taken to be the two-level bootstrap's, which shows only
    (seeds - 1) / seeds of the variance between them: it is scaled up, and what exceeds the binomial
    variance has as many degrees of freedom as there are seeds less one (Satterthwaite 1946).

    Args:
        p_base: the baseline's rate.
        n_base: prompts behind it, over all seeds.
        p_new: the new rate.
        n_new: prompts behind that.
        margin: the drop that is still tolerated, a share.
        se_base: the standard error of `p_base`, if known (it may include the variance of seeds).
        se_new: the same for `p_new`.
        seeds_base: seeds behind `se_base`.
        seeds_new: seeds behind `se_new`.
        level: one-sided significance level of each of the two answers `fell` and `held`.
        power: for `n_needed`.
    """
    variance = inverse_df = 0.0
    for rate, n, se, seeds in ((p_base, n_base, se_base, seeds_base), (p_new, n_new, se_new, seeds_new)):
        if n < 1 or not 0 <= rate <= 1:
            raise ValueError(f"impossible rate {rate} of {n} prompts")
        smoothed = (rate * n + 1) / (n + 2)
        binomial = smoothed * (1 - smoothed) / (n + 2)
        if se and seeds > 1:
            total = se**2 * seeds / (seeds - 1)
            inverse_df += max(0.0, total - binomial) ** 2 / (seeds - 1)
            variance += total
        else:
            variance += se**2 if se else binomial
    df = variance**2 / inverse_df if inverse_df else math.inf
    # Both arms as large as this (their harmonic mean) would have the variance found.
    n_effective = 2 / (1 / n_base + 1 / n_new)
    difference = Difference(p_base - p_new, math.sqrt(variance), df)
    return judge_drop(difference, margin, n_effective, level, power)


def judge_drop(
    difference: Difference, margin: float, n: float, level: float = 0.05, power: float = 0.8
) -> DropTest:
    """The three answers for a drop with a known standard error.

    Args:
        difference: baseline minus new.
        margin: the drop that is still tolerated, a share, at least 0.
        n: prompts per arm behind the standard error, from which `n_needed` is scaled.
        level: one-sided significance level.
        power: for `n_needed`.
    """
    if margin < 0:
        raise ValueError(f"a margin of {margin} is negative")
    estimate, se, df = difference
    quantile = t_quantile(1 - level, df)
    low, high = estimate - quantile * se, estimate + quantile * se
    p_value = t_upper_tail((estimate - margin) / se, df)
    verdict: Verdict = "fell" if low > margin else "held" if high <= margin else "cannot tell"

    def prompts_for(distance: float) -> int | None:
        if distance < 1e-6:
            return None
        return math.ceil(n * ((z_quantile(1 - level) + z_quantile(power)) * se / distance) ** 2)

    needed = prompts_for(margin)
    if verdict == "cannot tell" and needed is not None and needed <= n:
        needed = prompts_for(abs(estimate - margin))
    return DropTest(estimate, low, high, p_value, verdict, needed)


def prompts_to_tell(
    test: DropTest, margin: float, n: float, level: float, stricter: float, power: float = 0.8
) -> int | None:
    """Prompts per arm that would tell a drop of the size found from the margin at a stricter level.

    For one test of several, whose level a correction has lowered.

    Args:
        test: made at `level`.
        margin: the drop that is tolerated.
        n: prompts per arm behind the test.
        level: one-sided level that the test's bounds were made with.
        stricter: the level to reach, below `level`.
        power: the chance to reach it.

    Returns:
        None where the drop is of the margin's size.
    """
    distance = abs(test.drop - margin)
    if distance < 1e-6:
        return None
    se = (test.drop - test.low) / z_quantile(1 - level)
    return math.ceil(n * ((z_quantile(1 - stricter) + z_quantile(power)) * se / distance) ** 2)


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


def holm(pvalues: ArrayLike) -> Floats:
    """P values adjusted so that rejecting those up to `level` errs at all with chance `level`.

    Holm's step-down: the k-th smallest of m is multiplied by m - k + 1, and none may be smaller
    than the one before it. SciPy has only false discovery rates.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    Args:
        pvalues: `[tests]`.

    Returns:
        `[tests]`, in the order given, at most 1.
    """
    p = np.asarray(pvalues, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
