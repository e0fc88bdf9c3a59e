"""NAME: say here in a sentence what the groups are and what they disagree about.

prefbench check NAME.py
prefbench run --plugin NAME.py --task NAME --aligner maxmin --set aligner.clusters=3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.problem.splits import deal
from prefbench.problem.utilities.content import Conciseness
from prefbench.text import lower_words

# What the prompts and the texts are made of. Read your own data here instead.
GUESTS = "ada ben cleo dora emil finn gina hugo ida jan kira leo mia noah olga paul".split()
PLACES = "hotel camp hostel farm castle boat cabin inn".split()
REMARKS = ("good food", "a quiet bed", "loud nights", "good people", "a quiet place , far out", "good coffee")
MOST_RATIO = 0.3
"""Share of the annotators at most, of three groups, that the smallest of them may have."""


@dataclass(frozen=True)
class Mentions(pb.Utility):
    """Number of times that a response says a word."""

    word: str
    unit: str = "words"

    @property
    def name(self) -> str:
        """Everything that can move a number: raise the 1 when you change how it counts."""
        return f"NAME_mentions/1:{self.word}"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """One finite number for each response; larger is better."""
        return np.array([lower_words(text).count(self.word) for text in responses], dtype=np.float64)


@pb.task("NAME", version=1)
def NAME(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    annotators: Annotated[int, Field(ge=3, description="Annotators in all.")] = 30,
    pairs_per_annotator: Annotated[int, Field(ge=1, description="Pairs that each of them labels.")] = 20,
    test_prompts: Annotated[int, Field(ge=10, description="Prompts to evaluate on.")] = 200,
) -> pb.Problem:
    """Travellers' remarks: the majority wants praise, some want quiet, and a minority few words."""
    if data != "synthetic":
        raise pb.UserError("NAME writes its own texts: leave --data at synthetic.")
    if minority_ratio > MOST_RATIO:  # else another group would be the smallest
        raise pb.UserError(f"the smallest of three groups: give --minority-ratio {MOST_RATIO} or less.")
    rng = pb.seeds.rng(seed, "prompts")  # never from global state
    every = [
        f"{guest} on the {place} , night {night} :"
        for guest in GUESTS
        for place in PLACES
        for night in range(1, 9)
    ]
    # No seed tests on what another trains on; the corpus must not hold a test prompt either.
    prompts = deal(every, (annotators * pairs_per_annotator, 50, test_prompts), rng)
    tested = set(prompts.test)
    rest = [prompt for prompt in every if prompt not in tested]
    texts = [
        f"{prompt} {' and '.join(rng.choice(REMARKS, size=rng.integers(1, 5)))} ."
        for prompt in rest
        for _ in range(4)
    ]
    others = 1 - minority_ratio
    return pb.Problem(
        groups=(  # as many as you like; their shares sum to one, and the smallest is the minority
            pb.Group("praise", 0.55 * others, Mentions("good")),
            pb.Group("quiet", 0.45 * others, Mentions("quiet")),
            pb.Group("brevity", minority_ratio, Conciseness(empty=-20.0)),  # silence pleases nobody
        ),
        prompts=prompts,
        corpus=tuple(texts),
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=0.5,
        response_tokens=20,
    )
