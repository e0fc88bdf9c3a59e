"""Labels that a task brought and that nobody learns from: figures are measured by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prefbench.problem.brought import STRENGTH
from prefbench.problem.people import people_of
from prefbench.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd


def held_out_labels(problem: Problem, seed: int) -> pd.DataFrame | None:
    """Brought labels to measure by, of people whom policies answer; None where there are none.

    Returns:
        Rows `label, prompt_id, person, group, seen, n, strength` as of `held_out.parquet`, `n` being 0 of the
        unseen; `user_id, prompt, chosen, rejected`, so named that no strength is below one half; and
        `turned`, true where the task had named them the other way round.
    """
    import pandas as pd

    if problem.given is None:
        return None
    rows = problem.given[problem.given["split"] == problem.measured_on].reset_index(drop=True)
    people = {person.id: person for person in people_of(problem, seed)}
    rows = rows.assign(label=np.arange(len(rows)))
    rows = rows[rows["user_id"].isin(list(people))].reset_index(drop=True)
    if rows.empty:
        return None
    who = [people[user] for user in rows["user_id"].tolist()]
    strength = rows[STRENGTH] if STRENGTH in rows else np.ones(len(rows))
    found = rows.assign(
        prompt_id=pd.factorize(rows["prompt"])[0].astype(np.int64),
        person=[str(person.id) for person in who],
        seen=[person.seen for person in who],
        n=np.array([person.labelled for person in who], dtype=np.int64),
        strength=np.asarray(strength, dtype=np.float64),
    )
    # Either response may be named first, as long as the label says which is better.
    turned = found["strength"] < 0.5
    won, lost = found["chosen"].copy(), found["rejected"].copy()
    found["chosen"], found["rejected"] = won.where(~turned, lost), lost.where(~turned, won)
    found["strength"] = found["strength"].where(~turned, 1 - found["strength"])
    told = ["label", "prompt_id", "person", "group", "seen", "n", "strength"]
    return found[[*told, "user_id", "prompt", "chosen", "rejected"]].assign(turned=turned)
