"""The exact value of a policy to each person, where every response can be listed.

A person is a group of one: V_p(pi) = E u_p - beta KL(pi || pi_ref), with u_p her own utility at zero mean
and unit spread over reference responses, and her regret is max_pi V_p - V_p(pi) (`evaluate/regret.py`). The
policy is the one that she is given, so much being known of her, over the states of all measured prompts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from prefbench.arrays import Floats
from prefbench.evaluate.regret import normalised_game
from prefbench.learn.game import Game, group_optima
from prefbench.problem.people import Person, Scales, beyond
from prefbench.problem.problem import Problem
from prefbench.problem.strata import is_default

if TYPE_CHECKING:
    import pandas as pd

CASE = ("person", "seen", "n", "context")
"""Columns that say whom a policy answers, and what is known of her."""
POLICY_COLUMNS: Mapping[str, tuple[str, str]] = {
    "person": ("string", "as in people.parquet"),
    "seen": ("bool", "as there"),
    "n": ("int64", "as there"),
    "context": ("string", "as there"),
    "policy": ("float64", "probability of the response in the same place of distribution.parquet"),
}
"""Columns of `people_policies.parquet`: type and meaning. There is a block of rows for each person and each
context of hers of which something is known, as many as `distribution.parquet` has."""


class Case(NamedTuple):
    """Somebody who is answered, and what is known of her."""

    person: str
    seen: bool
    n: int
    context: str


@dataclass(frozen=True)
class GivenPolicies:
    """The policies that people are given, each as the probabilities of all responses, [S, R]."""

    default: Floats
    """The policy for those of whom nothing is known, and for everybody if nobody is adapted to."""
    adapted: Mapping[Case, Floats] | None
    """The policies that are adapted to somebody; None where all are given the default."""

    def to(self, case: Case) -> Floats | None:
        """The policy that somebody is given; None if its probabilities are not known."""
        if self.adapted is None or is_default(case.seen, case.n):
            return self.default
        return self.adapted.get(case)


def policies_in(table: pd.DataFrame, shape: tuple[int, int]) -> dict[Case, Floats]:
    """The policies in a table of `POLICY_COLUMNS`, [S, R] each.

    Raises:
        ValueError: a block of rows is of more than one case, or has too many rows or too few.
    """
    size = shape[0] * shape[1]
    if len(table) % size:
        raise ValueError(f"{len(table)} rows are not so many times the {size} responses of the world")
    columns = [table[name].to_numpy(dtype=object).reshape(-1, size) for name in CASE]
    if any((column != column[:, :1]).any() for column in columns):
        raise ValueError("a block of rows is of more than one person or context")
    keys = [Case(*key) for key in zip(*(column[:, 0].tolist() for column in columns), strict=True)]
    blocks = table["policy"].to_numpy(dtype=np.float64).reshape(-1, *shape)
    return dict(zip(keys, blocks, strict=True))


def own_game(problem: Problem, seed: int, scales: Scales | None, person: Person) -> Game:
    """The game of one person over the states of the measured prompts, in her own normalised utility.

    Args:
        problem: a world's.
        seed: the run's.
        scales: of own utilities; None at a spread of 0.
        person: one of `people_of`.
    """
    world = problem.world
    assert world is not None
    states, counts = np.unique(world.rows(problem.measured), return_counts=True)
    utility = world.utilities[states][..., person.group]
    if scales is not None:
        features = world.features[states].reshape(utility.size, -1)
        who = [int(person.id)] * utility.size
        own = beyond(problem, seed, scales, who, [person.group] * utility.size, features)
        utility = utility + own.reshape(utility.shape)
    weights = counts / counts.sum()
    return normalised_game(utility[..., None], world.reference[states], weights, world.beta)


def own_value(game: Game, policy: Floats | None) -> float:
    """A person's V of a policy [S, R] in her own game; NaN where its probabilities are not known."""
    if policy is None:
        return float("nan")
    with np.errstate(divide="ignore"):
        return float(game.values(np.log(policy))[0])


def values_of_people(
    problem: Problem,
    seed: int,
    scales: Scales | None,
    cases: Iterable[tuple[Person, Case]],
    given: GivenPolicies,
) -> Mapping[Case, tuple[float, float]]:
    """Each one's V of the policy that she is given, and the largest V of any policy.

    Args:
        problem: a world's.
        seed: the run's.
        scales: of own utilities; None at a spread of 0.
        cases: who is answered, each with what is known of her; cases may repeat.
        given: the policies.
    """
    games: dict[str, tuple[Game, float]] = {}
    found: dict[Case, tuple[float, float]] = {}
    for person, case in cases:
        if case in found:
            continue
        if case.person not in games:
            game = own_game(problem, seed, scales, person)
            games[case.person] = game, float(group_optima(game)[0])
        game, best = games[case.person]
        found[case] = own_value(game, given.to(case)), best
    return found


def cases_in(table: pd.DataFrame) -> Sequence[Case]:
    """The case of each row of a table with the columns `CASE`, [n]."""
    columns = (table[name].tolist() for name in CASE)
    each = zip(*columns, strict=True)
    return [Case(str(who), bool(seen), int(n), str(context)) for who, seen, n, context in each]
