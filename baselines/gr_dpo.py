"""Group-robust preference optimisation with known groups (Ramesh et al., NeurIPS 2024, arXiv 2405.20304)."""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.options import RobustDPOOptions, RobustIPOOptions
from prefbench.learn.pairwise import DPO, IPO
from prefbench.learn.rewards import pairs_of
from prefbench.work import policy_by_pairs


@pb.aligner("gr_dpo", needs={"group"}, work=policy_by_pairs)
def gr_dpo(view: pb.View, backbone: pb.Backbone, options: RobustDPOOptions) -> pb.Policy:
    """DPO for the group with the largest loss: min over policies, max over weights of groups."""
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    loss = DPO.of(options, backbone)
    return backbone.fit_pairwise(
        train, loss, options, seed=view.seed, group_step=options.group_step, held_out=held_out
    )


@pb.aligner("gr_ipo", needs={"group"}, work=policy_by_pairs)
def gr_ipo(view: pb.View, backbone: pb.Backbone, options: RobustIPOOptions) -> pb.Policy:
    """IPO for the group with the largest loss."""
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    loss = IPO.of(options, backbone)
    return backbone.fit_pairwise(
        train, loss, options, seed=view.seed, group_step=options.group_step, held_out=held_out
    )
