"""PAL: people as points among a few prototypes (Chen et al., ICLR 2025, arXiv 2406.08469)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

import prefbench as pb
from prefbench.learn.low_rank import personal_low_rank
from prefbench.learn.options import LowRankOptions
from prefbench.search import Choice, LogUniform
from prefbench.work import features_and_selection


class PALOptions(LowRankOptions):
    """Prototypes, and how a person's point judges responses."""

    search = {"form": Choice(("distance", "product")), "bend": LogUniform(0.03, 3.0)}

    form: Literal["distance", "product"] = "distance"
    """Reward of what is near the person's point (PAL-A), or of what points the same way (PAL-B, without its
    projections of the prompt)."""
    bend: float = Field(0.3, gt=0)
    """Root mean square of what the squared lengths of responses add to a pair's log odds, in distances; the
    smaller it is, the farther away lie the prototypes."""


@pb.aligner("pal", needs={"user_id"}, sees={"pairs", "user_id"}, work=features_and_selection)
def pal(view: pb.View, backbone: pb.Backbone, options: PALOptions) -> pb.Aligned:
    """Each person's ideal point is a convex combination of K prototypes; r_u = -b |phi - a_u|^2, a_u = P w_u.

    The difference of two squared distances is linear in the point, 2 b D phi . a_u - b D |phi|^2, so
    prototypes are fitted as low-rank rewards are, on frozen features. The paper maps these by a trained
    network, which finds the scale b too.
    """
    bend = options.bend if options.form == "distance" else None
    return personal_low_rank(view, backbone, options, "simplex", bend)
