"""The problem that a task states: groups, prompts, annotators.

Light to import: plug-ins import it to be listed. What computes lives in `preferences`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from prefbench.errors import UserError
from prefbench.population import Population
from prefbench.problem.behaviour import check_behaviour
from prefbench.problem.brought import CONTEXT, SPLITS, annotators_found, brought_labels, with_unseen
from prefbench.problem.utilities.protocol import Utility

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.problem.world import World

HELD_OUT_PAIRS = 800
"""Test pairs, at most: enough to read a reward model's accuracy to about 3.5 points."""
UNSEEN = "unseen_annotators"
"""Option of the people whom no aligner learns from."""


@dataclass(frozen=True)
class Group:
    """A sub-population with one utility."""

    name: str
    share: float
    """Share of annotators asked for; `apportion` makes whole annotators of it. A problem with brought labels
    puts the share found in its place."""
    utility: Utility
    instruction: str | None = None
    """Text before a prompt that asks outright for what the group wants; policies are measured with it too."""

    def __post_init__(self) -> None:
        if not isinstance(self.utility, Utility):
            raise UserError(
                f"the utility of group '{self.name}' is a {type(self.utility).__name__}: make its class a "
                "subclass of prefbench.Utility."
            )


@dataclass(frozen=True)
class Prompts:
    """Prompts of the three splits, disjoint.

    A train prompt may be repeated, where several pairs of its responses are labelled.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        everything = [*set(self.train), *self.validation, *self.test]
        if len(set(everything)) != len(everything):
            raise ValueError("a prompt appears twice: de-duplicate before splitting.")


@dataclass(frozen=True)
class Origin:
    """The origin of brought labels, as far as the task knows: for the card of exported data."""

    responses: str = "whoever wrote them; the task does not say"
    """Writers of the responses: words that go on after "by"."""
    labels: str = "people"
    """Labellers: words that go on after "by"."""
    invented_ids: bool = False
    """True if nobody knows who gave which label: the task dealt a group's labels out to made-up
    annotators."""
    terms: str = ""
    """Licence of what was brought, and what follows for whoever publishes it, where that is known."""


@dataclass(frozen=True)
class Problem:
    """The statement of a problem: a task returns it, and everything downstream starts from it."""

    groups: tuple[Group, ...]
    """Two or more, the minority being the one with the smallest share (the last one of equals); none of
    prompts that are to be answered and no more (`prompts_alone`)."""
    prompts: Prompts
    """One train prompt per pair that is to be labelled, `annotators * pairs_per_annotator` of them; with
    brought labels any number, to optimise policies on."""
    corpus: tuple[str, ...]
    """Texts that a reference policy may be trained on; holds no test prompt."""
    annotators: int = field(default=0, kw_only=True)
    """Number of people who are to label; those of brought labels are counted instead."""
    pairs_per_annotator: int = field(default=0, kw_only=True)
    """Number of pairs that each of them is to label; of brought labels it may be left out, since people
    differ."""
    temperature: float
    """Preference noise, in standard deviations of the group's utility over reference responses; brought
    labels are what they are."""
    response_tokens: int
    """Longest response, in tokens of the model."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """The task's own entry in the record (JSON values)."""
    world: World | None = None
    """The world of a task for the `finite` backbone; it needs no corpus."""
    chat: bool = False
    """Prompts are messages to an assistant, not texts to continue: a chat model gets them in its template."""
    given: pd.DataFrame | None = None
    """Labelled pairs of people in place of sampled ones: `split, prompt, chosen, rejected, user_id, group`,
    one row per label, ids all text or all whole numbers; also `strength` and side columns `side/NAME`, of
    numbers. Annotators and the groups' shares are then those found among the train rows. Of unseen people, if
    the population has some, the train rows become rows of the split `context`."""
    origin: Origin = Origin()
    """The origin of brought labels."""
    population: Population = field(default_factory=Population)
    """The people of the groups, and how they label: options that every task has."""
    tastes: tuple[Utility, ...] = ()
    """Utilities that members of one group can differ in, where responses are no world's; none given are the
    groups' own."""
    remarks: tuple[str, ...] = ()
    """Sentences for whoever starts a run on what these data cannot tell, and on what was left out of them."""
    lexicon: frozenset[str] | None = None
    """Every word, in lower case, that texts of this task can have, where a grammar writes them; a word beyond
    it is none, and responses that hold one are counted."""

    def __post_init__(self) -> None:
        names = [group.name for group in self.groups]
        if len(names) == 1 or len(set(names)) != len(names):
            raise ValueError(f"a problem needs two or more groups with different names, not {names}.")
        counted = self.given is None and self.population.reporters
        members = apportion([group.share for group in self.groups], self.annotators) if counted else ()
        check_behaviour(self.population, names, self.annotators if self.given is None else None, members)
        if self.given is not None:
            if self.population.spread:
                raise UserError(
                    "labels that people brought have nobody behind them to ask: leave task.spread at 0."
                )
            self._count(names)
        elif len(self.prompts.train) != self.annotators * self.pairs_per_annotator:
            raise ValueError("a problem needs one train prompt for each labelled pair.")

    def _count(self, names: Sequence[str]) -> None:
        """Check the brought labels, and put who is found in them in place of who was asked for."""
        assert self.given is not None
        rows = brought_labels(self.given, names, {split: getattr(self.prompts, split) for split in SPLITS})
        found = annotators_found(rows, names)
        unseen = self.population.unseen_annotators
        if unseen and not (rows["split"] == CONTEXT).any():
            wanted = apportion([Fraction(n, sum(found)) for n in found], unseen, UNSEEN)
            rows = with_unseen(rows, names, wanted, self.population.context_pairs)
            found = annotators_found(rows, names)
        each = zip(self.groups, found, strict=True)
        groups = tuple(replace(group, share=count / sum(found)) for group, count in each)
        for name, value in (("given", rows), ("annotators", sum(found)), ("groups", groups)):
            object.__setattr__(self, name, value)  # frozen for everybody else

    @property
    def meets_unseen(self) -> bool:
        """True if people are met of whom no label is in training."""
        brought = self.given is not None and bool((self.given["split"] == CONTEXT).any())
        return brought or self.population.unseen_annotators > 0

    @property
    def measured_on(self) -> Literal["test", "validation"]:
        """The split that policies are measured on: validation where no test prompt is left."""
        return "test" if self.prompts.test else "validation"

    @property
    def measured(self) -> tuple[str, ...]:
        """The prompts that policies are measured on."""
        return self.prompts.test or self.prompts.validation

    @property
    def paired(self) -> dict[str, tuple[str, ...]]:
        """The prompts of each split to which two reference responses are compared."""
        prompts = self.prompts
        return {
            "train": prompts.train,
            "validation": prompts.validation,
            "test": prompts.test[:HELD_OUT_PAIRS],
        }

    @property
    def minority(self) -> str:
        """Name of the group with the smallest share; the last one of equals."""
        return min(reversed(self.groups), key=lambda group: group.share).name

    def ratio(self, asked: float) -> float:
        """The minority ratio that results are known by: the one asked for, of brought labels the one found.

        To four decimals, as a ratio is asked for.
        """
        return asked if self.given is None else round(min(group.share for group in self.groups), 4)

    def ratio_missed(self, asked: float) -> str | None:
        """A sentence where brought labels miss the ratio asked for by a whole person or more; else None."""
        if self.given is None:
            return None
        fewest = min(group.share for group in self.groups)
        if abs(fewest - asked) * self.annotators < 1 - 1e-9:
            return None
        people = round(fewest * self.annotators)
        return (
            f"a minority ratio of {asked:g} was asked for, and it cannot be had of these labels: "
            f"{people} of the {self.annotators} people who gave them are of {self.minority}, {fewest:.4g}"
        )


def prompts_alone(prompts: Sequence[str], response_tokens: int) -> Problem:
    """Messages to an assistant that are to be answered: a problem without groups, annotators or a corpus."""
    return Problem(
        groups=(),
        prompts=Prompts((), (), tuple(prompts)),
        corpus=(),
        temperature=0.0,
        response_tokens=response_tokens,
        chat=True,
    )


def without_test(problem: Problem) -> Problem:
    """The problem as tuning sees it: no test prompt and no label of one is in it.

    Raises:
        UserError: it has no validation prompts.
    """
    if not problem.prompts.validation:
        raise UserError("the task has no validation prompts, and tuning looks at no others: give it some.")
    given = problem.given
    if given is not None:
        given = given[given["split"] != "test"].reset_index(drop=True)
    return replace(problem, prompts=replace(problem.prompts, test=()), given=given)


def apportion(shares: Sequence[float | Fraction], seats: int, option: str = "annotators") -> list[int]:
    """Whole annotators per group by largest remainder (Hamilton's method), ties to the earlier group.

    Exact rational arithmetic: 0.2 of 40 is 8 and never 7.999. `option` names the one that says how many.

    Raises:
        UserError: a group would get no annotator.
    """
    exact = [Fraction(str(share)) * seats for share in shares]
    counts = [int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for index in order[: seats - sum(counts)]:
        counts[index] += 1
    if min(counts) == 0:
        smallest = min(Fraction(str(share)) for share in shares)
        raise UserError(
            f"{seats} {option.replace('_', ' ')} at a minority share of {float(smallest):g} leave a group "
            f"without any: set task.{option} to {-(-1 // smallest)} or more."
        )
    return counts


def with_instruction(prompt: str, instruction: str) -> str:
    """The prompt as it is put to a model that is told what is wanted; of nothing said it is the prompt."""
    return f"{instruction} {prompt}" if instruction else prompt
