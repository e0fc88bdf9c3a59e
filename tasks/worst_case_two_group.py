"""The smallest world on which no single reward serves two groups.

One question and two answers of which each group wants the other: whatever reward a policy is optimised for,
it cannot be both groups' optimum, and a reward fitted to pooled labels leaves the minority behind the further
the smaller it is. A third answer that is nearly as good for everybody shows what maxmin does instead.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.problem.finite import finite_problem, no_data, numbered_prompts
from prefbench.problem.world import Annotators, Beta, PairsPerAnnotator, Temperature, World


@pb.task("worst_case_two_group", version=1, backbone="finite")
def worst_case_two_group(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    compromise: Annotated[
        float | None,
        Field(description="Value of the third answer to both, their favourite being 1; none leaves it out."),
    ] = 0.8,
    annotators: Annotators = 20,
    pairs_per_annotator: PairsPerAnnotator = 20,
    temperature: Temperature = 0.5,
    beta: Beta = 0.15,
    test_prompts: Annotated[
        int, Field(ge=10, description="Times that the question is asked in the test.")
    ] = 200,
) -> pb.Problem:
    """One question, two opposed answers and a compromise: the impossibility at its smallest."""
    no_data("worst_case_two_group", data)
    training = annotators * pairs_per_annotator
    sizes = (training, max(1, training // 5), test_prompts)
    prompts, state = numbered_prompts("question", *([0] * size for size in sizes))
    # Equally long, so that no null policy looks wise.
    answers = ["what the many want", "what the few want"]
    utilities = [[1.0, 0.0], [0.0, 1.0]]
    if compromise is not None:
        answers.append("what all can accept")
        utilities.append([compromise, compromise])
    world = World(
        state=state,
        responses=(tuple(answers),),
        features=np.eye(len(answers))[None],
        utilities=np.array([utilities]),
        reference=np.full((1, len(answers)), 1 / len(answers)),
        beta=beta,
    )
    return finite_problem(
        world,
        prompts,
        [("many", 1 - minority_ratio, "points"), ("few", minority_ratio, "points")],
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
    )
