"""Numbers of a record, group by group, and options of a run, as a tracker is told them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prefbench import consent
from prefbench.numerics import NUMERICS
from prefbench.record.anonymous import without_paths
from prefbench.record.schema import Record
from prefbench.spec import SECTIONS, RunSpec
from prefbench.version import __version__

WITH_INTERVAL = (
    "worst_group_win_rate",
    "minority_win_rate",
    "majority_win_rate",
    "mean_win_rate",
    "gap",
    "prompted_worst_group_win_rate",
)
"""Figures of a record that have a 95% interval beside them."""
PLAIN = (
    "kl",
    "mean_length",
    "reference_length",
    "empty_rate",
    "retention",
    "utility_gain",
    "mde",
    "n_prompts",
)
OF_A_GROUP = (
    "share",
    "win_rate",
    "ci_low",
    "ci_high",
    "mean_utility",
    "reference_utility",
    "reward_accuracy",
)
REGRETS = ("max_regret", "egalitarian_regret", "pareto_distance")


def config_of(spec: RunSpec) -> dict[str, Any]:
    """The options of a specification as `--set` names them, and what else says which run it is.

    Paths are told by their last part, addresses of servers by host and port.
    """
    told: dict[str, Any] = {
        "task": spec.task,
        "aligner": spec.aligner,
        "model": spec.model,
        "data": spec.data,
        "minority_ratio": spec.minority_ratio,
        "seed": spec.seed,
        "split": spec.split,
        "spec_hash": spec.hash,
        "numerics": NUMERICS,
        "prefbench": __version__,
    }
    for section in SECTIONS:
        options = consent.without_keys(getattr(spec, f"{section}_options"))
        servers = {name: consent.place_of(url) for name, url in consent.addresses(options).items()}
        told |= {f"{section}.{name}": value for name, value in {**options, **servers}.items()}
    return {name: without_paths(value) for name, value in told.items()}


def group_of(spec: RunSpec) -> str:
    """Setting and aligner, which the seeds of a row have in common, in a few words."""
    return str(without_paths(f"{spec.task}, {spec.aligner}, {spec.model}, {spec.minority_ratio:g}"))


def figures_of(record: Record) -> dict[str, float]:
    """The finite numbers of a record, those of a group under `group/NAME/`; none unless it ended well."""
    found: dict[str, float | None] = {name: getattr(record, name) for name in (*WITH_INTERVAL, *PLAIN)}
    for name in WITH_INTERVAL:
        low, high = getattr(record, f"{name}_ci") or (None, None)
        found |= {f"{name}/ci_low": low, f"{name}/ci_high": high}
    for group in record.groups:
        found |= {f"group/{group.name}/{name}": getattr(group, name) for name in OF_A_GROUP}
    if record.regret is not None:
        found |= {name: getattr(record.regret, name) for name in REGRETS}
        found |= {f"group/{group.name}/regret": group.regret for group in record.regret.groups}
    return finite(found)


def finite(figures: Mapping[str, float | None]) -> dict[str, float]:
    """The figures that are finite numbers."""
    return {
        name: float(value) for name, value in figures.items() if value is not None and math.isfinite(value)
    }
