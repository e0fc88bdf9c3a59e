"""P-DPO: a policy that all share, and what each person's own departs from it by (arXiv 2402.05133)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.low_rank import fit_departures
from prefbench.learn.options import PersonalOptions
from prefbench.learn.rewards import pairs_of, strength_of
from prefbench.learn.routers import by_id
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.weighted import Frozen, margins
from prefbench.search import Choice, LogUniform


class PDPOOptions(pb.Options):
    """Personalised DPO."""

    search = {
        "beta": LogUniform(0.03, 3.0),
        "user_weight": Choice((0.25, 0.5, 0.75)),
        "user_ridge": LogUniform(0.1, 100.0),
    }
    strength = "beta"

    beta: float | None = Field(None, gt=0)
    """Strength of the implicit KL penalty, in nats of the reward per nat; none means the model's own."""
    user_weight: float = Field(0.5, ge=0, le=1)
    """Weight alpha of the loss with each person's own policy, beside that with the shared one."""
    user_ridge: float = Field(10.0, gt=0)
    """Ridge penalty of a person's departure, in units of the shared policy's."""


@pb.aligner("p_dpo", needs={"user_id"}, sees={"user_id"}, backbones={"finite"})
def p_dpo(view: pb.View, backbone: pb.Backbone, options: PDPOOptions) -> pb.Aligned:
    """theta_u = theta_0 + o_u, by alpha DPO(theta_u) + (1 - alpha) DPO(theta_0) and a ridge penalty on o_u.

    Whoever has no label in training gets theta_0's policy. The paper's o_u are soft tokens before the prompt,
    which a short training keeps small; here o_u are weights of the world's features, and the fit is convex.
    """
    train = pairs_of(view.preferences["train"])
    assert train.user_id is not None
    experts = Frozen.of(backbone, train, None)
    users, user = np.unique(train.user_id, return_inverse=True)
    shared, own = fit_departures(
        margins(experts, train),
        user,
        options.user_weight,
        penalty=experts.penalty,
        ridge=options.user_ridge * experts.penalty,
        strength=strength_of(train),
    )
    seen = {name: shared + away for name, away in zip(users.tolist(), own, strict=True)}
    strength = PersonalOptions.model_validate({"kl_coefficient": options.beta or backbone.dpo_beta})
    return personal(policies_of(view, backbone, experts, strength), shared, by_id(seen))
