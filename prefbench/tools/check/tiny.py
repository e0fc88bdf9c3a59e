"""Tiny tasks of our own, an aligner that does nothing, and options that make a run take seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefbench import registry, seeds
from prefbench.learn.interface import Backbone, Policy
from prefbench.learn.simple_policies import ReferencePolicy
from prefbench.problem.finite import finite_problem, numbered_prompts
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.utilities.protocol import Utility
from prefbench.problem.view import View
from prefbench.problem.world import World
from prefbench.registry import NoOptions

TASKS = {"causal_lm": "check_words", "finite": "check_world"}
"""Names of the tiny tasks, known to the registry while a check runs."""
THREE_GROUPS = "check_world_of_three"
"""Name of a tiny world with three groups."""
OURS = frozenset({*TASKS.values(), THREE_GROUPS})
FLOOR = "check_reference"

PEOPLE = {"unseen_annotators": 8, "context_pairs": 8}
"""Options of our own tiny tasks for an aligner whose policy is told of people."""
INSTRUCTIONS = {"instructions": True}
"""Options of that of words for an aligner that is told of instructions."""
VOTES = {"labels_per_pair": 3}
"""Options of our own tiny tasks for an aligner that is told which labels are of one pair."""
TINY_MODEL = {
    "device": "cpu",
    "steps": 10,
    "width": 16,
    "layers": 1,
    "heads": 2,
    "vocabulary": 300,
    "batch": 16,
}
TINY_ALIGNER = {
    "iterations": 2,
    "batch": 16,
    "epochs": 1,
    "minibatches": 2,
    "reward_epochs": 1,
    "reward_group_epochs": 1,
    "em_restarts": 1,
    "em_iterations": 2,
}
"""Values that make common options quick; what an aligner does not have, or does not allow, is left alone."""

Sets = Mapping[str, Mapping[str, Any]]


@contextlib.contextmanager
def lent() -> Iterator[None]:
    """Our own tiny tasks and an aligner that does nothing, registered for as long as this lasts."""
    with registry.lent():
        registry.task(TASKS["causal_lm"], provides=registry.NEEDS - {"side"})(_words_task)
        registry.task(TASKS["finite"], backbone="finite")(_world_task)
        registry.task(THREE_GROUPS, backbone="finite")(_world_of_three)
        registry.aligner(FLOOR)(_reference)
        yield


SUBJECTS = "the cat|a dog|my aunt|one bird|the king|a child|our boat|this road".split("|")
VERBS = "sees|finds|likes|paints|hears|follows|forgets|wants".split("|")
OBJECTS = "a red apple|the old oak and an egg|blue water|an open gate|the last train home|a song|ice".split(
    "|"
)


@dataclass(frozen=True)
class _Letters(Utility):
    """Number of letters of a kind in a response, for each of its words."""

    letters: str
    unit: str = "letters"

    @property
    def name(self) -> str:
        return f"check_letters/1:{self.letters}"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        counts = [sum(text.count(letter) for letter in self.letters) for text in responses]
        return np.array(counts, dtype=np.float64)


def _words_task(data: str, minority_ratio: float, seed: int, *, instructions: bool = False) -> Problem:
    """Half-sentences: one group likes the letter e, the other one a and o."""
    told = ("we see the sea :", "a boat on a road :") if instructions else (None, None)
    every = [f"{subject} {verb} {number} :" for subject in SUBJECTS for verb in VERBS for number in range(3)]
    prompts = [every[i] for i in seeds.rng(seed, "prompts").permutation(len(every))]
    train, validation, test = prompts[:96], prompts[96:116], prompts[116:146]
    return Problem(
        groups=(
            Group("e", 1 - minority_ratio, _Letters("e"), told[0]),
            Group("a and o", minority_ratio, _Letters("ao"), told[1]),
        ),
        prompts=Prompts(tuple(train), tuple(validation), tuple(test)),
        corpus=tuple(f"{prompt} {thing}." for prompt in train for thing in OBJECTS),
        annotators=8,
        pairs_per_annotator=12,
        temperature=0.3,
        response_tokens=6,
    )


def _world_task(data: str, minority_ratio: float, seed: int) -> Problem:
    """Four answers to everything: a favourite of each group, a compromise, and one that nobody wants."""
    prompts, state = numbered_prompts("question", (i % 3 for i in range(240)), (0, 1, 2) * 10, (0, 1, 2) * 10)
    world = _tiny_world(state)
    groups = [("first", 1 - minority_ratio, "points"), ("second", minority_ratio, "points")]
    return finite_problem(world, prompts, groups, annotators=8, pairs_per_annotator=30, temperature=0.3)


def _world_of_three(data: str, minority_ratio: float, seed: int) -> Problem:
    """The same with a third group, which likes what the others do not."""
    prompts, state = numbered_prompts("question", (i % 3 for i in range(240)), (0, 1, 2) * 10, (0, 1, 2) * 10)
    world = _tiny_world(state, third=(-0.5, -0.5, 0.2, 1.0))
    share = (1 - minority_ratio) / 2
    groups = [("first", share, "points"), ("second", share, "points"), ("third", minority_ratio, "points")]
    return finite_problem(world, prompts, groups, annotators=8, pairs_per_annotator=30, temperature=0.3)


def _tiny_world(state: Mapping[str, int], third: Sequence[float] = ()) -> World:
    worth = np.array([[1.0, 0.0], [0.0, 1.0], [0.8, 0.8], [-1.0, -1.0]])
    if third:
        worth = np.column_stack([worth, third])
    return World(
        state=state,
        responses=(("one", "the other one", "some of both of them", "none"),) * 3,
        features=np.broadcast_to(np.eye(4), (3, 4, 4)).copy(),
        utilities=np.stack([worth, worth * 1.5, worth * 0.5 + 0.1]),
        reference=np.full((3, 4), 0.25),
        beta=0.15,
    )


def _reference(view: View, backbone: Backbone, options: NoOptions) -> Policy:
    """The reference policy."""
    return ReferencePolicy(backbone.reference)
