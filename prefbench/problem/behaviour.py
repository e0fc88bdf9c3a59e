"""The behaviour of annotators as they label: whom a pair goes to, labels that nobody meant, and reports.

Options of every task (`prefbench.population.Population`). Coins of ties and of labels that are not meant are
drawn by children of the seed of their own, so that they move no other label.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from prefbench import seeds
from prefbench.arrays import Floats, Ints
from prefbench.errors import UserError
from prefbench.population import Population
from prefbench.registry import suggest


def check_behaviour(
    population: Population, groups: Sequence[str], annotators: int | None, members: Sequence[int] = ()
) -> None:
    """Refuse a behaviour that nobody can have.

    Args:
        population: of a problem.
        groups: names of its groups.
        annotators: who label; None where a task brings the labels of people along.
        members: annotators of each group, where somebody counts those who report otherwise.

    Raises:
        UserError: the labels were brought along, a group has no such name, or there are too few annotators.
    """
    said = list(population.behaviour)
    if said and annotators is None:
        raise UserError(
            f"option task.{said[0]} is of simulated annotators, and this task brings the labels of people: "
            "leave it out."
        )
    for name, report in population.reporting.items():
        for called in (name, report):
            if isinstance(called, str) and called not in groups:
                raise UserError(
                    f"option task.reporting: no group is called '{called}'.{suggest(called, groups)}"
                )
    for name, count in population.reporters.items():
        if name not in population.reporting:
            raise UserError(
                f"option task.reporters: what '{name}' reports is not said: add it to task.reporting."
            )
        if members and count > members[list(groups).index(name)]:
            raise UserError(
                f"option task.reporters: '{name}' has {members[list(groups).index(name)]} annotators, and "
                f"not {count}: lower it, or raise task.annotators."
            )
    if annotators is not None and population.labels_per_pair > max(1, annotators):
        raise UserError(
            f"option task.labels_per_pair={population.labels_per_pair}: there are {annotators} annotators, "
            "and each labels a pair once: lower it, or raise task.annotators."
        )


def dealt_apart(
    user: Ints, split: Sequence[str] | np.ndarray, several: int, rng: np.random.Generator
) -> Ints:
    """Positions in `user` such that the pairs' rows get that many different annotators.

    Whoever has most rows left is next, equals in random order, and pairs take turns in random order:
    everybody keeps as many rows of each split as she had.

    Args:
        user: [rows] annotators as they were dealt, in whole rounds but for the last of a split.
        split: [rows] of each row, the rows of a pair side by side.
        several: rows of each pair, no more than there are annotators.
        rng: where the draws come from.

    Returns:
        [rows] a permutation within each split.
    """
    order = np.arange(len(user))
    for name in dict.fromkeys(np.asarray(split).tolist()):
        rows = np.flatnonzero(np.asarray(split) == name)
        people, theirs, left = np.unique(user[rows], return_inverse=True, return_counts=True)
        waiting = [rows[theirs == one].tolist() for one in range(len(people))]
        for pair in rng.permutation(len(rows) // several):
            chosen = np.lexsort((rng.random(len(people)), -left))[:several]
            left[chosen] -= 1
            order[rows[pair * several : (pair + 1) * several]] = [waiting[one].pop() for one in chosen]
    return order


def reports(population: Population, groups: Sequence[str], user: Ints, group: Ints) -> tuple[Floats, Ints]:
    """Reports that labels make in the place of what their annotators want.

    Of a group with a count of reporters it is those with the smallest ids, which are shuffled.

    Args:
        population: of a problem.
        groups: names of its groups.
        user: [rows] annotator of each.
        group: [rows] index of her group.

    Returns:
        The factor of a utility and the index of the group whose it is, [rows] each; 1 and her own group of
        somebody who says what she wants.
    """
    factor, whose = np.ones(len(user)), group.copy()
    for name, said in population.reporting.items():
        rows = np.flatnonzero(group == groups.index(name))
        if name in population.reporters:
            people = np.unique(user[rows])[: population.reporters[name]]
            rows = rows[np.isin(user[rows], people)]
        if isinstance(said, str):
            whose[rows] = groups.index(said)
        else:
            factor[rows] = said
    return factor, whose


def not_meant(user: Ints, split: Sequence[str], reliability: float, seed: int) -> Ints:
    """Rows whose label is a fair coin's: of each split the share 1 - reliability, to the nearest row.

    Every annotator has the share of her own rows, rounded down or up; whose is rounded up is drawn.

    Args:
        user: [rows] annotator of each.
        split: [rows] of each row.
        reliability: share of labels that are meant.
        seed: the run's; the draws come from its child "labels", "reliability".
    """
    rng, lost = seeds.rng(seed, "labels", "reliability"), 1 - Fraction(str(reliability))
    found: list[Ints] = []
    for name in dict.fromkeys(split):
        rows = rng.permutation(np.flatnonzero(np.asarray(split) == name))
        people, theirs, count = np.unique(user[rows], return_inverse=True, return_counts=True)
        exact = [int(rows_of) * lost for rows_of in count]
        whole = np.array([int(share) for share in exact])
        rest = np.array([float(share - int(share)) for share in exact])
        more = round(len(rows) * lost) - int(whole.sum())
        whole[np.lexsort((rng.random(len(people)), -rest))[: max(0, more)]] += 1
        # Rows are in random order, so the first ones of each annotator are a draw of hers.
        for one in range(len(people)):
            found.append(rows[theirs == one][: whole[one]])
    return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
