"""Problems of worlds: their groups, their prompts, and that they read no data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prefbench.errors import UserError
from prefbench.problem.problem import Group, Problem, Prompts
from prefbench.problem.world import TableUtility, World


def finite_problem(
    world: World,
    prompts: Prompts,
    groups: Sequence[tuple[str, float, str]],
    *,
    annotators: int,
    pairs_per_annotator: int,
    temperature: float,
    report: Mapping[str, object] | None = None,
) -> Problem:
    """The problem of a world: its groups (name, share, unit of utility) with their columns as utilities."""
    return Problem(
        groups=tuple(
            Group(name, share, TableUtility(world, index, name, unit))
            for index, (name, share, unit) in enumerate(groups)
        ),
        prompts=prompts,
        corpus=(),
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
        response_tokens=1,
        report={
            "states": len(world.responses),
            "responses": world.features.shape[1],
            "features": world.features.shape[2],
            "beta": world.beta,
            "world": world.digest[:16],
            **(report or {}),
        },
        world=world,
    )


def numbered_prompts(
    noun: str, train: Iterable[int], validation: Iterable[int], test: Iterable[int]
) -> tuple[Prompts, dict[str, int]]:
    """Prompts `noun 0`, `noun 1`, ... that are about the given states, and the state of each."""
    state: dict[str, int] = {}
    splits = []
    for states in (train, validation, test):
        first = len(state)
        state |= {f"{noun} {first + i}": int(number) for i, number in enumerate(states)}
        splits.append(tuple(state)[first:])
    return Prompts(*splits), state


def no_data(task: str, data: str) -> None:
    """Refuse `--data` for a world that is computed.

    Raises:
        UserError: something other than `synthetic` was asked for.
    """
    if data != "synthetic":
        raise UserError(f"task '{task}' is computed and reads no data: leave --data at synthetic.")
