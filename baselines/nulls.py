"""Policies that learn nothing. A measure on which one of these does well measures something else."""

from __future__ import annotations

from pydantic import Field

from prefbench.backbone.base import Backbone, Policy
from prefbench.problem.preferences import View
from prefbench.registry import NoOptions, Options, aligner


class ConstantOptions(Options):
    """What is said."""

    text: str = " it was a film."
    """The response to every prompt."""


class SelectionOptions(Options):
    """How hard the selection is."""

    candidates: int = Field(4, ge=2, le=64)
    """Reference samples that one response is chosen from."""


@aligner("reference")
def reference(view: View, backbone: Backbone, options: NoOptions) -> Policy:
    """The reference policy itself, sampled anew: wins one half but for chance."""
    from prefbench.backbone.simple_policies import ReferencePolicy

    return ReferencePolicy(backbone.reference)


@aligner("constant", backbones={"causal_lm"})
def constant(view: View, backbone: Backbone, options: ConstantOptions) -> Policy:
    """The same fixed text for every prompt."""
    from prefbench.backbone.simple_policies import ConstantPolicy

    return ConstantPolicy(options.text)


@aligner("longest")
def longest(view: View, backbone: Backbone, options: SelectionOptions) -> Policy:
    """The longest of several reference samples."""
    from prefbench.backbone.simple_policies import ExtremeLengthPolicy

    return ExtremeLengthPolicy(backbone.reference, "longest", options.candidates)


@aligner("shortest")
def shortest(view: View, backbone: Backbone, options: SelectionOptions) -> Policy:
    """The shortest of several reference samples."""
    from prefbench.backbone.simple_policies import ExtremeLengthPolicy

    return ExtremeLengthPolicy(backbone.reference, "shortest", options.candidates)
