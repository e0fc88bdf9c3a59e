"""Low-rank rewards: everybody's is a weighted sum of a few that all share."""

from __future__ import annotations

from typing import Literal

import prefbench as pb
from prefbench.learn.low_rank import personal_low_rank
from prefbench.learn.options import LowRankOptions
from prefbench.search import Choice
from prefbench.work import features_and_selection


class LowRankFormOptions(LowRankOptions):
    """Shared rewards, and what a person's weights of them may be."""

    search = {"form": Choice(("simplex", "free"))}

    form: Literal["simplex", "free"] = "simplex"
    """Weights that are not negative and sum to one (LoRe), or any weights (RFM, Park et al.)."""


@pb.aligner("low_rank", needs={"user_id"}, sees={"pairs", "user_id"}, work=features_and_selection)
def low_rank(view: pb.View, backbone: pb.Backbone, options: LowRankFormOptions) -> pb.Aligned:
    """r_u = phi . V w_u on frozen features phi, with V and the annotators' weights w_u fitted together.

    LoRe (arXiv 2504.14439) has weights in the simplex, the reward features of Barreto et al. (RFM, arXiv
    2503.17338) and the representations of Park et al. 2024 (arXiv 2405.00254) free ones. A new person's are
    fitted to her pairs, with V as it is.
    """
    return personal_low_rank(view, backbone, options, options.form)
