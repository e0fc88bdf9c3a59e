"""Differences of win rates, and tests that answer yes, no, or too few prompts to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from prefbench.arrays import Floats
from prefbench.stats.intervals import as_table, z_quantile

Verdict: TypeAlias = Literal["held", "fell", "cannot tell"]


class Difference(NamedTuple):
    """A difference of two means with the standard error and degrees of freedom of its estimate."""

    estimate: float
    se: float
    df: float


class DropTest(NamedTuple):
    """Answer to whether a rate fell by more than a margin.

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
    tables = [as_table(values)[:, 0] for values in differences]
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
    """Test of whether a score fell by more than a margin, on the same prompts before and after.

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
    """Test of whether a rate fell by more than a margin, from two summaries.

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
