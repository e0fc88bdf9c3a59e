"""Direct preference optimisation on everybody's labels (Rafailov et al. 2023)."""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of
from prefbench.work import policy_by_pairs


@pb.aligner("dpo", work=policy_by_pairs, place=3)
def dpo(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
    """A policy fitted to the pairs directly, without a reward model."""
    loss = DPO.of(options, backbone)
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    return backbone.fit_pairwise(train, loss, options, seed=view.seed, held_out=held_out)
