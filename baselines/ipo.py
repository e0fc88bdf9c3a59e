"""Identity preference optimisation (Azar et al. 2023, arXiv 2310.12036)."""

from __future__ import annotations

from prefbench.backbone.base import Backbone, Policy
from prefbench.learn.options import IPOOptions
from prefbench.problem.preferences import View
from prefbench.registry import aligner


@aligner("ipo")
def ipo(view: View, backbone: Backbone, options: IPOOptions) -> Policy:
    """DPO with a squared loss: log-ratios are driven to a margin instead of apart without end."""
    from prefbench.learn.bradley_terry import pairs_of
    from prefbench.learn.pairwise import IPO

    pairs = pairs_of(view.preferences["train"])
    return backbone.fit_pairwise(pairs, IPO(options.beta), options, seed=view.seed)
