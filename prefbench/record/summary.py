"""Every measured number of a record, made out of its evidence alone.

The run calls this to write the record and `record.verify` calls it to check one, so the two agree by
construction or somebody edited a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prefbench.errors import UserError
from prefbench.evaluate.texts import agreed
from prefbench.evaluate.win_rate import (
    GroupResult,
    ScoredGroup,
    fairness,
    fairness_statistics,
    group_results,
    minority_and_majority,
)
from prefbench.record.evidence import item_outcomes, prompted_outcomes, sorted_items
from prefbench.record.files import ITEMS_FILE, PROMPTED_FILE
from prefbench.record.summary_proxy import summarise_proxy, utility_gain
from prefbench.record.summary_texts import summarise_texts
from prefbench.seeds import rng
from prefbench.stats import intervals, power

if TYPE_CHECKING:
    import pandas as pd


def summarise(
    items: pd.DataFrame, groups: Sequence[tuple[str, float, bool]], rng_seed: int
) -> dict[str, Any]:
    """Every measured number of a record, from its items alone.

    Args:
        items: rows as `ITEM_COLUMNS` says, in any order.
        groups: name, share and whether it is a minority, of every group.
        rng_seed: of the bootstrap; a run gives its own seed, so that anyone can repeat it.

    Returns:
        `groups`, a list of dictionaries with the fields of `GroupRecord` except `utility`, `unit`
        and `reward_accuracy`, and every field named in `MEASURED` and `LATER_MEASURED`. Intervals are
        95%: of the minority and the majority those groups' own; of the worst group, mean and gap, which
        depend on several groups, a bootstrap over prompts.

    Raises:
        UserError: if the items are incomplete.
    """
    known = [ScoredGroup(*group) for group in groups]
    names = [group.name for group in known]
    ordered, samples = sorted_items(items, names)
    scores = item_outcomes(ordered, names)
    n_prompts = len(scores)
    results = group_results(scores, known, [rng(rng_seed, "interval", name) for name in names])
    measures = fairness([result.win_rate for result in results], known)
    by_prompt = scores.mean(axis=1)
    replicates = intervals.resample_means([by_prompt], rng(rng_seed, "interval"))
    minority, majority = minority_and_majority(known)
    own = {"minority_win_rate": results[minority].interval, "majority_win_rate": results[majority].interval}

    summary: dict[str, Any] = {
        "groups": [
            {
                "name": result.name,
                "share": result.share,
                "is_minority": result.is_minority,
                "n_prompts": result.n_prompts,
                **_compared(result),
                "mean_utility": _mean(ordered[f"utility/{result.name}"]),
                "reference_utility": _mean(ordered[f"reference_utility/{result.name}"]),
            }
            for result in results
        ],
        "worst_group": names[measures.worst],
    }
    for name, statistic in fairness_statistics(known).items():
        estimate = getattr(measures, name)
        interval = own.get(name) or intervals.percentile_interval(statistic(replicates), estimate, n_prompts)
        summary[name] = estimate
        summary[f"{name}_ci"] = (interval.low, interval.high)
    decided, kept = agreed(scores)
    summary |= {
        "mde": power.minimum_detectable_effect(n_prompts),
        "n_prompts": n_prompts,
        "samples_per_prompt": samples,
        "kl": _mean_kl(ordered["kl"]),
        "mean_length": _mean(ordered["words"]),
        "reference_length": _mean(ordered["reference_words"]),
        "empty_rate": _mean(ordered["empty"]),
        "agreed": decided,
        "retention": kept / decided if decided else None,
        "text": summarise_texts(ordered),
        "utility_gain": utility_gain(ordered, names),
        "proxy": summarise_proxy(ordered),
    }
    return summary


def _compared(result: GroupResult) -> dict[str, Any]:
    """A group's comparisons as the record holds them, told what is wanted or not."""
    return {
        "wins": result.wins,
        "ties": result.ties,
        "losses": result.losses,
        "win_rate": result.win_rate,
        "ci_low": result.interval.low,
        "ci_high": result.interval.high,
    }


def _mean_kl(column: pd.Series[float]) -> float | None:
    unknown = int(column.isna().sum())
    if unknown == len(column):
        return None
    if unknown:
        raise UserError(f"{ITEMS_FILE} lacks kl in {unknown} of {len(column)} rows: give it in all or none.")
    return _mean(column)


def _mean(column: pd.Series[float]) -> float:
    """The mean of a column that must not have gaps or infinities: nothing is averaged over."""
    mean = float(column.mean(skipna=False))
    if not math.isfinite(mean):
        raise UserError(f"{ITEMS_FILE}: column '{column.name}' has a value that is not finite: run it again.")
    return mean


def summarise_prompted(
    table: pd.DataFrame, groups: Sequence[tuple[str, float, bool]], rng_seed: int
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The record's entries on policies that were told what is wanted.

    Args:
        table: rows as `PROMPTED_COLUMNS` says, in any order.
        groups: name, share and whether it is a minority, of every group of the task.
        rng_seed: of the bootstrap.

    Returns:
        The fields of `PromptedRecord` by group, for those that have an instruction; and the record's own
        fields that start with `prompted_`.

    Raises:
        UserError: the table is incomplete.
    """
    told = set(table["group"]) if "group" in table.columns else set()
    known = [ScoredGroup(*group) for group in groups if group[0] in told]
    if not known:
        raise UserError(f"{PROMPTED_FILE} has no rows of any group: run it again.")
    names = [group.name for group in known]
    scores = prompted_outcomes(table, names)
    results = group_results(scores, known, [rng(rng_seed, "interval", "prompted", name) for name in names])
    replicates = intervals.resample_means([scores.mean(axis=1)], rng(rng_seed, "interval", "prompted"))
    worst = min(result.win_rate for result in results)
    interval = intervals.percentile_interval(replicates.min(axis=-1), worst, len(scores))
    by_group = {}
    for result in results:
        mine = table[table["group"] == result.name]
        by_group[result.name] = {
            **_compared(result),
            "mean_utility": _mean(mine["utility"]),
            "reference_utility": _mean(mine["reference_utility"]),
        }
    return by_group, {
        "prompted_worst_group_win_rate": worst,
        "prompted_worst_group_win_rate_ci": (interval.low, interval.high),
    }
