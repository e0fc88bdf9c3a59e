"""Simulated people of a world: what they label, and what a policy is worth to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from prefbench import registry, seeds
from prefbench.learn.interface import Aligned, Context, Pairs, Personal, Policy
from prefbench.running.labels import labels_of
from prefbench.spec import make_spec
from prefbench.store.stages import Store, Work
from support.figures.benches import Bench
from support.figures.problems import stated

ROOM = ("gridworld_two_group", {})
"""A world in which knowing the person is worth much."""


def people_bench(
    folder: Path, task: str = ROOM[0], model: dict[str, Any] | None = None, seed: int = 0, **options: Any
) -> Bench:
    """A world with labels, on which aligners are tried."""
    from prefbench.backbone.finite.backbone import Finite

    sets = {"task": options, "model": model or {}}
    spec = make_spec(task=task, aligner="reference", minority_ratio=0.25, seed=seed, sets=sets)
    problem, store = stated(spec), Store(folder)
    assert problem.world is not None
    known = registry.get("model", spec.model).options(**spec.model_options)
    backbone = Finite(problem.world, known, store, Work("people", folder), problem.temperature)
    return Bench(problem, labels_of(spec, problem, backbone, store).rows, backbone, folder)


def made(bench: Bench, name: str, **options: Any) -> Personal:
    """The personal policy that an aligner makes."""
    found = aligned(bench, name, **options).policy
    assert isinstance(found, Personal)
    return found


def aligned(bench: Bench, name: str, **options: Any) -> Aligned:
    """What an aligner makes."""
    return bench.align(registry.get("aligner", name), options)


def labelled_by(bench: Bench, group: int, n: int, person: int, coin: bool = False) -> Pairs:
    """n pairs of reference responses that a person of a group labelled, or a coin did."""
    world, backbone = bench.problem.world, bench.backbone
    assert world is not None
    rng = np.random.default_rng([person, group])
    asked = rng.choice(bench.problem.prompts.train, size=n).tolist()
    drawn = backbone.reference.sample(asked, 2, seeds.child(person, "context", str(group)))
    rows = world.rows(asked)
    first, second = (world.columns(rows, [pair[i] for pair in drawn]) for i in (0, 1))
    utility = world.utilities[:, :, group]
    margin = (utility[rows, first] - utility[rows, second]) / noise(bench)[group]
    ahead = rng.random(n) < (0.5 if coin else expit(margin))
    chosen = [pair[0 if one else 1] for pair, one in zip(drawn, ahead, strict=True)]
    rejected = [pair[1 if one else 0] for pair, one in zip(drawn, ahead, strict=True)]
    return Pairs(asked, chosen, rejected)


def noise(bench: Bench) -> np.ndarray:
    """The groups' label noise in units of their utilities, [G]."""
    return bench.problem.temperature * spreads(bench)


def spreads(bench: Bench) -> np.ndarray:
    """Standard deviations of the groups' utilities over reference responses, [G]."""
    world = bench.problem.world
    assert world is not None
    mass = world.reference[..., None] / len(world.reference)
    mean = (mass * world.utilities).sum(axis=(0, 1))
    return np.asarray(np.sqrt((mass * (world.utilities - mean) ** 2).sum(axis=(0, 1))))


def worth(bench: Bench, policy: Policy, group: int) -> float:
    """V_g = E[u_g] - beta KL of a policy, with utilities in standard deviations over reference responses."""
    world = bench.problem.world
    assert world is not None
    table = bench.backbone.probabilities(policy)
    kl = (table * np.log(np.maximum(table, 1e-300) / world.reference)).sum(axis=1).mean()
    gained = ((table - world.reference) * world.utilities[:, :, group]).sum(axis=1).mean()
    return float(gained / spreads(bench)[group] - world.beta * kl)


def own_against_coin(bench: Bench, personal: Personal, n: int = 8, people: int = 15) -> np.ndarray:
    """What a person's own labels are worth to her beyond as many of a coin, [groups * people]."""
    differences = []
    for group in range(len(bench.problem.groups)):
        for person in range(people):
            values = [
                worth(bench, personal.adapt(Context(pairs=labelled_by(bench, group, n, person, coin))), group)
                for coin in (False, True)
            ]
            differences.append(values[0] - values[1])
    return np.array(differences)


def same(bench: Bench, one: Policy, other: Policy) -> float:
    """Largest difference of two policies' probabilities."""
    known = bench.backbone.probabilities
    return float(np.abs(known(one) - known(other)).max())
