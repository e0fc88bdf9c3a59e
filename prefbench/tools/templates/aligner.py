"""NAME: say here in a sentence what the method does, and where it comes from.

prefbench check NAME.py
prefbench run --plugin NAME.py --task imdb_two_group --aligner NAME
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of
from prefbench.search import Choice


class TITLEOptions(PairwiseOptions):
    """DPO's options and one of its own."""

    # What `prefbench tune` draws the new option from; DPO's own are searched as DPO declares them.
    search = {"tilt": Choice((0.0, 0.5, 1.0, 2.0))}

    tilt: float = Field(1.0, ge=0, le=4)
    """A pair weighs (pairs of its annotator's group) ** -tilt: 0 is plain DPO, 1 weighs groups alike."""


# needs: what it must see beyond the pairs: user_id, group, side (columns) or oracle. All else is removed.
@pb.aligner("NAME", needs={"group"})
def NAME(view: pb.View, backbone: pb.Backbone, options: TITLEOptions) -> pb.Policy:
    """DPO in which the pairs of smaller groups weigh more."""
    pairs = pairs_of(view.preferences["train"])
    assert pairs.group is not None  # it was declared, so it is there
    _, group, count = np.unique(pairs.group, return_inverse=True, return_counts=True)
    weighted = replace(pairs, weights=count[group] ** -options.tilt)
    loss = DPO.of(options, backbone)
    return backbone.fit_pairwise(weighted, loss, options, seed=view.seed)
