"""DPO with importance weights for groups: the baseline of Ramesh et al. (NeurIPS 2024, arXiv 2405.20304)."""

from __future__ import annotations

from dataclasses import replace

from prefbench.backbone.base import Backbone, Policy
from prefbench.learn.options import PairwiseOptions
from prefbench.problem.preferences import View
from prefbench.registry import aligner


@aligner("is_dpo", needs={"group"})
def is_dpo(view: View, backbone: Backbone, options: PairwiseOptions) -> Policy:
    """DPO in which every group weighs the same, each pair N / N_g."""
    import numpy as np

    from prefbench.learn.bradley_terry import pairs_of
    from prefbench.learn.pairwise import DPO

    pairs = pairs_of(view.preferences["train"])
    assert pairs.group is not None
    _, group, count = np.unique(pairs.group.astype(str), return_inverse=True, return_counts=True)
    weighted = replace(pairs, weights=len(pairs) / count[group])
    loss = DPO(options.beta, options.label_smoothing)
    return backbone.fit_pairwise(weighted, loss, options, seed=view.seed)
