"""One row of a baseline against the same configuration now: the test, and the verdict in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from prefbench.boards.columns import DECIMALS
from prefbench.boards.gate_file import GROUP, METRIC, Key
from prefbench.boards.gate_report import GateRow, row_name
from prefbench.boards.names import made_by
from prefbench.boards.ranks import compare
from prefbench.boards.rows import Row
from prefbench.config import Check
from prefbench.record.near_reference import near_reference
from prefbench.stats import comparisons, intervals, power
from prefbench.stats.comparisons import DropTest, Verdict
from prefbench.stats.runs import Mean, difference_of, mean_over_prompts, mean_over_runs

ONE_SEED = "one seed on a side: the spread between seeds is unknown, so the method may be as good as before"
SEEDS_WOULD = (
    "two or more seeds on each side would tell (or --prompts-only, for policies that are what they are)"
)


@dataclass(frozen=True)
class Tested:
    """A comparison before the correction for several rows."""

    old: float | None
    new: float | None
    test: DropTest | None
    paired: bool
    prompts: tuple[int, int]
    note: str = ""
    diverged: bool = False
    seeds: tuple[int, int] = (1, 1)
    """Numbers of seeds of the baseline and of the new row."""
    near: str | None = None
    """Word for the new policies where they are no farther than a hair from the reference."""
    prompts_only: bool = False
    """True if the spread between seeds is left out, as the user says."""


def tested_row(
    cells: dict[str, Any],
    fresh: Row,
    behind: Row | None,
    check: Check,
    level: float,
    prompts_only: bool = False,
) -> Tested:
    """A row of the baseline, its cells and as far as they are at hand its runs, against the fresh one."""
    import pandas as pd

    metric = check.metric
    grouped = metric.startswith(GROUP)
    shown = METRIC if grouped else metric
    numbers = (cells[shown], cells["n_prompts"], cells["n_seeds"])
    if cells["status"] != "ok" or any(pd.isna(number) for number in numbers):
        why = cells["status"] if cells["status"] != "ok" else "without numbers"
        return Tested(None, None, None, False, (0, 0), f"the baseline row is {why}")
    old, n_old = float(cells[shown]), int(cells["n_prompts"])
    if grouped and behind is not None and behind.measurable:
        old = _mean(behind, metric)
    if fresh.status != "ok":
        diverged = fresh.status == "diverged"
        return Tested(old, None, None, False, (n_old, 0), f"the new row is {fresh.status}", diverged)
    numerics = None if pd.isna(cells["numerics"]) else int(cells["numerics"])
    if fresh.numerics != numerics:
        ours, theirs = made_by(numerics), made_by(fresh.numerics)
        note = f"the baseline was made by {ours} and the new row by {theirs}: make the baseline anew"
        return Tested(old, None, None, False, (n_old, 0), note)
    if metric == "worst_group_win_rate" and pd.isna(cells["worst_group_of_means"]):
        note = "the baseline's is the smallest of means over seeds, as older files have it: build it anew"
        return Tested(old, None, None, False, (n_old, 0), note)
    if grouped and metric.removeprefix(GROUP) not in [group.name for group in fresh.groups]:
        return Tested(old, None, None, False, (n_old, 0), "the new row lacks that group")
    new, n_new = _mean(fresh, metric), sum(len(seed.scores) for seed in fresh.seeds)
    near = near_reference(_kl(fresh))
    seeds = (int(cells["n_seeds"]), len(fresh.seeds))
    made = partial(
        Tested, old, new, prompts=(n_old, n_new), seeds=seeds, near=near, prompts_only=prompts_only
    )
    if min(seeds) == 1 and not prompts_only:
        return made(test=None, paired=False, note=ONE_SEED)

    note = ""
    if behind is not None:
        known = behind.status == "ok"
        if not known or abs(_mean(behind, shown) - float(cells[shown])) > 2 * 10**-DECIMALS:
            note = "the baseline runs do not give the baseline's number"
            if grouped:
                return Tested(None, new, None, False, (n_old, n_new), note)
        else:
            difference, paired = compare(behind, fresh, metric, prompts_only)
            if not paired:
                note = "seeds or prompts differ from the baseline's"
            if paired or grouped:
                n = n_new if paired else 2 / (1 / n_old + 1 / n_new)
                test = comparisons.judge_drop(difference, check.margin, n, level)
                return made(test=test, paired=paired, note=note)
    before = _published(cells, metric, prompts_only)
    now = (mean_over_prompts if prompts_only else mean_over_runs)(fresh.metric_scores(metric))
    difference = difference_of(before, now)
    # Both sides as large as this (their harmonic mean) would have the variance found.
    test = comparisons.judge_drop(difference, check.margin, 2 / (1 / n_old + 1 / n_new), level)
    return made(test=test, paired=False, note=note)


def _published(cells: dict[str, Any], metric: str, prompts_only: bool) -> Mean:
    """A baseline's rate with its standard error, from the cells of its row."""
    import pandas as pd

    rate, n_prompts, n = float(cells[metric]), int(cells["n_prompts"]), int(cells["n_seeds"])
    counted = comparisons.binomial(rate, n_prompts)
    between = cells[f"{metric}_sd"]
    if n == 1 or prompts_only:
        return counted
    if pd.isna(between):  # an older file, whose bootstrap showed (n - 1) / n of the variance between seeds
        low, high = cells[f"{metric}_low"], cells[f"{metric}_high"]
        se = (high - low) / (2 * intervals.z_quantile(0.975)) * math.sqrt(n / (n - 1))
        return Mean(rate, float(se) if se > 0 else counted.se, n - 1.0)
    each = max(2.0, n_prompts / n)
    return Mean(rate, math.sqrt((between**2 + 1 / (each * (each - 1))) / n), n - 1.0)


def _mean(row: Row, metric: str) -> float:
    return float(np.mean([scores.mean() for scores in row.metric_scores(metric)]))


def _kl(row: Row) -> float | None:
    """Mean distance from the reference over seeds, nats; None where one is unknown."""
    each = [record.kl for record in row.records.values() if record.kl is not None]
    return sum(each) / len(each) if len(each) == len(row.records) else None


def judged_row(key: Key, check: Check, tested: Tested, p: float | None, level: float, tests: int) -> GateRow:
    """The verdict on a comparison, with p corrected for so many tests, and the sentence that says it."""
    test, metric, margin = tested.test, check.metric, check.margin
    if test is None:
        verdict: Verdict = "fell" if tested.diverged else "cannot tell"
        said = f"{metric} cannot be compared, {tested.note}"
        if tested.note == ONE_SEED:
            said = f"{metric} went from {tested.old:.3f} to {tested.new:.3f}, {ONE_SEED}; {SEEDS_WOULD}"
            return _gate_row(key, check, verdict, f"{said}.", tested, None, would=SEEDS_WOULD)
        if tested.diverged:
            said = f"{metric} was {tested.old:.3f} and now the run diverged"
        return _gate_row(key, check, verdict, f"{said}.", tested, None)
    assert p is not None and tested.old is not None and tested.new is not None
    verdict, needed = test.verdict, test.n_needed
    if verdict == "fell" and p >= level:
        verdict = "cannot tell"  # alone it would have, but not as one of so many
        n = 2 / (1 / tested.prompts[0] + 1 / tested.prompts[1])
        needed = power.prompts_to_tell(test, margin, n, level, level / tests)
    change = f"{metric} went from {tested.old:.3f} to {tested.new:.3f}"
    how = "prompt by prompt" if tested.paired else "unpaired"
    counts = f"p = {p:.2g}, {tested.prompts[0]:,} and {tested.prompts[1]:,} prompts, {how}"
    if tested.note:
        counts += f" because {tested.note}"
    if tested.near is not None:
        counts += f", by a policy that is {tested.near}"
    if tested.prompts_only:
        counts += ", prompts only: of these policies, not of the method"
    if verdict == "fell":
        rest = f"a drop of at least {max(test.low, margin):.3f}, beyond the margin of {margin:g} ({counts})"
    elif verdict == "held":
        most = f"a drop of at most {test.high:.3f}" if test.high > 0 else "no drop"
        rest = f"{most}, within the margin of {margin:g} ({counts})"
    else:
        would = None if needed is None else _would(needed, tested)
        rest = (
            f"a drop between {test.low:.3f} and {test.high:.3f} against a margin of {margin:g} ({counts}); "
            f"{would or 'no number of prompts settles this: choose another margin, such as 0.05'}"
        )
        return _gate_row(key, check, verdict, f"{change}, {rest}.", tested, p, needed, would)
    return _gate_row(key, check, verdict, f"{change}, {rest}.", tested, p)


def _would(needed: int, tested: Tested) -> str:
    """A sentence that says how many prompts, and seeds, would decide a row."""
    if tested.prompts_only:
        return f"about {needed:,} prompts on each side would do"
    each = max(1, min(n // seeds for n, seeds in zip(tested.prompts, tested.seeds, strict=True)))
    return f"about {needed:,} prompts on each side would do, on {math.ceil(needed / each)} seeds of {each:,}"


def _gate_row(
    key: Key,
    check: Check,
    verdict: Verdict,
    said: str,
    tested: Tested,
    p: float | None,
    needed: int | None = None,
    would: str | None = None,
) -> GateRow:
    label = {"held": "held", "fell": "FELL", "cannot tell": "CANNOT TELL"}[verdict]
    return GateRow(
        key=key,
        check=check,
        verdict=verdict,
        sentence=f"{label}: {row_name(key)}: {said}",
        old=tested.old,
        new=tested.new,
        p_value=p,
        test=tested.test,
        paired=tested.paired,
        n_needed=needed,
        would=would,
    )
