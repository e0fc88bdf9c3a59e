"""Sample sizes: differences that so many prompts can show, and prompts that show a difference."""

from __future__ import annotations

import math

from prefbench.stats.comparisons import DropTest
from prefbench.stats.intervals import z_quantile
from prefbench.stats.runs import t_quantile


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


def detectable_over_runs(spread: float, n: int, power: float = 0.8, level: float = 0.05) -> float:
    """The smallest difference of two rows' means over `n` runs each that Student's t tells from none.

    The test is the one that is used (`runs.mean_over_runs` of the differences, run by run), the two rows'
    runs are taken as unrelated, and the alternative follows the noncentral t (Johnson & Welch 1940).

    Args:
        spread: standard deviation of a run's figure, its prompts' noise within it.
        n: runs of each row, at least 2.
        power: the chance to find a difference of that size.
        level: two-sided significance level.

    Returns:
        A difference of shares, at most 1.
    """
    from scipy.special import nctdtrinc

    if n < 2:
        raise ValueError(f"{n} run: nothing is known of the spread")
    # What is found on the wrong side is no find; at 80% it would not count anyway.
    shift = float(nctdtrinc(n - 1, 1 - power, t_quantile(1 - level / 2, n - 1)))
    return min(1.0, shift * spread * math.sqrt(2 / n))


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
