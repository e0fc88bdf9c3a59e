"""Many instances of the theory, and how its bounds and its directions did over them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import UserError
from prefbench.evaluate.theory import BOUNDS, measure
from prefbench.problem.problem import Problem
from prefbench.registry import Entry, entries, get
from prefbench.spec import resolve

if TYPE_CHECKING:
    import pandas as pd


MINORITY_RATIOS = (0.05, 0.1, 0.2, 0.35, 0.5)
BETAS = (0.1, 0.2, 0.5, 1.0)
DIVERSITIES = ("0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1.0")
"""Values that a sweep goes through where nothing else is asked for; the last is of the option `diversity`."""


def sweep(
    task: str,
    *,
    minority_ratios: Sequence[float] | None = None,
    betas: Sequence[float] = BETAS,
    options: Mapping[str, Sequence[Any]] | None = None,
    sets: Mapping[str, Any] | None = None,
    seeds: int = 5,
) -> pd.DataFrame:
    """Measure every combination of minority ratio, KL weight, task option and seed.

    Args:
        task: name of a task for the finite model.
        minority_ratios: shares asked for; None takes `MINORITY_RATIOS` as far as the number of groups allows.
        betas: KL weights, in log odds of a label per nat.
        options: task options to go through and their values; None takes `DIVERSITIES` where the task has an
            option `diversity` that `sets` leaves alone.
        sets: task options that stay as they are.
        seeds: worlds drawn, from seed 0 up.

    Returns:
        One row per instance: task, seed, minority_ratio, task.NAME for each option gone through, and the
        columns of `measure`.

    Raises:
        UserError: a name, option or value is wrong, or `measure` refuses an instance.
        PrefbenchError: see `measure`.
    """
    import pandas as pd

    entry = listed_task(task, seeds)
    fixed = dict(sets or {})
    if options is None:
        free = "diversity" in entry.options.model_fields and "diversity" not in fixed
        options = {"diversity": DIVERSITIES} if free else {}
    if both := fixed.keys() & options.keys():
        raise UserError(f"task.{min(both)} is both set and gone through: leave one of them out.")
    combinations = [
        resolve(entry.options, {**fixed, **dict(zip(options, values, strict=True))}, "task", task)
        for values in itertools.product(*options.values())
    ]
    rows = []
    for chosen in combinations:
        ratios = minority_ratios
        if ratios is None:
            groups = len(entry.function("synthetic", MINORITY_RATIOS[0], 0, **chosen).groups)
            ratios = [ratio for ratio in MINORITY_RATIOS if ratio * groups <= 1 + 1e-9]
        for ratio, seed in itertools.product(ratios, range(seeds)):
            problem: Problem = entry.function("synthetic", ratio, seed, **chosen)
            asked = {f"task.{name}": chosen[name] for name in options}
            head = {"task": f"{task}@{entry.version}", "seed": seed, "minority_ratio": ratio, **asked}
            rows += [{**head, **row} for row in measure(problem, betas)]
    return pd.DataFrame(rows)


def listed_task(task: str, seeds: int) -> Entry:
    """The task of that name, whose worlds are to be drawn for so many seeds.

    Raises:
        UserError: there is none, its responses cannot be listed, or `seeds` is no number of worlds.
    """
    entry = get("task", task)
    if entry.backbone != "finite":
        listed = ", ".join(e.name for e in entries("task") if e.backbone == "finite")
        raise UserError(
            f"the responses of task '{task}' cannot be listed; tasks where they can: {listed}"
            ": name one of them."
        )
    if seeds < 1:
        raise UserError(f"seeds '{seeds}' is not a whole number from 1 up: give one such as 5.")
    return entry


def summary(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The success of each bound over a sweep.

    Returns:
        For each bound that applied anywhere: bound, quoted, held, instances, and the median and largest ratio
        of the lower side to the upper one (above 1 is a violation; None where all upper sides are zero).
    """
    result = []
    for bound in BOUNDS:
        rows = frame[frame[bound.column].notna()]
        if rows.empty:
            continue
        sides = (bound.measured, bound.column) if bound.upper else (bound.column, bound.measured)
        low, high = (rows[side].to_numpy(dtype=float) for side in sides)
        ratio = low[high > 0] / high[high > 0]
        result.append(
            {
                "bound": bound.meaning,
                "quoted": bound.quoted,
                "held": int(rows[f"{bound.column}_holds"].astype(bool).sum()),
                "instances": len(rows),
                "median": float(np.median(ratio)) if len(ratio) else None,
                "largest": float(ratio.max()) if len(ratio) else None,
            }
        )
    return result


def directions(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts of how group u's gap moves between neighbours of a sweep that differ in one thing.

    Returns:
        For each of epsilon, 1 - eta and beta: along, stated (grows or falls), as_stated and comparisons.
        Epsilon is compared along the task's first swept option; the others along the sweep's own axes.
    """
    swept = [name for name in frame.columns if name.startswith("task.")]
    axes = ["seed", "minority_ratio", "beta", *swept]
    result = []
    for along, by, axis, sign in (
        ("epsilon", "epsilon", swept[0] if swept else None, 1),
        ("1 - eta", "share", "minority_ratio", -1),
        ("beta", "beta", "beta", -1),
    ):
        if axis is None:
            continue
        right = total = 0
        for _, rows in frame.groupby([name for name in axes if name != axis], sort=False, dropna=False):
            ordered = rows.sort_values(by)
            step = np.diff(ordered[by]) > 1e-12
            right += int((step & (sign * np.diff(ordered["gap"]) > 0)).sum())
            total += int(step.sum())
        stated = "grows" if along != "beta" else "falls"
        result.append({"along": along, "stated": stated, "as_stated": right, "comparisons": total})
    return result


def verdicts(frame: pd.DataFrame) -> list[str]:
    """The findings of a sweep, in sentences."""
    bounds = summary(frame)
    derived = [bound for bound in bounds if not bound["quoted"]]
    failed = [bound for bound in derived if bound["held"] < bound["instances"]]
    result = [
        f"DERIVED BOUND FAILED on {bound['instances'] - bound['held']} of {bound['instances']} instances: "
        f"{bound['bound']}. It is proven, so this is an error of prefbench or of rounding; please report it."
        for bound in failed
    ] or [f"All {len(derived)} derived bounds held on all {len(frame)} instances."]
    for bound in bounds:
        if bound["quoted"]:
            result.append(f"{bound['bound']} held on {bound['held']} of {bound['instances']} instances.")
    for found in directions(frame):
        if found["comparisons"]:
            result.append(
                f"The gap {found['stated']} with {found['along']} in {found['as_stated']} of "
                f"{found['comparisons']} comparisons of neighbours."
            )
    return result
