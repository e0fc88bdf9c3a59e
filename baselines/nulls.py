"""Policies that learn nothing. A measure on which one of these does well measures something else."""

from __future__ import annotations

from pydantic import Field

import prefbench as pb
from prefbench.learn.simple_policies import ConstantPolicy, ExtremeLengthPolicy, ReferencePolicy
from prefbench.work import Recipe, train_nothing


class ConstantOptions(pb.Options):
    """The response."""

    text: str = " it was a film."
    """The response to every prompt."""


class SelectionOptions(pb.Options):
    """Strength of the selection."""

    candidates: int = Field(4, ge=2, le=64)
    """Reference samples that one response is chosen from."""


def no_answers(recipe: Recipe) -> None:
    """Nothing is sampled."""
    recipe.answers = 0


def one_of_several(recipe: Recipe) -> None:
    """One of several samples, whose probability has no closed form."""
    recipe.answers, recipe.speakers = recipe.options["candidates"], 0


@pb.aligner("reference", role="floor", work=train_nothing, place=6)
def reference(view: pb.View, backbone: pb.Backbone, options: pb.NoOptions) -> pb.Policy:
    """The reference policy itself, sampled anew: wins one half but for chance."""
    return ReferencePolicy(backbone.reference)


@pb.aligner("constant", backbones={"causal_lm"}, role="floor", work=no_answers)
def constant(view: pb.View, backbone: pb.Backbone, options: ConstantOptions) -> pb.Policy:
    """The same fixed text for every prompt."""
    return ConstantPolicy(options.text)


@pb.aligner("longest", role="floor", work=one_of_several)
def longest(view: pb.View, backbone: pb.Backbone, options: SelectionOptions) -> pb.Policy:
    """The longest of several reference samples."""
    return ExtremeLengthPolicy(backbone.reference, "longest", options.candidates)


@pb.aligner("shortest", role="floor", work=one_of_several)
def shortest(view: pb.View, backbone: pb.Backbone, options: SelectionOptions) -> pb.Policy:
    """The shortest of several reference samples."""
    return ExtremeLengthPolicy(backbone.reference, "shortest", options.candidates)
