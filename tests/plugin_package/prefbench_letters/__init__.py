"""A package of somebody else's: a task and an aligner, found through the entry-point group."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.simple_policies import ConstantPolicy

SUBJECTS = "the cat|a dog|my aunt|one bird|the king|a child|our boat|this road".split("|")
VERBS = "sees|finds|likes|paints|hears|follows|forgets|wants".split("|")
OBJECTS = "a red apple|the old oak|an egg|blue water|an open gate|the last train|a song|ice".split("|")


@dataclass(frozen=True)
class Letters(pb.Utility):
    """How often the response has one of some letters."""

    letters: str
    unit: str = "letters"

    @property
    def name(self) -> str:
        return f"letters/1:{self.letters}"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        counts = [sum(text.count(letter) for letter in self.letters) for text in responses]
        return np.array(counts, dtype=np.float64)


@pb.task("letters", version=3, provides={"user_id"})
def letters(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    annotators: Annotated[int, Field(ge=2, description="Annotators in all.")] = 10,
) -> pb.Problem:
    """One group likes the letter e, the other one likes a and o."""
    starts = [f"{subject} {verb} {number}" for subject in SUBJECTS for verb in VERBS for number in range(4)]
    order = pb.seeds.rng(seed, "prompts").permutation(len(starts))
    prompts = [starts[i] for i in order]
    pairs = 5 * annotators
    return pb.Problem(
        groups=(
            pb.Group("e", 1 - minority_ratio, Letters("e")),
            pb.Group("a and o", minority_ratio, Letters("ao")),
        ),
        prompts=pb.Prompts(tuple(prompts[:pairs]), tuple(prompts[-20:]), tuple(prompts[-60:-20])),
        corpus=tuple(f"{prompt} {thing}." for prompt in prompts[:pairs] for thing in OBJECTS),
        annotators=annotators,
        pairs_per_annotator=5,
        temperature=0.5,
        response_tokens=8,
    )


class SaySomething(pb.Options):
    """What is said."""

    text: str = " a tree."
    """The response to every prompt."""


@pb.aligner("say_something", backbones={"causal_lm"}, role="floor")
def say_something(view: pb.View, backbone: pb.Backbone, options: SaySomething) -> pb.Policy:
    """Says the same thing to everybody."""

    return ConstantPolicy(options.text)
