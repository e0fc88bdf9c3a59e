"""A walk on a grid for two groups that want it to go to different corners.

The walk starts in one corner, and the groups' goals are the two corners next to it: equally far, so that only
their numbers tell the groups apart. A response is a whole walk; a group's utility is how often, discounted,
the walk is at its goal. Serving most people means never going to the minority's corner; a policy for the
worst off goes to either.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.occupancy import maxmin_occupancy, utilitarian_occupancy
from prefbench.problem.finite import finite_problem, no_data, numbered_prompts
from prefbench.problem.process import Process
from prefbench.problem.world import Annotators, Beta, PairsPerAnnotator, Temperature, World

MOVES = {"up": (1, 0), "down": (-1, 0), "left": (0, -1), "right": (0, 1), "stay": (0, 0)}
"""Each move as rows up and columns to the right."""
TRAJECTORIES = 20_000
"""More than this many walks are not listed."""


@pb.task("gridworld_two_group", version=1, backbone="finite")
def gridworld_two_group(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    size: Annotated[int, Field(ge=2, le=20, description="Cells along a side of the grid.")] = 3,
    horizon: Annotated[int, Field(ge=1, le=100, description="Moves in a walk.")] = 5,
    discount: Annotated[
        float, Field(gt=0, le=1, description="Value of a visit one move later, against one now.")
    ] = 0.95,
    annotators: Annotators = 20,
    pairs_per_annotator: PairsPerAnnotator = 20,
    temperature: Temperature = 0.5,
    beta: Beta = 0.15,
    test_prompts: Annotated[int, Field(ge=10, description="Walks asked for in the test.")] = 200,
) -> pb.Problem:
    """Walks on a grid whose two goals, one for each group, lie in different corners."""
    no_data("gridworld_two_group", data)
    process = grid(size, horizon, discount)
    _check_length(process, size)
    goals = np.array([size - 1, size * (size - 1)])
    training = annotators * pairs_per_annotator
    sizes = (training, max(1, training // 5), test_prompts)
    prompts, state = numbered_prompts("walk", *(np.zeros(n, dtype=int) for n in sizes))
    words = tuple(MOVES)
    world = World(
        state=state,
        responses=(tuple(" ".join(words[move] for move in row) for row in process.actions.tolist()),),
        features=process.visits[None],
        utilities=process.visits[None, :, goals],
        reference=np.exp(process.log_probability(process.uniform_policy))[None],
        beta=beta,
        process=process,
    )
    return finite_problem(
        world,
        prompts,
        [("right corner", 1 - minority_ratio, "visits"), ("top corner", minority_ratio, "visits")],
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
        report=_optima(process, goals, minority_ratio),
    )


def grid(size: int, horizon: int, discount: float) -> Process:
    """Walks from the bottom left corner; cell row * size + column, rows counted upwards."""
    row, column = np.divmod(np.arange(size**2), size)
    steps = np.array(list(MOVES.values()))
    row, column = row[:, None] + steps[:, 0], column[:, None] + steps[:, 1]
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    return Process(np.where(inside, row * size + column, -1), horizon, discount)


def _check_length(process: Process, size: int) -> None:
    if process.horizon < size - 1:
        raise pb.UserError(
            f"task.horizon={process.horizon}: a goal is {size - 1} moves away: give it {size - 1} or more, "
            "or lower task.size."
        )
    if process.count > TRAJECTORIES:
        raise pb.UserError(
            f"task.horizon={process.horizon} makes {process.count:.3g} walks, more than the {TRAJECTORIES} "
            "that can be listed: lower task.horizon, or task.size with it."
        )


def _optima(process: Process, goals: np.ndarray, minority_ratio: float) -> dict[str, float]:
    """Value of the worst-off group, in discounted visits, under optimal policies without a KL charge."""
    wanted = np.eye(len(process.next_state))[:, goals]
    shares = np.array([1 - minority_ratio, minority_ratio])
    return {
        "occupancy_maxmin": maxmin_occupancy(process, wanted).value,
        "occupancy_utilitarian_worst": float(utilitarian_occupancy(process, wanted, shares).values.min()),
    }
