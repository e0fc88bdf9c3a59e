"""The record's figures on what learned rewards and groups gained, made out of the items alone.

Both are differences of means between the policy's responses and the reference's, in standard deviations over
reference responses, so that over-optimisation is seen: the rewards rise, and the groups fall.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import UserError
from prefbench.evaluate.win_rate import TIE
from prefbench.record.evidence import PROXY, REFERENCE_PROXY
from prefbench.record.files import ITEMS_FILE

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.arrays import Floats


def utility_gain(items: pd.DataFrame, groups: Sequence[str]) -> float | None:
    """Gain of the group that gained least, in standard deviations over the reference responses.

    None where a group finds all reference responses equally good.
    """
    gains = []
    for name in groups:
        ours, theirs = _values(items, f"utility/{name}"), _values(items, f"reference_utility/{name}")
        spread = float(theirs.std())
        if spread <= TIE:
            return None
        gains.append((_mean(ours) - _mean(theirs)) / spread)
    return min(gains)


def summarise_proxy(items: pd.DataFrame) -> dict[str, Any] | None:
    """The record's `proxy` block; None where the items have no learned rewards.

    Raises:
        UserError: a reward is there of one side only, or has a value that is not finite.
    """
    ours, theirs = (
        [str(name).removeprefix(prefix) for name in items.columns if str(name).startswith(prefix)]
        for prefix in (PROXY, REFERENCE_PROXY)
    )
    if ours != theirs:
        apart = sorted(set(ours) ^ set(theirs)) or ours
        raise UserError(f"{ITEMS_FILE} has reward '{apart[0]}' of one side only: run it again.")
    if not ours:
        return None
    means, references = (
        [_mean(_values(items, f"{prefix}{name}")) for name in ours] for prefix in (PROXY, REFERENCE_PROXY)
    )
    each = list(zip(ours, means, references, strict=True))
    return {
        "rewards": [{"name": name, "mean": mean, "reference": theirs} for name, mean, theirs in each],
        "gain": min(mean - theirs for _, mean, theirs in each),
    }


def _values(items: pd.DataFrame, name: str) -> Floats:
    values: Floats = items[name].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"{ITEMS_FILE}: column '{name}' has a value that is not finite: run it again.")
    return values


def _mean(values: Floats) -> float:
    return math.fsum(values) / len(values)
