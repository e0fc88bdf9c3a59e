"""Direct preference optimisation on everybody's labels (Rafailov et al. 2023)."""

from __future__ import annotations

from prefbench.backbone.base import Backbone, Policy
from prefbench.learn.options import PairwiseOptions
from prefbench.problem.preferences import View
from prefbench.registry import aligner


@aligner("dpo")
def dpo(view: View, backbone: Backbone, options: PairwiseOptions) -> Policy:
    """A policy fitted to the pairs directly, without a reward model."""
    from prefbench.learn.bradley_terry import pairs_of
    from prefbench.learn.pairwise import DPO

    loss = DPO(options.beta, options.label_smoothing)
    return backbone.fit_pairwise(pairs_of(view.preferences["train"]), loss, options, seed=view.seed)
