"""DPO with importance weights for groups: the baseline of Ramesh et al. (NeurIPS 2024, arXiv 2405.20304)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of
from prefbench.work import policy_by_pairs


@pb.aligner("is_dpo", needs={"group"}, work=policy_by_pairs)
def is_dpo(view: pb.View, backbone: pb.Backbone, options: PairwiseOptions) -> pb.Policy:
    """DPO in which every group weighs the same, each pair N / N_g."""
    pairs = pairs_of(view.preferences["train"])
    assert pairs.group is not None
    _, group, count = np.unique(pairs.group.astype(str), return_inverse=True, return_counts=True)
    weighted = replace(pairs, weights=len(pairs) / count[group])
    loss = DPO(options.beta, options.label_smoothing)
    return backbone.fit_pairwise(weighted, loss, options, seed=view.seed)
