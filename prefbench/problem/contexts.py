"""Contexts: what may be told of the people whom policies answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prefbench import seeds
from prefbench.problem.brought import STRENGTH
from prefbench.problem.labels import preference_probability
from prefbench.problem.people import Scales, beyond, people_of, taste_values
from prefbench.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd


def unseen_contexts(
    rows: pd.DataFrame, problem: Problem, seed: int, scales: Scales | None = None
) -> pd.DataFrame:
    """Pairs of train prompts as the unseen people label them, person by person.

    Args:
        rows: labelled pairs as `prefbench.problem.labels.label_pairs` gives them; whoever labelled them has
            no say here.
        problem: groups, population and preference noise.
        seed: the run's; a person's pairs come from its child "contexts" of her id, and her labels from a
            child of that.
        scales: of own utilities; None at a spread of 0.

    Returns:
        Rows `user_id, prompt, chosen, rejected`, up to the population's `context_pairs` for each person. Her
        first n are her context of n pairs, whatever the option says. She labels as people do in training:
        with the task's temperature, in standard deviations of her group's utility, and as the population
        says; where ties are labelled there is `strength` too.
    """
    import pandas as pd

    people = problem.population
    # One row of each pair: those of one pair stand side by side.
    train = rows[rows["split"] == "train"].iloc[:: people.labels_per_pair].reset_index(drop=True)
    chosen, rejected = (train[side].to_numpy(dtype=object) for side in ("chosen", "rejected"))
    values = None
    if scales is not None:
        values = taste_values(problem, train["prompt"].tolist(), chosen.tolist(), rejected.tolist())
        assert values is not None
    spread = []
    for group in problem.groups:
        both = [rows[f"{side}_utility/{group.name}"].to_numpy() for side in ("chosen", "rejected")]
        spread.append(max(float(np.concatenate(both).std()), 1e-9))
    tables = []
    for person in people_of(problem, seed):
        if person.seen:
            continue
        name = problem.groups[person.group].name
        who = int(person.id)
        shown = seeds.rng(seed, "contexts", who).permutation(len(train))[: people.context_pairs]
        gain = (train[f"chosen_utility/{name}"] - train[f"rejected_utility/{name}"]).to_numpy()[shown]
        # Whose number is counted are annotators, so that of unseen people nobody is among them.
        said = 1.0 if name in people.reporters else people.reporting.get(name, 1.0)
        if isinstance(said, str):
            own = [group.name for group in problem.groups].index(said)
            theirs = (train[f"chosen_utility/{said}"] - train[f"rejected_utility/{said}"]).to_numpy()[shown]
            gain, said = theirs * spread[person.group] / spread[own], 1.0
        elif values is not None and scales is not None:
            n = len(shown)
            one, other = (
                beyond(problem, seed, scales, [who] * n, [person.group] * n, table[shown]) for table in values
            )
            gain = gain + one - other
        agrees = preference_probability(said * gain, np.array(problem.temperature * spread[person.group]))
        meant = seeds.rng(seed, "contexts", who, "coins").random(len(shown)) < people.reliability
        tied = np.abs(gain) < people.tie_band * spread[person.group]
        agrees = np.where(meant & ~tied, agrees, 0.5)
        kept = seeds.rng(seed, "contexts", who, "labels").random(len(shown)) < agrees
        tables.append(
            pd.DataFrame(
                {
                    "user_id": who,
                    "prompt": train["prompt"].to_numpy(dtype=object)[shown],
                    "chosen": np.where(kept, chosen[shown], rejected[shown]),
                    "rejected": np.where(kept, rejected[shown], chosen[shown]),
                    **({STRENGTH: np.where(meant & tied, 0.5, 1.0)} if people.tie_band else {}),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
