"""A pool of responses that reward models scored: each person wants a mixture of what they want.

A reward model stands for a taste, and a member of a group for a mixture of them: her group's reward model
and, as far as `task.spread` says, a random direction in all of them. A world, so that everything is exact.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.data.personal_llm import TERMS, WORD, Scored, read_scored
from prefbench.problem.finite import finite_problem
from prefbench.problem.splits import by_place
from prefbench.problem.world import Annotators, Beta, PairsPerAnnotator, Temperature, World
from prefbench.registry import suggest

TEST_SHARE, VALIDATION_SHARE = 0.25, 0.1
UNIT = "score of a reward model, in standard deviations"


@pb.task("scored_pool", version=1, backbone="finite", own_data=False)
def scored_pool(
    data: str,
    minority_ratio: float,
    seed: int,
    *,
    majority: Annotated[
        str | None,
        Field(description="Reward model that the majority wants; none is one of the two least alike."),
    ] = None,
    minority: Annotated[
        str | None, Field(description="Reward model that the minority wants; none is the other of these.")
    ] = None,
    annotators: Annotators = 40,
    pairs_per_annotator: PairsPerAnnotator = 25,
    temperature: Temperature = 0.5,
    beta: Beta = 0.15,
) -> pb.Problem:
    """Responses that reward models scored, for groups that want what one of these models wants.

    Data: a table laid out as PersonalLLM, or `personal-llm` from the hub: prompt, response_1 to response_8,
    and response_1_gemma_2b and so on. With task.spread members are mixtures of all reward models.
    PersonalLLM (Zollo et al. 2024): CC-BY-4.0 by its card, not commercial by an older note. Whoever publishes
    rows of it has to see which of the two holds.
    """
    if data == "synthetic":
        raise pb.UserError(
            f"task 'scored_pool' reads responses with scores: name a table with --data, or {WORD} for the "
            "hub."
        )
    scored = read_scored(data)
    wanted = _wishes(scored, majority, minority)
    pool = scored.pool
    shape = scored.scores.shape[:2]
    world = World(
        state={prompt: index for index, prompt in enumerate(pool.prompts)},
        responses=pool.responses,
        features=scored.scores,
        utilities=scored.scores[..., [scored.models.index(name) for name in wanted]],
        reference=np.full(shape, 1 / shape[1]),
        beta=beta,
    )
    return finite_problem(
        world,
        _split(pool.prompts, annotators * pairs_per_annotator, pb.seeds.rng(seed, "prompts")),
        [(wanted[0], 1 - minority_ratio, UNIT), (wanted[1], minority_ratio, UNIT)],
        annotators=annotators,
        pairs_per_annotator=pairs_per_annotator,
        temperature=temperature,
        report={
            "source": pool.source,
            "reward_models": list(scored.models),
            "terms": TERMS.line,
            "table": dict(pool.report),
        },
    )


def _wishes(scored: Scored, majority: str | None, minority: str | None) -> tuple[str, str]:
    """Names of the reward models of the two groups: those that were named, or the two least alike."""
    flat = scored.scores.reshape(-1, len(scored.models))
    alike = flat.T @ flat
    for option, name in (("majority", majority), ("minority", minority)):
        if name is not None and name not in scored.models:
            raise pb.UserError(
                f"task.{option}: {scored.pool.source!r} has no reward model {name!r:.60}."
                f"{suggest(name, scored.models)}"
            )
    places = range(len(scored.models))
    ours = [scored.models.index(majority)] if majority is not None else places
    theirs = [scored.models.index(minority)] if minority is not None else places
    pairs = [(one, other) for one in ours for other in theirs if one != other]
    if not pairs:
        raise pb.UserError(f"both groups want {majority}: set task.majority and task.minority to two.")
    one, other = min(pairs, key=lambda pair: (alike[pair], pair))
    return scored.models[one], scored.models[other]


def _split(prompts: tuple[str, ...], pairs: int, rng: np.random.Generator) -> pb.Prompts:
    """Test prompts, the same for every seed; validation prompts drawn; the others, repeated, for pairs."""
    order = by_place(prompts)
    testing = max(1, round(TEST_SHARE * len(order)))
    rest = [order[testing + index] for index in rng.permutation(len(order) - testing).tolist()]
    checking = max(1, round(VALIDATION_SHARE * len(order)))
    train = rest[checking:]
    return pb.Prompts(
        tuple(train[i % len(train)] for i in range(pairs)), tuple(rest[:checking]), tuple(order[:testing])
    )
