"""The record's entries on people, made out of their evidence alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from prefbench.errors import UserError
from prefbench.evaluate.win_rate import outcomes
from prefbench.problem.strata import CONTROLS, Shown
from prefbench.record.evidence import EXACT_COLUMNS, PEOPLE_COLUMNS
from prefbench.record.files import PEOPLE_FILE
from prefbench.seeds import rng
from prefbench.stats.crossed import Crossed, difference_interval, drawn_prompts, rate_interval
from prefbench.stats.inequality import atkinson, gini, most_tenth, worst_tenth
from prefbench.text import one_line

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.arrays import Floats, Ints
    from prefbench.stats.intervals import Interval


class _Judged(NamedTuple):
    """One group in one stratum."""

    scores: Floats
    """`[prompts]`: each prompt's mean over samples."""
    person: Ints
    """`[prompts]`: who judged, as an index."""
    kl: float
    """Mean over all responses; NaN where one is unknown."""
    people: Sequence[str]
    """Their ids, in order."""
    values: Floats
    """`[people, 2]`: each one's exact value of her policy and of the best; NaN where it is not known."""


class _Key(NamedTuple):
    """Names a stratum; n is 0 of the seen."""

    seen: bool
    n: int
    context: Shown


def summarise_people(table: pd.DataFrame, groups: Sequence[str], rng_seed: int) -> dict[str, Any]:
    """The `strata` and `own_minus` of `PeopleRecord`, from its evidence alone.

    Args:
        table: rows as `PEOPLE_COLUMNS` says, in any order.
        groups: names of the groups in the task's order.
        rng_seed: of the bootstrap.

    Raises:
        UserError: the table is incomplete, or a utility is not a finite number.
    """
    judged = _judged(table, groups)
    # People and prompts are drawn once, so that strata can be compared within resamples.
    prompts = len(next(iter(judged.values()))[0].scores)
    drawn = drawn_prompts(prompts, rng(rng_seed, "interval", "people", "prompts"))
    crossed = {}
    for seen, named in ((True, "seen"), (False, "unseen")):
        first = next((each for key, each in judged.items() if key.seen == seen), None)
        if first is not None:
            streams = (rng(rng_seed, "interval", "people", named, name) for name in groups)
            people = [drawn_prompts(len(g.people), rng_) for g, rng_ in zip(first, streams, strict=True)]
            crossed[seen] = Crossed(drawn, people)
    means = {
        key: np.stack(
            [crossed[key.seen].means(i, group.scores, group.person) for i, group in enumerate(each)], axis=1
        )
        for key, each in judged.items()
    }
    strata = [_stratum(key, each, groups, means[key]) for key, each in judged.items()]
    return {"strata": strata, "own_minus": _own_minus(judged, means)}


def _stratum(key: _Key, each: Sequence[_Judged], groups: Sequence[str], means: Floats) -> dict[str, Any]:
    """The fields of `StratumRecord`; `means` are of resamples, `[resamples, groups]`."""
    prompts = len(each[0].scores)
    rates = [float(group.scores.mean()) for group in each]
    worst = int(np.argmin(rates))
    intervals = [rate_interval(means[:, i], rate, prompts) for i, rate in enumerate(rates)]
    mean = float(np.mean(rates))
    lowest = rate_interval(means.min(axis=1), rates[worst], prompts)
    own = np.concatenate([_rates(group) for group in each])
    kl = float(np.mean([group.kl for group in each]))
    return {
        "seen": key.seen,
        "n": None if key.seen else key.n,
        "context": key.context,
        **_rate(mean, rate_interval(means.mean(axis=1), mean, prompts)),
        "groups": [
            {"name": name, "people": len(group.people), **_rate(rate, interval)}
            for name, group, rate, interval in zip(groups, each, rates, intervals, strict=True)
        ],
        "worst_group": groups[worst],
        "worst_group_win_rate": rates[worst],
        "worst_group_win_rate_ci": (lowest.low, lowest.high),
        "kl": None if np.isnan(kl) else kl,
        "worst_tenth": worst_tenth(own),
        "gini": gini(own),
        "atkinson": atkinson(own),
        "exact": _exact(each, groups),
    }


def _exact(each: Sequence[_Judged], groups: Sequence[str]) -> dict[str, Any] | None:
    """The fields of `PeopleValues`; None where somebody's value is not known."""
    if any(np.isnan(group.values).any() for group in each):
        return None
    means = [float(group.values[:, 0].mean()) for group in each]
    lost = [np.maximum(group.values[:, 1] - group.values[:, 0], 0.0) for group in each]
    worst = int(np.argmin(means))
    everybody = np.concatenate(lost)
    return {
        "groups": [
            {"name": name, "value": value, "regret": float(less.mean())}
            for name, value, less in zip(groups, means, lost, strict=True)
        ],
        "worst_group": groups[worst],
        "worst_group_value": means[worst],
        "regret": float(np.mean([less.mean() for less in lost])),
        "regret_worst_tenth": most_tenth(everybody),
        "regret_gini": gini(everybody),
    }


def _rate(rate: float, interval: Interval) -> dict[str, float]:
    return {"win_rate": rate, "ci_low": interval.low, "ci_high": interval.high}


def _rates(group: _Judged) -> Floats:
    """Each person's win rate over her prompts, `[people]`."""
    size = len(group.people)
    total = np.bincount(group.person, weights=group.scores, minlength=size)
    return np.asarray(total / np.bincount(group.person, minlength=size))


def _own_minus(
    judged: Mapping[_Key, Sequence[_Judged]], means: Mapping[_Key, Floats]
) -> list[dict[str, Any]]:
    """The entries of `OwnMinusRecord`."""
    found = []
    for key, each in judged.items():
        if key.context not in CONTROLS:
            continue
        own = key._replace(context="own")
        if own not in judged:
            raise UserError(f"{PEOPLE_FILE} has no own contexts of {key.n} pairs: run it again.")
        rates = [np.mean([group.scores.mean() for group in side]) for side in (judged[own], each)]
        difference = float(rates[0] - rates[1])
        apart = (means[own] - means[key]).mean(axis=1)
        interval = difference_interval(apart, difference)
        found.append(
            {
                "context": key.context,
                "n": key.n,
                "difference": difference,
                "ci_low": interval.low,
                "ci_high": interval.high,
            }
        )
    return found


def _judged(table: pd.DataFrame, groups: Sequence[str]) -> dict[_Key, list[_Judged]]:
    """Every group of every stratum: the seen, then the unseen by n, then the controls."""
    lacking = [name for name in PEOPLE_COLUMNS if name not in table.columns and name not in EXACT_COLUMNS]
    if lacking:
        raise UserError(f"{PEOPLE_FILE} has no column '{lacking[0]}': run it again.")
    if table.empty:
        raise UserError(f"{PEOPLE_FILE} has no rows: run it again.")
    order = ("own", *CONTROLS)
    if not (set(table["context"]) <= set(order) and set(table["group"]) == set(groups)):
        raise UserError(f"{PEOPLE_FILE} has a context or a group that there is none of: run it again.")
    seen, n = table["seen"].to_numpy(dtype=bool), table["n"].to_numpy()
    keys = list(map(_Key, seen.tolist(), np.where(seen, 0, n).tolist(), table["context"].tolist()))
    rows: dict[_Key, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    result = {}
    for key in sorted(rows, key=lambda key: (not key.seen, order.index(key.context), key.n)):
        mine = table.iloc[rows[key]]
        result[key] = [_of_group(mine[mine["group"] == name]) for name in groups]
    shapes = {len(group.scores) for each in result.values() for group in each}
    people = {(key.seen, i): set[tuple[str, ...]]() for key in result for i in range(len(groups))}
    for key, each in result.items():
        for i, group in enumerate(each):
            people[key.seen, i].add(tuple(group.people))
    if len(shapes) > 1 or any(len(sets) > 1 for sets in people.values()):
        raise UserError(
            f"{PEOPLE_FILE} does not have every prompt and person in every stratum: run it again."
        )
    return result


def _of_group(rows: pd.DataFrame) -> _Judged:
    """One group of a stratum, checked to be complete: each prompt has all samples, and one person."""
    ordered = rows.sort_values(["prompt_id", "sample"], kind="stable", ignore_index=True)
    samples = int(ordered["sample"].max()) + 1 if len(ordered) else 1
    prompts = len(ordered) // samples
    whole = prompts > 0 and len(ordered) == samples * ordered["prompt_id"].nunique()
    if not whole or (ordered["sample"] != ordered.index % samples).any():
        raise UserError(f"{PEOPLE_FILE} lacks some of the samples of a prompt: run it again.")
    people, person = np.unique(ordered["person"].to_numpy(dtype=str), return_inverse=True)
    person = person.reshape(prompts, samples)
    if (person != person[:, :1]).any():
        raise UserError(f"{PEOPLE_FILE} has two people of a group for one prompt: run it again.")
    columns = ("utility", "reference_utility")
    ours, theirs = (ordered[name].to_numpy(dtype=np.float64)[:, None, None] for name in columns)
    empty, silent = (ordered[name].to_numpy(dtype=bool)[:, None] for name in ("empty", "reference_empty"))
    try:
        won = outcomes(ours, theirs, empty, silent)
    except ValueError as error:
        raise UserError(f"{PEOPLE_FILE}: {one_line(error).rstrip('.')}: run it again.") from None
    kl = float(ordered["kl"].to_numpy(dtype=np.float64).mean())
    values = _values(ordered, person.ravel(), len(people))
    return _Judged(won.reshape(prompts, samples).mean(axis=1), person[:, 0], kl, people.tolist(), values)


def _values(rows: pd.DataFrame, person: Ints, size: int) -> Floats:
    """Each one's exact values, `[people, 2]`; rows of one person say the same."""
    if not set(EXACT_COLUMNS) <= set(rows.columns):
        return np.full((size, 2), np.nan)
    each = rows[list(EXACT_COLUMNS)].to_numpy(dtype=np.float64)
    first = np.unique(person, return_index=True)[1]
    found = each[first]
    if not np.array_equal(found[person], each, equal_nan=True):
        raise UserError(f"{PEOPLE_FILE} has two values of one policy for one person: run it again.")
    return np.asarray(found)
