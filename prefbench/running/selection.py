"""Scores that tuning selects a policy by on validation prompts, by every rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefbench.arrays import Floats
from prefbench.evaluate.own_values import own_game, own_value
from prefbench.evaluate.selection import scores_of_judgements, scores_of_values, won
from prefbench.evaluate.win_rate import outcomes
from prefbench.learn import exact
from prefbench.learn.game import Game
from prefbench.problem.people import Scales, own_utilities
from prefbench.problem.problem import Problem
from prefbench.running.judges import JUDGED_FILE, JUDGES_FILE, asked_of_judges, judges_of
from prefbench.spec import RunSpec
from prefbench.store.tables import read_frame
from prefbench.text import is_empty


def selection(
    spec: RunSpec,
    problem: Problem,
    scales: Scales | None,
    policy_folder: Path,
    items: pd.DataFrame,
    listed: Floats | None,
    measured: Mapping[str, Any],
) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """The record's `selection` block, and the judgements behind it; none where values are exact.

    Args:
        spec: the run's.
        problem: its people and what they want.
        scales: of own utilities; None at a spread of 0.
        policy_folder: of the stage `policy`, with what a personal policy says to those who judge it.
        items: what it says to those of whom nothing is known, and a plain one to everybody.
        listed: probabilities of all responses under that policy, [S, R]; None where they are not listed.
        measured: the record's `regret` and `worst_group_win_rate`.
    """
    personal = (policy_folder / JUDGED_FILE).exists()
    if listed is not None and (not personal or (policy_folder / JUDGES_FILE).exists()):
        given = None
        if personal:
            given = read_frame(policy_folder / JUDGES_FILE)["policy"].to_numpy().reshape(-1, *listed.shape)
        return {"measure": "value", **_values(spec, problem, scales, listed, given, measured["regret"])}, None
    told = read_frame(policy_folder / JUDGED_FILE)["response"] if personal else None
    judged, scores = _judgements(spec, problem, scales, items, told, measured["worst_group_win_rate"])
    return {"measure": "share won", **scores}, judged


def _values(
    spec: RunSpec,
    problem: Problem,
    scales: Scales | None,
    listed: Floats,
    given: Floats | None,
    regret: Mapping[str, Any],
) -> dict[str, float]:
    """Scores by exact values, of one policy for all `listed` or of those that are `given`, [judges, S, R]."""
    judges = judges_of(problem, spec.seed)
    group = np.array([judge.group for judge in judges])
    counts = np.bincount(group, minlength=len(problem.groups)).tolist()
    if given is None and scales is None:
        values = np.array([each["value"] for each in regret["groups"]])
        return scores_of_values(values, np.repeat(values, counts), counts, regret["egalitarian_regret"])
    games = [own_game(problem, spec.seed, scales, judge) for judge in judges]
    policies = [listed] * len(judges) if given is None else list(given)
    each = np.array([own_value(game, policy) for game, policy in zip(games, policies, strict=True)])
    values = np.array([each[group == place].mean() for place in range(len(counts))])
    wants = [
        np.mean([games[i].rewards for i in np.flatnonzero(group == g)], axis=0) for g in range(len(counts))
    ]
    first = games[0]
    everybody = Game(np.concatenate(wants, axis=2), first.reference, first.weights, first.beta)
    lacking = float(exact.maxmin(everybody).welfare - values.min())
    return scores_of_values(values, each, counts, lacking)


def _judgements(
    spec: RunSpec,
    problem: Problem,
    scales: Scales | None,
    items: pd.DataFrame,
    told: pd.Series | None,
    worst_group_win_rate: float,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """The judgements, a row each, and the scores by them; `told` are the responses, if not those of items."""
    asked = asked_of_judges(spec, problem)
    names = [group.name for group in problem.groups]
    ours, theirs = (
        items[[f"{side}/{name}" for name in names]].to_numpy(dtype=np.float64)
        for side in ("utility", "reference_utility")
    )
    unit = np.maximum(theirs.std(axis=0), 1e-9)
    rows = items.iloc[asked.item]
    mine, other = ours[asked.item, asked.group], theirs[asked.item, asked.group]
    empty, silent = rows["empty"].to_numpy(dtype=bool), (rows["reference_words"] == 0).to_numpy()
    if told is not None:
        empty = np.array([is_empty(text) for text in told])
    own = told is not None or scales is not None
    if own:
        judges = judges_of(problem, spec.seed)
        said = rows["response"] if told is None else told
        texts = (rows["prompt"].tolist(), said.tolist(), rows["reference_response"].tolist())
        found = own_utilities(problem, spec.seed, scales, [judges[user] for user in asked.user], texts)
        assert found is not None
        mine, other = found
    judged = pd.DataFrame(
        {
            "prompt_id": rows["prompt_id"].to_numpy(),
            "sample": rows["sample"].to_numpy(),
            "user_id": asked.user,
            "group": [names[index] for index in asked.group],
            **({} if told is None else {"response": told.to_numpy()}),
            "won": won(asked, mine, other, empty, silent, problem.temperature * unit),
        }
    )
    if own:
        true = outcomes(mine[:, None, None], other[:, None, None], empty[:, None], silent[:, None])
        worst_group_win_rate = min(float(true[asked.group == place].mean()) for place in range(len(names)))
    return judged, scores_of_judgements(judged, worst_group_win_rate)
