"""Pareto-optimal preference learning (Boldi et al. 2024, arXiv 2406.15599)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.lexicase import evolve
from prefbench.learn.options import PersonalOptions, RewardOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, strength_of
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.weighted import Frozen, both_sides, spread
from prefbench.search import Choice, LogUniform
from prefbench.work import features_and_selection


class POPLOptions(RewardOptions, PersonalOptions):
    """A population of rewards by lexicase selection."""

    search = {
        "population": Choice((50, 100, 200)),
        "generations": Choice((30, 100, 300)),
        "mutation": LogUniform(0.03, 1.0),
    }

    population: int = Field(100, ge=2)
    """Rewards in a generation."""
    generations: int = Field(100, ge=0)
    """Rounds of selection and mutation."""
    mutation: float = Field(0.1, gt=0)
    """Standard deviation by which one coordinate of a reward of length one moves."""


@pb.aligner("popl", needs={"group"}, sees={"group"}, work=features_and_selection)
def popl(view: pb.View, backbone: pb.Backbone, options: POPLOptions) -> pb.Aligned:
    """Pareto-optimal rewards phi . w_k by lexicase selection on all pairs; a group's is that which serves it.

    The set knows nothing of groups; of its members the one that orders most of a group's train pairs is for
    this group, and the one that orders most of all for whoever names none. On frozen features of
    everybody's reward.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0])
    chosen, rejected = both_sides(experts, train)
    said, labelled, strength = np.concatenate([chosen, rejected]), chosen - rejected, strength_of(train)
    sure = np.ones(len(train)) if strength is None else 2 * strength - 1
    found = evolve(
        (labelled * np.sign(sure)[:, None])[sure != 0],
        population=options.population,
        generations=options.generations,
        step=options.mutation,
        rng=pb.seeds.rng(view.seed, "lexicase"),
    )
    heads = np.stack([head / spread(head, said) for head in found.heads])
    # A label of strength Z counts Z where it is ordered so, else 1 - Z.
    served = (1 + np.where(labelled @ heads.T > 0, sure[:, None], -sure[:, None])) / 2  # [labels, K]

    assert train.group is not None
    groups = {name: served[train.group == name] for name in sorted(set(train.group.tolist()))}
    best = {name: int(theirs.sum(axis=0).argmax()) for name, theirs in groups.items()}
    most = int(served.sum(axis=0).argmax())
    shares = ", ".join(f"{theirs[:, best[name]].mean():.2f} of {name}" for name, theirs in groups.items())
    alone = f"one serves {served[:, most].mean():.2f} of all"
    note = f"of {len(heads)} rewards the best ones serve {shares} (train pairs ordered as labelled); {alone}"

    def router(context: pb.Context) -> np.ndarray | None:
        return heads[best[context.group]] if context.group in best else None

    policy_of = policies_of(view, backbone, experts, options)
    return personal(policy_of, heads[most], router, notes=[note])
