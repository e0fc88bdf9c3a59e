"""Small worlds, pairs that are labelled in them, and rewards that are known."""

import numpy as np
from scipy.special import expit

from prefbench import seeds
from prefbench.learn.interface import Pairs, Rewards
from prefbench.problem.finite import numbered_prompts
from prefbench.problem.world import World


def make_world(states=4, responses=5, features=3, groups=2, seed=0, prompts=600) -> tuple[World, list[str]]:
    rng = np.random.default_rng(seed)
    split, state = numbered_prompts("p", (i % states for i in range(prompts)), [0], [0])
    psi = rng.normal(size=(states, responses, features))
    world = World(
        state=state,
        responses=(tuple(f"{'long ' * i}{i}" for i in range(responses)),) * states,
        features=psi,
        utilities=psi @ rng.normal(size=(features, groups)),
        reference=rng.dirichlet(np.full(responses, 4.0), size=states),
        beta=0.2,
    )
    return world, list(split.train)


def labelled(backbone, prompts, weights, seed=0, user=None) -> Pairs:
    """Pairs of reference responses, labelled by a linear reward, or by one for each annotator."""
    world, rng = backbone.world, np.random.default_rng(seed)
    drawn = backbone.reference.sample(prompts, 2, seeds.child(seed, "pairs"))
    rows = world.rows(prompts)
    a, b = (world.columns(rows, [pair[i] for pair in drawn]) for i in (0, 1))
    theta = weights if user is None else weights[user]
    margin = ((world.features[rows, a] - world.features[rows, b]) * theta).sum(axis=1)
    first = rng.random(len(rows)) < expit(margin)
    return Pairs(
        prompts,
        [pair[0 if one else 1] for pair, one in zip(drawn, first, strict=True)],
        [pair[1 if one else 0] for pair, one in zip(drawn, first, strict=True)],
        user_id=user,
    )


# ------------------------------------------------------------------------------- combination


def known_rewards(backbone, scale=(1.0, 1.0)) -> Rewards:
    """The true utilities as two fitted rewards."""
    from prefbench.backbone.finite.policies import FiniteReward

    tables = np.moveaxis(backbone.world.utilities, 2, 0)
    models = [FiniteReward(backbone.world, table * by) for table, by in zip(tables, scale, strict=True)]
    return Rewards(models, ["one", "two"], np.zeros(2), np.ones(2))
