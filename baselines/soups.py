"""Soups: the average of the weights of one policy per group.

Source: rewarded soups (Rame et al. 2023, arXiv 2306.04488) and personalized soups (Jang et al. 2023, arXiv
2310.11564), which average uniformly.
"""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.experts import group_policies
from prefbench.learn.options import SoupsOptions
from prefbench.work import Recipe, policies_by_group


def experts_and_average(recipe: Recipe) -> None:
    """A reward and a policy for each group; the average of the policies is one more model."""
    policies_by_group(recipe)
    recipe.policies += 1


@pb.aligner("soups", needs={"group"}, work=experts_and_average)
def soups(view: pb.View, backbone: pb.Backbone, options: SoupsOptions) -> pb.Aligned:
    """One policy per known group, optimised for it alone; then the average of their weights."""
    assert view.shares is not None
    rewards, policies = group_policies(view, backbone, options)
    equal = [1 / len(policies)] * len(policies)
    weights = [view.shares[name] for name in rewards.names] if options.weights == "shares" else equal
    return pb.Aligned(backbone.average(policies, weights), rewards)
