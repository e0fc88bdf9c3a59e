"""The worth of a few labelled pairs of a user: the best worst group that any method can reach with them.

A user of a world labels n pairs, as annotators label training pairs; a policy that is shown them may answer
each user as it likes, at a KL charge. `learn/adaptive.py` has what it can do for the worst group at best:
over simulated contexts, and exactly at n = 0, where it is the maxmin optimum, and in the limit, where every
group has its own. Between the two lies the room of personal policies. Explained in docs/personal.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.errors import UserError
from prefbench.evaluate.regret import exact_game
from prefbench.evaluate.room import Room
from prefbench.evaluate.theory import world_of
from prefbench.evaluate.theory_sweep import listed_task
from prefbench.learn import experiment
from prefbench.learn.adaptive import least_favourable, of_prior
from prefbench.learn.game import Game
from prefbench.problem.problem import Problem, apportion
from prefbench.spec import resolve

if TYPE_CHECKING:
    import pandas as pd

PAIRS = (1, 2, 4, 8, 16, 32)
"""Pairs of a user that a curve is computed at, between none and the limit."""
CONTEXTS = 1000
"""Contexts simulated for each group."""
CONTEXT_NUMBERS = 20_000_000
"""Most numbers that the margins of all contexts may have: 160 megabytes."""


def curves(
    task: str,
    *,
    minority_ratio: float = 0.2,
    sets: Mapping[str, Any] | None = None,
    seeds: int = 1,
    contexts: int = CONTEXTS,
    pairs: Sequence[int] = PAIRS,
) -> pd.DataFrame:
    """The curve of each world of a task, from seed 0 up.

    Args:
        task: name of a task for the finite model.
        minority_ratio: share of the minority, which only the groups' shares for a prior depend on.
        sets: task options.
        seeds: worlds drawn.
        contexts: simulated for each group.
        pairs: numbers of a user's pairs, whole ones from 1 up.

    Returns:
        task, seed, minority_ratio and contexts, before the columns of `curve`.

    Raises:
        UserError: a name, option or number is wrong, or `curve` refuses a world.
        PrefbenchError: a certificate was not reached.
    """
    import pandas as pd

    entry = listed_task(task, seeds)
    chosen = resolve(entry.options, dict(sets or {}), "task", task)
    rows = []
    for seed in range(seeds):
        problem: Problem = entry.function("synthetic", minority_ratio, seed, **chosen)
        head = {
            "task": f"{task}@{entry.version}",
            "seed": seed,
            "minority_ratio": minority_ratio,
            "contexts": contexts,
        }
        rows += [{**head, **row} for row in curve(problem, seed, contexts=contexts, pairs=pairs)]
    return pd.DataFrame(rows)


def curve(
    problem: Problem, seed: int, *, contexts: int = CONTEXTS, pairs: Sequence[int] = PAIRS
) -> list[dict[str, Any]]:
    """The worst group's value at no pair of a user, at each of these numbers, and in the limit.

    Values are V_g of the measured prompts' states, as regrets have them: in standard deviations of utility,
    less the KL charge. Labels are Bradley-Terry's at the task's temperature, relative to each utility's
    spread over reference responses to train prompts; pairs are two such responses.

    Returns:
        One row for each number of pairs, and one of infinitely many: `pairs`; `value`, the best that any
        policy can do for the worst group, with `value_se` from the simulation and `gap` from the solver;
        `prior/0`, `prior/1`, ... the least favourable prior; `shares_value` and `shares_value_se`, the worst
        group under the groups' shares for a prior; `shares_group`, which one that is; and `shares_mean` and
        `shares_mean_se`, the population's mean there, which no policy exceeds.

    Raises:
        UserError: the problem has no world, or its labels no noise; or too few or too many contexts.
        PrefbenchError: a certificate was not reached.
    """
    if contexts < 2:
        raise UserError(f"contexts '{contexts}' is not a whole number from 2 up: give one such as 1000.")
    if (numbers := len(problem.groups) ** 2 * contexts * max(pairs)) > CONTEXT_NUMBERS:
        raise UserError(
            f"{contexts} users of each of {len(problem.groups)} groups make {numbers:.2g} numbers, above "
            f"{CONTEXT_NUMBERS:.0e}: simulate {contexts * CONTEXT_NUMBERS // numbers} or fewer."
        )
    asked, answered = games_of(problem)
    shares = np.array(apportion([group.share for group in problem.groups], problem.annotators), dtype=float)
    shares /= shares.sum()
    names = [group.name for group in problem.groups]
    margins = experiment.draw_contexts(
        asked.rewards / problem.temperature,
        asked.reference,
        asked.weights,
        contexts=contexts,
        pairs=max(pairs),
        seed=seed,
    )
    rows = []
    for n in (0, *pairs, None):
        if n == 0:
            told = experiment.nothing(len(names))
        elif n is None:
            told = experiment.everything(len(names))
        else:
            told = experiment.simulated(experiment.log_likelihood(margins[:, :, :n]))
        fairest, shared = least_favourable(answered, told), of_prior(answered, told, shares)
        rows.append(
            {
                "pairs": np.inf if n is None else float(n),
                "value": fairest.value,
                "value_se": fairest.bound_error,
                "gap": fairest.gap,
                **{f"prior/{index}": weight for index, weight in enumerate(fairest.prior.tolist())},
                "shares_value": shared.value,
                "shares_value_se": shared.error,
                "shares_group": names[int(shared.values.argmin())],
                "shares_mean": shared.bound,
                "shares_mean_se": shared.bound_error,
            }
        )
    return rows


def games_of(problem: Problem) -> tuple[Game, Game]:
    """The game over states that training pairs ask about, and the one over those that are measured.

    Raises:
        UserError: the problem has no world, or its labels no noise.
    """
    world = world_of(problem, "one pair may tell the group")
    columns = [str(index) for index in range(len(problem.groups))]
    asked, answered = (
        exact_game(world.listed(prompts), columns, world.beta)
        for prompts in (problem.prompts.train, problem.measured)
    )
    return asked, answered


def over_worlds(frame: pd.DataFrame) -> pd.DataFrame:
    """Each number of pairs over the worlds of `curves`, one row each.

    Returns:
        pairs, value, value_se, shares_value and shares_value_se (means over worlds; errors are those of the
        simulation), the mean least favourable prior under `prior/0`, ..., the largest gap, and `of_room`,
        the part of the room between no pair and every group's own optimum that `value` covers; NaN where
        there is none.
    """
    worlds = frame.groupby("pairs", sort=True)
    means = [name for name in frame.columns if name.startswith("prior/") or name.endswith("value")]
    result = worlds[means].mean()
    for name in ("value_se", "shares_value_se"):
        result[name] = worlds[name].agg(lambda errors: float(np.sqrt((errors**2).sum()) / len(errors)))
    result["gap"] = worlds["gap"].max()
    room = _room(result)
    result["of_room"] = (result["value"] - room.single) / (room.size or np.nan)
    return result.reset_index()


def verdict(table: pd.DataFrame) -> str:
    """The room, in a sentence; of the result of `over_worlds`."""
    return _room(table).sentence


def _room(table: pd.DataFrame) -> Room:
    return Room(float(table["value"].iloc[0]), float(table["value"].iloc[-1]))
