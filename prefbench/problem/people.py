"""The people behind the groups: who they are, and what each of them wants herself.

A member's own utility is her group's and something of her own,
u_person = u_group + spread * sd(u_group) * sum_k c_k z_k, with c a random unit vector of hers. In a world the
z_k are its features, elsewhere utilities of the problem (`Problem.tastes`), each divided by its standard
deviation over reference responses. No z_k is centred: a shift changes no choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prefbench import seeds
from prefbench.arrays import Floats, Ints
from prefbench.errors import UserError
from prefbench.population import Population
from prefbench.problem.behaviour import dealt_apart
from prefbench.problem.brought import CONTEXT
from prefbench.problem.problem import Problem, apportion
from prefbench.problem.utilities.protocol import Utility

if TYPE_CHECKING:
    import pandas as pd

FLAT = 1e-12
"""A taste that varies less over reference responses tells none of them apart, and is nobody's."""
Compare = Callable[[Utility, list[str], list[str], list[str]], "tuple[Floats, Floats] | None"]
"""From a utility, prompts and two responses to each to the utilities of these, [n] each; None if unknown."""


@dataclass(frozen=True)
class Person:
    """One of the people whom policies answer."""

    id: int | str
    """Her id in the labels; the unseen come after the seen."""
    group: int
    """Index of her group."""
    labelled: int
    """Labels of hers that are in training; none if she is unseen."""

    @property
    def seen(self) -> bool:
        """True if labels of hers are in training."""
        return self.labelled > 0


def people_of(problem: Problem, seed: int) -> list[Person]:
    """Everybody whom policies answer: who labelled for training, then who is unseen.

    Raises:
        UserError: a group would have nobody among the unseen.
    """
    shares = [group.share for group in problem.groups]
    unseen = problem.population.unseen_annotators
    people = _seen(problem, seed)
    if problem.given is not None:
        return people + _brought(problem, CONTEXT, labelled=False)
    if unseen:
        counts = apportion(shares, unseen, "unseen_annotators")
        groups = np.repeat(np.arange(len(shares)), counts)
        first = problem.annotators
        people += [Person(first + place, int(group), 0) for place, group in enumerate(groups)]
    return people


def refuse_lacking_people(problem: Problem) -> None:
    """Refuse groups without anybody, and contexts of people or pairs that there are none of.

    Raises:
        UserError: it says which option to change.
    """
    shares, population = [group.share for group in problem.groups], problem.population
    apportion(shares, problem.annotators)
    if population.unseen_annotators:
        apportion(shares, population.unseen_annotators, "unseen_annotators")
    known = population.context_pairs
    if known == Population().context_pairs:  # nobody asked for it
        return
    if not population.unseen_annotators and problem.measured_on == "test":
        more = "" if problem.given is not None else "set task.unseen_annotators too, or "
        raise UserError(
            f"option task.context_pairs={known} says how much is known of unseen people, and there are none: "
            f"{more}leave it out."
        )
    pairs = len(problem.prompts.train)
    if population.unseen_annotators and known > pairs:
        raise UserError(
            f"option task.context_pairs={known}: contexts are made of the {pairs} pairs of train prompts: "
            "lower it, or raise task.annotators or task.pairs_per_annotator."
        )


def _seen(problem: Problem, seed: int) -> list[Person]:
    """People who labelled for training, by id."""
    if problem.given is not None:
        return _brought(problem, "train", labelled=True)
    split = np.array([name for name, prompts in problem.paired.items() for _ in prompts])
    user, group = deal(problem, split, seeds.rng(seed, "labels"))
    train = np.repeat(split == "train", problem.population.labels_per_pair)
    ids, first, counts = np.unique(user[train], return_index=True, return_counts=True)
    return [
        Person(int(who), int(of), int(size))
        for who, of, size in zip(ids, group[train][first], counts, strict=True)
    ]


def _brought(problem: Problem, split: str, labelled: bool) -> list[Person]:
    """People with brought labels of a split, by id, with their number where those are in training."""
    assert problem.given is not None
    names = [group.name for group in problem.groups]
    rows = problem.given[problem.given["split"] == split]
    users = rows["user_id"].tolist()
    group_of = dict(zip(users, rows["group"].tolist(), strict=True))
    count = Counter(users)
    return [
        Person(user, names.index(group_of[user]), count[user] if labelled else 0) for user in sorted(group_of)
    ]


def pairs_known(problem: Problem) -> int:
    """Pairs of each unseen person that may be told of her, at most: as many as everybody has."""
    most = problem.population.context_pairs
    if problem.given is None:
        return min(most, len(problem.prompts.train))
    told = problem.given.loc[problem.given["split"] == CONTEXT, "user_id"].value_counts()
    return min(most, int(told.min()))


def deal(problem: Problem, split: Sequence[str] | Floats, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Annotators dealt to pairs.

    Args:
        problem: its groups and its number of annotators.
        split: of each pair, [n].
        rng: where the draws come from.

    Returns:
        The annotator's id and the index of her group, [n] each, or of several of a pair side by side as many
        as the population's `labels_per_pair`. Every split has the same shares of annotators as far as whole
        numbers go.
    """
    several = problem.population.labels_per_pair
    split = np.repeat(np.asarray(split), several)
    user_group = np.repeat(
        np.arange(len(problem.groups)), apportion([g.share for g in problem.groups], problem.annotators)
    )
    # Pairs left over after whole rounds go to annotators of every group in proportion, not to the first ones.
    in_turn = np.argsort(
        np.concatenate([(np.arange(n) + 0.5) / n for n in np.bincount(user_group)]), kind="stable"
    )
    user_id = np.empty(len(split), dtype=np.int64)
    for name in ("train", "validation", "test"):
        members = np.flatnonzero(split == name)
        rounds, rest = divmod(len(members), problem.annotators)
        everybody = np.tile(np.arange(problem.annotators), rounds)
        user_id[members] = rng.permutation(np.concatenate([everybody, in_turn[:rest]]))
    # Ids are shuffled so that nothing about the group can be read off the number.
    shuffled = rng.permutation(problem.annotators)
    if several > 1:
        user_id = user_id[dealt_apart(user_id, split, several, rng)]
    return shuffled[user_id], user_group[user_id]


# ------------------------------------------------------------------------------------------- what they want


@dataclass(frozen=True)
class Scales:
    """Standard deviations over reference responses, which a member's own utility is measured in."""

    groups: tuple[float, ...]
    """Scales of the groups' utilities, each in its unit."""
    tastes: tuple[float, ...]
    """Scales of the z_k, which these are divided by."""


def tastes_of(problem: Problem) -> tuple[Utility, ...]:
    """Utilities that members of a group can differ in, where responses are no world's."""
    return problem.tastes or tuple(group.utility for group in problem.groups)


def scales_of(problem: Problem, pairs: pd.DataFrame) -> Scales | None:
    """The scales of own utilities; None where members want what their group wants.

    Args:
        problem: a world's are exact, over its prompts and the reference policy.
        pairs: columns `prompt, response_a, response_b`: reference responses that those of texts are read off.
    """
    if problem.population.spread == 0:
        return None
    world = problem.world
    if world is not None:
        states = np.bincount(list(world.state.values()), minlength=len(world.responses))
        mass = (world.reference * (states / states.sum())[:, None])[..., None]

        def exact(table: Floats) -> tuple[float, ...]:
            centred = table - (table * mass).sum(axis=(0, 1))
            return tuple(np.sqrt((centred**2 * mass).sum(axis=(0, 1))).tolist())

        return Scales(exact(world.utilities), exact(world.features))
    texts = [pairs[name].tolist() for name in ("prompt", "response_a", "response_b")]

    def sampled(utilities: Sequence[Utility]) -> tuple[float, ...]:
        return tuple(float(np.concatenate(each.compare(*texts)).std()) for each in utilities)

    groups = sampled([group.utility for group in problem.groups])
    return Scales(groups, sampled(problem.tastes) if problem.tastes else groups)


def taste_values(
    problem: Problem, prompts: list[str], first: list[str], second: list[str], compare: Compare | None = None
) -> tuple[Floats, Floats] | None:
    """The tastes' values of two responses to each prompt, [n, tastes] each; None if one is unknown."""
    world = problem.world
    if world is not None:
        rows = world.rows(prompts)
        one, other = (world.features[rows, world.columns(rows, texts)] for texts in (first, second))
        return one, other
    told = compare or called
    each = [told(utility, prompts, first, second) for utility in tastes_of(problem)]
    known = [pair for pair in each if pair is not None]
    if len(known) < len(each):
        return None
    return np.stack([one for one, _ in known], axis=1), np.stack([two for _, two in known], axis=1)


def called(
    utility: Utility, prompts: list[str], first: list[str], second: list[str]
) -> tuple[Floats, Floats]:
    """A utility of two responses to each prompt, computed."""
    return utility.compare(prompts, first, second)


def beyond(
    problem: Problem, seed: int, scales: Scales, ids: Sequence[int], groups: Sequence[int], values: Floats
) -> Floats:
    """Each one's own utility minus her group's, [n], in the group's unit.

    Args:
        problem: its population's spread.
        seed: the run's; a person's direction comes from its child of her id.
        scales: as `scales_of` gives them.
        ids: whose opinion each row is, [n].
        groups: index of her group, [n].
        values: of `taste_values`, [n, tastes].
    """
    scale = np.array(scales.tastes)
    varies = scale > FLAT
    whose, row = np.unique(np.asarray(ids), return_inverse=True)
    directions = np.zeros((len(whose), len(scale)))
    for place, person in enumerate(whose.tolist()):
        drawn = np.where(varies, seeds.rng(seed, "spread", person).standard_normal(len(scale)), 0.0)
        directions[place] = drawn / max(float(np.linalg.norm(drawn)), FLAT)
    standard = np.where(varies, values / np.where(varies, scale, 1.0), 0.0)
    size = problem.population.spread * np.array(scales.groups)[np.asarray(groups)]
    return np.asarray(size * (standard * directions[row]).sum(axis=1))


def own_utilities(
    problem: Problem,
    seed: int,
    scales: Scales | None,
    people: Sequence[Person],
    texts: tuple[list[str], list[str], list[str]],
    compare: Compare | None = None,
) -> tuple[Floats, Floats] | None:
    """Each one's own utility of two responses to a prompt, [n] each; None if one of the utilities is unknown.

    Args:
        problem: groups, tastes and spread.
        seed: the run's.
        scales: as `scales_of` gives them; None at a spread of 0.
        people: whose opinion each row is, [n].
        texts: prompts, and the two responses to each, [n] each.
        compare: how utilities are found, if not by computing them.
    """
    told = compare or called
    index = np.array([person.group for person in people])
    own = np.zeros((2, len(people)))
    for place, group in enumerate(problem.groups):
        mine = np.flatnonzero(index == place)
        if not len(mine):
            continue
        found = told(group.utility, *([column[row] for row in mine] for column in texts))
        if found is None:
            return None
        own[:, mine] = found
    if scales is not None:
        values = taste_values(problem, *texts, compare)
        if values is None:
            return None
        ids = [int(person.id) for person in people]
        for side, table in zip(own, values, strict=True):
            side += beyond(problem, seed, scales, ids, index.tolist(), table)
    return own[0], own[1]
