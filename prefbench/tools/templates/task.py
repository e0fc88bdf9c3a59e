"""NAME: say here in a sentence what the groups are and what they disagree about.

prefbench check NAME.py
prefbench run --plugin NAME.py --task NAME --aligner single_reward
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
REMARKS = ("good food", "a good bed", "loud nights", "good and friendly people", "a long way", "good coffee")


@dataclass(frozen=True)
class Praise(pb.Utility):
    """Number of times that a response says a word of praise."""

    word: str
    unit: str = "words of praise"

    @property
    def name(self) -> str:
        """Everything that can move a number: raise the 1 when you change how it counts."""
        return f"NAME_praise/1:{self.word}"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """One finite number for each response; larger is better."""
        return np.array([lower_words(text).count(self.word) for text in responses], dtype=np.float64)


@pb.task("NAME", version=1)
def NAME(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    annotators: Annotated[int, Field(ge=2, description="Annotators in all.")] = 20,
    pairs_per_annotator: Annotated[int, Field(ge=1, description="Pairs that each of them labels.")] = 20,
    test_prompts: Annotated[int, Field(ge=10, description="Prompts to evaluate on.")] = 200,
) -> pb.Problem:
    """Travellers' remarks: the majority wants praise, the minority wants few words."""
    if data != "synthetic":
        raise pb.UserError("NAME writes its own texts: leave --data at synthetic.")
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
    return pb.Problem(
        groups=(
            pb.Group("praise", 1 - minority_ratio, Praise("good")),
            pb.Group("brevity", minority_ratio, Conciseness(empty=-20.0)),  # silence pleases nobody
        ),
        prompts=prompts,
        corpus=tuple(texts),
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=0.5,
        response_tokens=20,
    )
