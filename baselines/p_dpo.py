"""P-DPO: a policy that all share, and what each person's own departs from it by (arXiv 2402.05133)."""

from __future__ import annotations

from pydantic import Field

import prefbench as pb
from prefbench.learn.low_rank import personal_departures
from prefbench.learn.options import PairTrainingOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of
from prefbench.search import LANGUAGE, LISTED, Choice, LogUniform
from prefbench.work import Recipe


class PDPOOptions(PairTrainingOptions):
    """Personalised DPO."""

    search = {
        "user_weight": Choice((0.25, 0.5, 0.75)),
        "user_ridge": LogUniform(0.1, 100.0, LISTED),
        "tokens": Choice((1, 4, 10), LANGUAGE),
        "clusters": Choice((0, 2, 5, 10), LANGUAGE),
    }

    user_weight: float = Field(0.5, ge=0, le=1)
    """Weight alpha of the loss with each person's own policy, beside that with the shared one."""
    user_ridge: float = Field(10.0, gt=0)
    """Ridge penalty of a person's departure in a world, in units of the shared policy's."""
    tokens: int = Field(4, ge=0, le=1024)
    """Soft tokens before a language model's prompts, which say who asks; of none all policies are DPO's."""
    clusters: int = Field(0, ge=0, le=1024)
    """Sets of soft tokens that people share, each person a mean of them; 0 gives each her own."""


def policy_and_tokens(recipe: Recipe) -> None:
    """A policy fitted to the pairs, which are read with the shared tokens and with their annotators'."""
    alpha = recipe.options["user_weight"]
    recipe.pairwise("policy by pairs", views=2 if recipe.options["tokens"] and 0 < alpha < 1 else 1)


@pb.aligner("p_dpo", needs={"user_id"}, sees={"user_id"}, work=policy_and_tokens)
def p_dpo(view: pb.View, backbone: pb.Backbone, options: PDPOOptions) -> pb.Aligned:
    """alpha DPO(theta_u) + (1 - alpha) DPO(theta_0); whoever has no label in training gets theta_0's policy.

    On a language model theta_u are the model's weights and u's soft tokens, e_0 + o_u. In a world it is
    theta_0 + o_u on its features: a short training keeps soft tokens small, there a ridge penalty does.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    beta = options.beta or backbone.dpo_beta
    more = options.model_dump(include={"tokens", "clusters", "user_weight"})
    policy_of = backbone.fit_soft_tokens(train, DPO(beta), options, seed=view.seed, held_out=held_out, **more)
    if policy_of is None:
        return personal_departures(view, backbone, options.user_weight, options.user_ridge, beta)
    return pb.Aligned(pb.Personal(policy_of(None), lambda context: policy_of(context.user_id)))
