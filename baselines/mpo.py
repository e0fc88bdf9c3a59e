"""MPO: one policy per group, multiplied (Wang et al., ICML 2025, arXiv 2502.18699)."""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.learn.experts import group_policies
from prefbench.learn.options import MPOOptions
from prefbench.work import ROWS_AT_ONCE, Recipe, policies_by_group


def experts_and_product(recipe: Recipe) -> None:
    """The groups' policies multiplied; each step of the descent samples from the product and scores that."""
    policies_by_group(recipe)
    held = {"held": recipe.rewards + recipe.policies}
    batch = min(recipe.options["mpo_batch"], recipe.sizes.train)
    rows = recipe.options["mpo_steps"] * batch
    stage = "exponents of groups"
    recipe.product = recipe.speakers = recipe.policies
    more = {"product": recipe.product, **held}
    recipe.add(stage, "sample", rows * recipe.policies, min(batch, ROWS_AT_ONCE), **more)
    recipe.add(stage, "score", rows * recipe.rewards, batch, vocabulary=False, **held)


@pb.aligner("mpo", needs={"group"}, work=experts_and_product)
def mpo(view: pb.View, backbone: pb.Backbone, options: MPOOptions) -> pb.Aligned:
    """One policy per known group; their product with exponents found by mirror descent for the worst off.

    pi ~ prod_k pi_k ** w_k with w_k <- w_k exp(-step E_{y~pi} r_k): descent on the dual of maxmin
    (`learn/exact.py`), since pi_k ~ pi_ref exp(r_k / beta) makes this product the optimum of sum_k w_k r_k.
    """
    rewards, policies = group_policies(view, backbone, options)
    logits = np.zeros(len(policies))
    visited = []
    for step in range(options.mpo_steps):
        weights = np.exp(logits - logits.max())
        visited.append(weights / weights.sum())
        policy = backbone.log_linear(policies, visited[-1])
        values = backbone.expect(
            policy, view.prompts, rewards, batch=options.mpo_batch, seed=view.seed, names=("mpo", step)
        )
        logits = logits - options.mpo_step * values
    # Where a step is too long for the rewards' curvature the weights swing about the optimum; their mean
    # does not.
    settled = np.mean(visited[len(visited) // 2 :], axis=0)
    return pb.Aligned(backbone.log_linear(policies, settled), rewards)
