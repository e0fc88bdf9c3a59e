"""The group linear bandit of Ramesh et al. (NeurIPS 2024, arXiv 2405.20304): two groups, eight actions.

A state s is uniform on the unit square, an action a is one of A, and group g's reward of it is
theta_g . phi_g(s, a) with theta_1 = (1, 3, 1, 3) and theta_2 = (3, 1, 3, 1). With c_i = cos(pi s_i) and
e_i = sin(pi s_i) the feature map "same" is

    phi(s, a) = ((a/A + 1) c_1, e_1 / (a/A + 1), (a/A + 1) c_2, e_2 / (a/A + 1)),   a = 0, ..., A - 1.

"swapped" exchanges cosine and sine for the second group, "flipped" counts its actions backwards. The
published environment tells the policy the group; here one policy answers everybody, so it sees the
features of both maps.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.problem.finite import finite_problem, no_data, numbered_prompts
from prefbench.problem.world import Annotators, Beta, PairsPerAnnotator, Temperature, World

THETA = np.array([[1.0, 3.0, 1.0, 3.0], [3.0, 1.0, 3.0, 1.0]])


@pb.task("bandit_two_group", version=1, backbone="finite")
def bandit_two_group(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    features: Annotated[
        Literal["same", "swapped", "flipped"], Field(description="The second group's feature map.")
    ] = "same",
    actions: Annotated[int, Field(ge=1, le=1000, description="Actions A.")] = 8,
    annotators: Annotators = 20,
    pairs_per_annotator: PairsPerAnnotator = 15,
    temperature: Temperature = 0.5,
    beta: Beta = 0.15,
    test_prompts: Annotated[int, Field(ge=10, description="States to evaluate on.")] = 200,
) -> pb.Problem:
    """Group linear bandit: states on a square, eight actions, 300 pairs, groups with opposed tastes."""
    no_data("bandit_two_group", data)
    training = annotators * pairs_per_annotator
    validation = max(1, training // 5)
    count = training + validation + test_prompts
    states = pb.seeds.rng(seed, "states").random((count, 2))
    maps = [feature_map(states, actions)]
    if features == "swapped":
        maps.append(feature_map(0.5 - states, actions))  # cos(pi/2 - x) = sin x
    elif features == "flipped":
        maps.append(maps[0][:, ::-1])
    utilities = np.stack([maps[0] @ THETA[0], maps[-1] @ THETA[1]], axis=2)
    if actions < 2:
        raise pb.UserError("task.actions=1 leaves nothing to choose: give it 2 or more.")
    prompts, state = numbered_prompts(
        "state", range(training), range(training, training + validation), range(training + validation, count)
    )
    world = World(
        state=state,
        responses=(tuple(f"action {a}" for a in range(actions)),) * count,
        features=np.concatenate(maps, axis=2),
        utilities=utilities,
        reference=np.full((count, actions), 1 / actions),
        beta=beta,
    )
    return finite_problem(
        world,
        prompts,
        [("group 1", 1 - minority_ratio, "reward"), ("group 2", minority_ratio, "reward")],
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
        report={"feature_map": features},
    )


def feature_map(states: np.ndarray, actions: int) -> np.ndarray:
    """phi(s, a) for states [S, 2], as [S, A, 4]."""
    stretch = np.arange(actions) / actions + 1
    cos, sin = np.cos(np.pi * states)[:, None, :], np.sin(np.pi * states)[:, None, :]
    grown, shrunk = stretch[:, None] * cos, sin / stretch[:, None]
    return np.stack([grown[..., 0], shrunk[..., 0], grown[..., 1], shrunk[..., 1]], axis=2)
