"""Group-robust preference optimisation with known groups (Ramesh et al., NeurIPS 2024, arXiv 2405.20304)."""

from __future__ import annotations

from prefbench.backbone.base import Backbone, Policy
from prefbench.learn.options import RobustDPOOptions, RobustIPOOptions
from prefbench.problem.preferences import View
from prefbench.registry import aligner


@aligner("gr_dpo", needs={"group"})
def gr_dpo(view: View, backbone: Backbone, options: RobustDPOOptions) -> Policy:
    """DPO for the group with the largest loss: min over policies, max over weights of groups."""
    from prefbench.learn.bradley_terry import pairs_of
    from prefbench.learn.pairwise import DPO

    return backbone.fit_pairwise(
        pairs_of(view.preferences["train"]),
        DPO(options.beta, options.label_smoothing),
        options,
        seed=view.seed,
        group_step=options.group_step,
    )


@aligner("gr_ipo", needs={"group"})
def gr_ipo(view: View, backbone: Backbone, options: RobustIPOOptions) -> Policy:
    """IPO for the group with the largest loss."""
    from prefbench.learn.bradley_terry import pairs_of
    from prefbench.learn.pairwise import IPO

    return backbone.fit_pairwise(
        pairs_of(view.preferences["train"]),
        IPO(options.beta),
        options,
        seed=view.seed,
        group_step=options.group_step,
    )
