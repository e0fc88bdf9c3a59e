"""Preferences from outside as a world: the responses that people compared, and what they said of them.

Nothing is trained but what can be listed: a prompt is a state, the responses that people were shown are its
responses, and the groups' utilities are gold rewards of people whom no aligner sees. Every expectation and
every exact optimum under these is known, on human labels and without a language model.
"""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.data.compared import gold_tables
from prefbench.data.outside import OutsideOptions, from_outside
from prefbench.data.pool import text_features
from prefbench.problem.world import Beta, TableUtility, World

UNIT = "gold reward, in log odds of a label"


class ComparedOptions(OutsideOptions):
    """Options of preferences from outside as a world."""

    beta: Beta = 0.15
    """KL weight of the exact solutions that a run is held against."""


@pb.task("preference_pool", version=1, backbone="finite", own_data=False)
def preference_pool(data: str, minority_ratio: float, seed: int, options: ComparedOptions) -> pb.Problem:
    """Responses that people compared, as a world: exact numbers on human labels, without a language model.

    Data: as of task preferences, which says the terms of the published sets too. Of each prompt
    equally many responses stay. Utilities are gold rewards, linear in the form of the text, of people whom no
    aligner sees; regret is regret by these. The minority ratio is the one found.
    """
    found = from_outside(data, options, seed, listed=True)
    pool, divided, names = found.pool, found.divided, found.names
    assert pool is not None
    features, feature_names, left_out = text_features(pool)
    gold = gold_tables(pool, features, {name: divided.gold[name] for name in names}, divided.gold_test)
    shape = features.shape[:2]
    world = World(
        state={prompt: index for index, prompt in enumerate(pool.prompts)},
        responses=pool.responses,
        features=features,
        utilities=gold.utilities,
        reference=np.full(shape, 1 / shape[1]),
        beta=options.beta,
    )
    spread = gold.utilities.reshape(-1, len(names)).std(axis=0).mean()
    doubtful = [
        f"the gold reward of {name} orders labels of its people on test prompts as a coin might: regret "
        "and win "
        "rates by it say nothing"
        for name in gold.doubtful
    ]
    return pb.Problem(
        groups=tuple(
            pb.Group(name, 1 / len(names), TableUtility(world, index, name, UNIT))
            for index, name in enumerate(names)
        ),
        prompts=divided.prompts,
        corpus=(),
        temperature=1 / max(float(spread), 1e-9),  # of labels that follow these log odds
        response_tokens=1,
        world=world,
        given=divided.preferences,
        origin=found.origin,
        report={
            **found.report,
            "pool": dict(pool.report),
            "gold": {name: dict(facts) for name, facts in gold.report.items()},
            "feature_names": feature_names,
            "features_dropped": left_out,
            "world": world.digest[:16],
        },
        remarks=(*found.remarks, *doubtful),
    )
