"""Instructions in place of training: the reference, told outright what a person or every group wants."""

from __future__ import annotations

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.contrast import log_ratio_gains, worst_off_weights
from prefbench.learn.rewards import pairs_of, strength_of
from prefbench.learn.simple_policies import InstructedPolicy, ReferencePolicy
from prefbench.search import LogUniform
from prefbench.work import Recipe


class ContrastOptions(pb.Options):
    """The contrast of the told reference with the untold one."""

    search = {"contrast": LogUniform(0.1, 4.0)}

    contrast: float = Field(1.0, ge=0)
    """Most that the weights of instructions sum to: 0 is the reference, above 1 is beyond any of them."""


def scores_and_product(recipe: Recipe) -> None:
    """Every train pair is scored after each instruction and without; all of them speak together."""
    models = 1 + recipe.sizes.groups
    recipe.score("weights of instructions", 2 * recipe.sizes.train * models)
    recipe.product = recipe.speakers = models


@pb.aligner(
    "group_instruction",
    needs={"group", "instruction"},
    sees={"instruction"},
    backbones={"causal_lm"},
    work=scores_and_product,
)
def group_instruction(view: pb.View, backbone: pb.Backbone, options: ContrastOptions) -> pb.Aligned:
    """The reference after a person's instruction; for whoever gives none l = l_0 + sum_g w_g (l_g - l_0).

    l_0 are its logits without an instruction, l_g those after group g's, w what makes the labels likeliest
    for the group to which they are least likely. Nothing is trained. Sources: Janus (arXiv 2405.17977), of
    which this is the prompt, and MCA (arXiv 2408.05094), with the reference as the adversary.
    """
    assert view.instructions is not None
    train, names = pairs_of(view.preferences["train"]), list(view.instructions)
    assert train.group is not None
    told = [InstructedPolicy(backbone.reference, said) for said in view.instructions.values()]
    gain = log_ratio_gains(told, backbone.reference, train)
    group = np.array([names.index(name) for name in train.group])
    weights = worst_off_weights(gain, group, options.contrast, strength_of(train))
    unknown = backbone.log_linear([backbone.reference, *told], [1 - weights.sum(), *weights])

    def adapt(context: pb.Context) -> pb.Policy:
        if context.instruction is None:
            return unknown
        return InstructedPolicy(ReferencePolicy(backbone.reference), context.instruction)

    found = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(names, weights, strict=True))
    return pb.Aligned(pb.Personal(unknown, adapt), notes=[f"weights of the instructions: {found}"])
