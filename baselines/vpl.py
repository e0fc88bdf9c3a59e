"""VPL: a code of each person that a network reads off her pairs (Poddar et al., arXiv 2408.10075)."""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.learn.options import CodeOptions
from prefbench.learn.rewards import fit_everybody, pairs_of, strength_of
from prefbench.learn.routers import of_annotators
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.variational import active_units, fit_variational
from prefbench.learn.weighted import Frozen, both_sides, spread
from prefbench.work import features_and_selection


@pb.aligner("vpl", needs={"user_id"}, sees={"pairs"}, work=features_and_selection)
def vpl(view: pb.View, backbone: pb.Backbone, options: CodeOptions) -> pb.Aligned:
    """r_u = phi . (theta + B z_u), with z_u what an encoder makes of her pairs, in any order; zero of none.

    On frozen features of everybody's reward; the paper trains these, and a network of them and of z.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    assert train.user_id is not None
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0])
    chosen, rejected = both_sides(experts, train)
    said, user = np.concatenate([chosen, rejected]), np.unique(train.user_id, return_inverse=True)[1]
    ridge = options.code_ridge * experts.penalty
    strength = strength_of(train)
    found = fit_variational(chosen, rejected, user, options, ridge=ridge, seed=view.seed, strength=strength)

    def code(rows: np.ndarray) -> np.ndarray:
        return found.code(chosen[rows], rejected[rows], None if strength is None else strength[rows])

    codes = of_annotators(train, code)

    def reward(code: np.ndarray) -> np.ndarray:
        weights = found.reward(code)
        return weights / spread(weights, said)

    def read(context: pb.Context) -> np.ndarray | None:
        if context.pairs is None or not len(context.pairs):
            return None
        return reward(found.code(*both_sides(experts, context.pairs), strength_of(context.pairs)))

    policy_of = policies_of(view, backbone, experts, options)
    active = f"{active_units(np.stack(list(codes.values())))} of {options.latent} numbers of the code differ"
    notes = [f"{active} between annotators by a variance above 0.01"]
    return personal(policy_of, reward(np.zeros(options.latent)), read, notes=notes)
