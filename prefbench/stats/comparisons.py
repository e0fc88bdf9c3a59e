"""Differences of win rates, and tests that answer yes, no, or too few prompts to say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from prefbench.arrays import Floats
from prefbench.stats.intervals import z_quantile
from prefbench.stats.runs import Mean, t_quantile, t_upper_tail

Verdict: TypeAlias = Literal["held", "fell", "cannot tell"]


def closing(verdicts: Iterable[Verdict], strict: bool, allow_undecided: bool) -> frozenset[Verdict]:
    """The verdicts that close a gate: a fall, and what is undecided if strict or if nothing was decided.

    Args:
        verdicts: all of the gate's.
        strict: whatever is undecided closes it.
        allow_undecided: a gate that decided nothing stays open.
    """
    decided = any(verdict != "cannot tell" for verdict in verdicts)
    return frozenset(("fell", "cannot tell") if strict or not (decided or allow_undecided) else ("fell",))


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


def binomial(rate: float, n: int) -> Mean:
    """A rate of so many prompts, one sample each, after adding one win and one loss to its standard error.

    So a rate of 0 or 1 is not taken for certain (Agresti & Caffo 2000).

    Raises:
        ValueError: there is no such rate.
    """
    if n < 1 or not 0 <= rate <= 1:
        raise ValueError(f"impossible rate {rate} of {n} prompts")
    smoothed = (rate * n + 1) / (n + 2)
    return Mean(rate, math.sqrt(smoothed * (1 - smoothed) / (n + 2)), math.inf)


def judge_drop(
    difference: Mean, margin: float, n: float, level: float = 0.05, power: float = 0.8
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
