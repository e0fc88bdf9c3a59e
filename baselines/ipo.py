"""Identity preference optimisation (Azar et al. 2023, arXiv 2310.12036)."""

from __future__ import annotations

import prefbench as pb
from prefbench.learn.options import IPOOptions
from prefbench.learn.pairwise import IPO
from prefbench.learn.rewards import pairs_of
from prefbench.work import policy_by_pairs


@pb.aligner("ipo", work=policy_by_pairs)
def ipo(view: pb.View, backbone: pb.Backbone, options: IPOOptions) -> pb.Policy:
    """DPO with a squared loss: log-ratios are driven to a margin instead of apart without end."""
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    return backbone.fit_pairwise(train, IPO.of(options, backbone), options, seed=view.seed, held_out=held_out)
