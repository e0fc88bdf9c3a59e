"""DPO with importance weights for groups: the baseline of Ramesh et al. (NeurIPS 2024, arXiv 2405.20304)."""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import balanced, pairs_of
from prefbench.work import policy_by_pairs


@pb.aligner("is_dpo", needs={"group"}, work=policy_by_pairs)
def is_dpo(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
    """DPO in which every group weighs the same, each pair N / N_g."""
    train, held_out = (balanced(pairs_of(view.preferences[split])) for split in ("train", "validation"))
    loss = DPO.of(options, backbone)
    return backbone.fit_pairwise(train, loss, options, seed=view.seed, held_out=held_out)
