"""A world's tables: what is listed is the world's, and what was drawn could come of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.problem.problem import Problem
from prefbench.record.alike import TOLERANCE
from prefbench.record.checked import Checked
from prefbench.record.files import DISTRIBUTION_FILE
from prefbench.record.schema import Record

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.arrays import Floats, Ints

RARE = math.log(2 / 1e-6)
"""Bound for draws: by Bernstein's inequality honest ones lie further from their mean once in a million at
most."""


def check_world(checked: Checked, record: Record, problem: Problem) -> None:
    """A world's tables: what is listed is the world's, and what was drawn could come of it."""
    world = problem.world
    if world is None:
        if record.regret is not None:
            checked.wrong.append("it has regret, but the task has no world")
        return
    listed = world.listed(problem.measured)
    names = [group.name for group in problem.groups]
    listed = listed.rename(columns={f"utility/{i}": f"utility/{name}" for i, name in enumerate(names)})
    items = checked.tables["items"]
    choices = world.reference.shape[1]
    rows = world.rows(items["prompt"].tolist())
    states, position = np.unique(rows, return_inverse=True)

    def places(texts: list[str]) -> Ints:
        return np.asarray(position * choices + world.columns(rows, texts), dtype=np.int64)

    _check_draws(checked, listed, listed["reference"].to_numpy(), places, "reference_response", names)
    if record.regret is None:
        return
    if record.regret.beta != world.beta:
        checked.wrong.append(f"regret.beta is {record.regret.beta:g}, the world's is {world.beta:g}")
    table = checked.tables["distribution"]
    if len(table) != len(listed):
        checked.wrong.append(f"{DISTRIBUTION_FILE} does not list the responses of the world")
        return
    for name in listed.columns:
        written, value = table[name], listed[name]
        same = (
            written.tolist() == value.tolist()
            if name in ("state", "response")
            else np.allclose(written.to_numpy(dtype=np.float64), value, rtol=1e-9, atol=1e-12)
        )
        if not same:
            checked.wrong.append(f"{name} of {DISTRIBUTION_FILE} is not the world's")
    policy = table["policy"].to_numpy(dtype=np.float64)
    sums = policy.reshape(len(states), choices).sum(axis=1)
    if not (policy >= 0).all() or not np.allclose(sums, 1, atol=1e-6):
        checked.wrong.append(f"policy of {DISTRIBUTION_FILE} is no distribution over responses")
        return
    _check_draws(checked, listed, policy, places, "response", names)
    if items["kl"].notna().all():
        at = places(items["response"].tolist())
        with np.errstate(divide="ignore"):
            cost = np.log(policy[at]) - np.log(listed["reference"].to_numpy()[at])
        differing = int((~(np.abs(items["kl"].to_numpy() - cost) <= TOLERANCE)).sum())
        if differing:
            checked.wrong.append(f"kl is not that of {DISTRIBUTION_FILE} in {differing} rows")


def _check_draws(
    checked: Checked, listed: pd.DataFrame, chance: Floats, places: Any, column: str, names: list[str]
) -> None:
    """Check that responses can have been drawn with these chances: none is impossible, no mean is far off."""
    items = checked.tables["items"]
    at = places(items[column].tolist())
    if (chance[at] <= 0).any():
        checked.wrong.append(f"{column} of the items has what its policy never says")
        return
    size, choices = len(items), len(listed) // listed["state"].nunique()
    chances = chance.reshape(-1, choices)
    weight = listed["state_weight"].to_numpy().reshape(-1, choices)[:, 0]
    for name in names:
        utility = listed[f"utility/{name}"].to_numpy().reshape(-1, choices)
        mean = (chances * utility).sum(axis=1)
        spread = math.sqrt(float(weight @ (chances * (utility - mean[:, None]) ** 2).sum(axis=1)))
        width = float((utility.max(axis=1) - utility.min(axis=1)).max())
        far = abs(float(utility.ravel()[at].mean()) - float(weight @ mean))
        if far > math.sqrt(2 * RARE / size) * spread + 2 / 3 * RARE * width / size:
            checked.wrong.append(f"{column} of the items was not drawn from its policy: {name} is far off")
            return
