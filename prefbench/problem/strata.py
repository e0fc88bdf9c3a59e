"""Strata: what is known of whom when a policy answers, and who is asked about which prompt.

For every prompt and in every stratum one person of each group judges, the same for all aligners of a seed:
somebody seen, whose training labels are known, or somebody unseen of whom n pairs are known. The same unseen
person judges a prompt at every n, so that a curve over n is within people.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from prefbench import seeds
from prefbench.arrays import Ints
from prefbench.problem.people import Person, pairs_known
from prefbench.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

SIZES = (0, 1, 2, 4, 8, 16, 32)
"""Pairs that are known of an unseen person, up to the population's `context_pairs`."""
CONTROL = 8
"""Largest size at which contexts are shown that are not the person's own."""
Shown = Literal["own", "shuffled", "other group", "other person"]
"""Kinds of contexts: the person's own, the same with each label flipped by a fair coin, that of an unseen
person of another group, and that of another one of her group."""
CONTROLS: tuple[Shown, ...] = ("shuffled", "other group", "other person")
TELLING: Mapping[Shown, str] = {
    "shuffled": "labels that coins gave",
    "other group": "the labels of somebody who wants something else",
}
"""Controls, in words, that serve a person worse than her own labels do if the policy makes use of these.
Another one of her group may want what she wants."""


@dataclass(frozen=True)
class Stratum:
    """One state of knowledge."""

    seen: bool
    n: int | None
    """Pairs that are known of an unseen person; None of a seen one, of whom all that she labelled are."""
    context: Shown = "own"


def takes_place(problem: Problem, sees: Collection[str]) -> bool:
    """True if it matters who is answered: to the policy, or to those who judge."""
    return bool(sees) or problem.population.spread > 0 or problem.meets_unseen


def strata(problem: Problem, people: Sequence[Person], sees: Collection[str]) -> list[Stratum]:
    """The strata of a problem for an aligner that sees so much."""
    found = [Stratum(True, None)]
    unseen = [person.group for person in people if not person.seen]
    if not unseen:
        return found
    known = pairs_known(problem)
    sizes = [n for n in SIZES if n <= known]
    found += [Stratum(False, n) for n in sizes]
    control = max(n for n in sizes if n <= CONTROL)
    if control and "pairs" in sees:
        alone = min(unseen.count(group) for group in range(len(problem.groups))) < 2
        found += [
            Stratum(False, control, shown) for shown in CONTROLS if not (alone and shown == "other person")
        ]
    return found


def plan(problem: Problem, people: Sequence[Person], sees: Collection[str], seed: int) -> pd.DataFrame:
    """The judges of every prompt, and what is known of them.

    Args:
        problem: its measured prompts and its groups.
        people: of `people_of`.
        sees: fields of a context that the aligner's policy is told.
        seed: the run's.

    Returns:
        Rows `prompt_id, place, seen, n, context`, stratum by stratum and in it group by group, one row for
        each prompt. `place` is the person's in `people`; `n` of a seen one is the number that she labelled.
    """
    import pandas as pd

    prompts = np.arange(len(problem.measured))
    tables = []
    for stratum in strata(problem, people, sees):
        for group in range(len(problem.groups)):
            places = _assigned(people, stratum.seen, group, len(prompts), seed)
            n = [people[place].labelled if stratum.n is None else stratum.n for place in places]
            tables.append(
                pd.DataFrame(
                    {
                        "prompt_id": prompts,
                        "place": places,
                        "seen": stratum.seen,
                        "n": np.array(n, dtype=np.int64),
                        "context": stratum.context,
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


def _assigned(people: Sequence[Person], seen: bool, group: int, prompts: int, seed: int) -> Ints:
    """A person for each prompt: everybody as often as anybody else, give or take one."""
    members = np.array([i for i, who in enumerate(people) if (who.seen, who.group) == (seen, group)])
    rng = seeds.rng(seed, "people", "seen" if seen else "unseen", group)
    rounds = [rng.permutation(members) for _ in range(-(-prompts // len(members)))]
    return np.asarray(np.concatenate(rounds)[:prompts], dtype=np.int64)


def is_default(seen: bool, n: int) -> bool:
    """True if nothing at all is known of a person, so that the default policy answers."""
    return not seen and n == 0
