"""Figures of worlds: exact, from the distributions of every aligner that has them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prefbench import registry
from prefbench.errors import UserError
from prefbench.evaluate import regret, theory
from prefbench.learn import options as learning
from prefbench.learn.interface import Policy
from prefbench.running.labels import labels_of
from prefbench.store.stages import Store, Work
from support.figures.benches import Bench
from support.figures.choices import few, label, variants
from support.figures.numbers import flat, frame_digest, projected
from support.figures.problems import small_spec, stated
from support.figures.sections import EXACT, SECTIONS, Figures, Section, entries, section


def world_bench(task: str, folder: Path, model: Mapping[str, Any] | None = None, several: int = 1) -> Bench:
    """A world with labels drawn from its reference, of each pair so many."""
    from prefbench.backbone.finite.backbone import Finite

    spec = small_spec(task, model=model, several=several)
    problem, store = stated(spec), Store(folder)
    assert problem.world is not None
    options = registry.get("model", spec.model).options(**spec.model_options)
    backbone = Finite(problem.world, options, store, Work("figures", folder), problem.temperature)
    return Bench(problem, labels_of(spec, problem, backbone, store).rows, backbone, folder)


def exactly(bench: Bench, policy: Policy) -> Figures:
    """What a policy of a world is worth to each group, from its distribution."""
    table = bench.backbone.distribution(policy, bench.problem.prompts.test)
    states = table["state"].nunique()
    ours, theirs, weight = (
        table[name].to_numpy().reshape(states, -1) for name in ("policy", "reference", "state_weight")
    )
    names = [group.name for group in bench.problem.groups]
    result: dict[str, list[float]] = {"utility": [], "win": []}
    for index in range(len(names)):
        utility = table[f"utility/{index}"].to_numpy().reshape(states, -1)
        ahead = utility[:, :, None] - utility[:, None, :]
        wins = np.where(np.abs(ahead) < 1e-9, 0.5, ahead > 0)
        result["win"].append(float(np.einsum("s,sa,sb,sab->", weight[:, 0], ours, theirs, wins)))
        result["utility"].append(float((weight * ours * utility).sum()))
    named = table.rename(columns={f"utility/{i}": f"utility/{name}" for i, name in enumerate(names)})
    assert bench.problem.world is not None
    lost = regret.regrets(named, names, bench.problem.world.beta)
    result["regret"] = [row["regret"] for row in lost["groups"]]
    return {**result, "kl": lost["kl"], "egalitarian": lost["egalitarian_regret"]}


def by_everybody(bench: Bench, entry: registry.Entry, options: Mapping[str, Any]) -> Figures:
    """What an aligner's policy is worth, or what its policies for several people are."""
    return bench.answers(entry, bench.align(entry, options), lambda policy: exactly(bench, policy))


def _world(task: str, folder: Path) -> Figures:
    bench = world_bench(task, folder)
    world, rows = bench.problem.world, bench.rows
    assert world is not None
    result: Figures = {
        "labels": frame_digest(rows),
        "features": projected(world.features),
        "utilities": projected(world.utilities),
        "reference": projected(world.reference),
    }
    for entry in entries("aligner"):
        with contextlib.suppress(UserError):  # it says that it does not apply
            if "finite" in entry.backbones:
                options = few(
                    entry, **({"em_restarts": 2} if "em_restarts" in entry.options.model_fields else {})
                )
                own = world_bench(task, folder, several=3) if "votes" in entry.needs else bench
                result |= flat({entry.name: by_everybody(own, entry, options)})
    return result


def _choices_in_a_world(name: str, folder: Path) -> Figures:
    entry = registry.get("aligner", name)
    bench = world_bench("gridworld_two_group", folder, several=3 if "votes" in entry.needs else 1)
    return flat(
        {
            label(choice): by_everybody(bench, entry, few(entry) | choice)
            for choice in variants(entry.options, [learning.PPOOptions])
        }
    )


def _model_of_a_world(choice: Mapping[str, Any], folder: Path) -> Figures:
    bench = world_bench("bandit_k_group", folder, choice)
    named = ("single_reward", "dpo", "gr_dpo", "maxmin_known_groups")
    used = [registry.get("aligner", name) for name in named]
    return flat({entry.name: by_everybody(bench, entry, few(entry)) for entry in used})


@section("theory", EXACT)
def bounds(folder: Path) -> Figures:
    """The quantities that docs/theory.md bounds, in one world."""
    rows = theory.measure(stated(small_spec("bandit_k_group")), [0.15, 1.0])
    return flat({"rows": rows})


def fill() -> None:
    """Sections for every world, every choice of its model, and every aligner that has choices in it."""
    for entry in entries("task"):
        if entry.backbone == "finite" and entry.own_data:
            SECTIONS[f"world/{entry.name}"] = Section(functools.partial(_world, entry.name), EXACT)
    for choice in variants(registry.get("model", "finite").options):
        SECTIONS[f"world model/{label(choice)}"] = Section(
            functools.partial(_model_of_a_world, choice), EXACT
        )
    for entry in entries("aligner"):
        if "finite" in entry.backbones and any(variants(entry.options, [learning.PPOOptions])):
            SECTIONS[f"world aligner/{entry.name}"] = Section(
                functools.partial(_choices_in_a_world, entry.name), EXACT
            )
