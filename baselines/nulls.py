"""Policies that learn nothing. A measure on which one of these does well measures something else."""

from __future__ import annotations

from pydantic import Field

import prefbench as pb
from prefbench.learn.simple_policies import ConstantPolicy, ExtremeLengthPolicy, ReferencePolicy


class ConstantOptions(pb.Options):
    """What is said."""

    text: str = " it was a film."
    """The response to every prompt."""


class SelectionOptions(pb.Options):
    """How hard the selection is."""

    candidates: int = Field(4, ge=2, le=64)
    """Reference samples that one response is chosen from."""


@pb.aligner("reference")
def reference(view: pb.View, backbone: pb.Backbone, options: pb.NoOptions) -> pb.Policy:
    """The reference policy itself, sampled anew: wins one half but for chance."""
    return ReferencePolicy(backbone.reference)


@pb.aligner("constant", backbones={"causal_lm"})
def constant(view: pb.View, backbone: pb.Backbone, options: ConstantOptions) -> pb.Policy:
    """The same fixed text for every prompt."""
    return ConstantPolicy(options.text)


@pb.aligner("longest")
def longest(view: pb.View, backbone: pb.Backbone, options: SelectionOptions) -> pb.Policy:
    """The longest of several reference samples."""
    return ExtremeLengthPolicy(backbone.reference, "longest", options.candidates)


@pb.aligner("shortest")
def shortest(view: pb.View, backbone: pb.Backbone, options: SelectionOptions) -> pb.Policy:
    """The shortest of several reference samples."""
    return ExtremeLengthPolicy(backbone.reference, "shortest", options.candidates)
