"""A linear bandit with any number of groups whose distance from each other is an option.

Group g's utility is theta_g . psi(x, y) with Gaussian features psi and

    theta_g = sqrt(1 - d^2) c + d e_g,

where c is a unit vector that all share and e_1, ..., e_G are the corners of a regular simplex around zero,
orthogonal to c: diversity d = 0 makes all groups one, d = 1 spreads them as far as G groups can be spread
(two are then exactly opposed).
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.problem.finite import finite_problem, no_data, numbered_prompts
from prefbench.problem.world import Annotators, Beta, PairsPerAnnotator, Temperature, World


@pb.task("bandit_k_group", version=1, backbone="finite")
def bandit_k_group(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    groups: Annotated[int, Field(ge=2, le=50, description="Groups G.")] = 3,
    shares: Annotated[
        str | None,
        Field(
            description="Shares of all groups, such as 0.5,0.3,0.2; none gives the last group the minority "
            "ratio and the others what is left in equal parts."
        ),
    ] = None,
    diversity: Annotated[
        float, Field(gt=0, le=1, description="Distance d of the groups' tastes: near 0 one, 1 opposed.")
    ] = 0.7,
    states: Annotated[int, Field(ge=1, le=5000, description="States; prompts are spread over them.")] = 20,
    actions: Annotated[int, Field(ge=2, le=1000, description="Responses in each state.")] = 8,
    dimensions: Annotated[
        int | None, Field(ge=2, description="Features of a response; none takes one per group and one more.")
    ] = None,
    annotators: Annotators = 40,
    pairs_per_annotator: PairsPerAnnotator = 25,
    temperature: Temperature = 0.5,
    beta: Beta = 0.15,
    test_prompts: Annotated[int, Field(ge=10, description="Prompts to evaluate on.")] = 200,
) -> pb.Problem:
    """Linear bandit with any number of groups, their shares and their diversity as options."""
    no_data("bandit_k_group", data)
    each = _shares(groups, shares, minority_ratio)
    width = dimensions or groups + 1
    if width < groups:
        raise pb.UserError(
            f"task.dimensions={width}: {groups} groups need {groups} or more: raise it, or leave it out."
        )
    rng = pb.seeds.rng(seed, "world")
    psi = rng.normal(size=(states, actions, width)) / np.sqrt(width)
    training = annotators * pairs_per_annotator
    sizes = (training, max(1, training // 5), test_prompts)
    prompts, state = numbered_prompts(
        "prompt", *(rng.permutation(np.arange(n) % states).tolist() for n in sizes)
    )
    world = World(
        state=state,
        responses=(tuple(f"response {a}" for a in range(actions)),) * states,
        features=psi,
        utilities=psi @ tastes(groups, width, diversity).T,
        reference=np.full((states, actions), 1 / actions),
        beta=beta,
    )
    return finite_problem(
        world,
        prompts,
        [(f"group {g + 1}", share, "reward") for g, share in enumerate(each)],
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
        report={"diversity": diversity},
    )


def tastes(groups: int, width: int, diversity: float) -> np.ndarray:
    """theta_g for each group, unit vectors [G, width]."""
    corners = np.eye(groups) - 1 / groups  # a regular simplex around zero, in G - 1 dimensions
    corners = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    # The all-ones direction is the one that the corners leave free.
    shared = np.full(groups, groups**-0.5)
    result = np.zeros((groups, width))
    result[:, :groups] = np.sqrt(1 - diversity**2) * shared + diversity * corners
    return result


def _shares(groups: int, text: str | None, minority_ratio: float) -> list[float]:
    if text is None:
        if minority_ratio * groups > 1 + 1e-9:
            raise pb.UserError(
                f"a minority ratio of {minority_ratio:g} is more than an equal share of {groups} groups: "
                f"give --minority-ratio {int(1e4 / groups) / 1e4:g} or less, or task.shares."
            )
        return [(1 - minority_ratio) / (groups - 1)] * (groups - 1) + [minority_ratio]
    try:
        each = [float(part) for part in text.split(",")]
    except ValueError:
        each = []
    if len(each) != groups or min(each) <= 0 or abs(sum(each) - 1) > 1e-6:
        raise pb.UserError(
            f"task.shares={text} is not {groups} positive shares that sum to one, such as "
            f"{','.join([f'{1 / groups:.2f}'] * (groups - 1))},{1 - (groups - 1) * round(1 / groups, 2):.2f}."
        )
    return each
