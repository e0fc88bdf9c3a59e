"""NAME: say here in a sentence what the method does, and where it comes from.

prefbench check NAME.py
prefbench run --plugin NAME.py --task bandit_two_group --aligner NAME --set task.unseen_annotators=20
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

import prefbench as pb
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.pairwise import DPO
from prefbench.learn.rewards import pairs_of
from prefbench.search import Choice


class TITLESettings(PairwiseOptions):
    """DPO's options and one of its own."""

    # What `prefbench tune` draws the new option from; DPO's own are searched as DPO declares them.
    search = {"trust": Choice((0.5, 1.0, 2.0))}

    trust: float = Field(1.0, gt=0, le=4)
    """The likelihood of a person's pairs counts to this power: near 0 only the groups' shares do."""


# sees: what it is told of a person whom it answers: pairs, user_id, group or instruction. All else is None.
@pb.aligner("NAME", needs={"group"}, sees={"pairs"})
def NAME(view: pb.View, backbone: pb.Backbone, options: TITLESettings) -> pb.Personal:
    """DPO for each group, and for each person their product by how likely her pairs make each group."""
    pairs = pairs_of(view.preferences["train"])
    assert pairs.group is not None  # it was declared, so it is there
    loss = DPO.of(options, backbone)
    everybody = backbone.fit_pairwise(pairs, loss, options, seed=view.seed)
    names, group, count = np.unique(pairs.group, return_inverse=True, return_counts=True)
    experts = [
        backbone.fit_pairwise(
            pairs[np.flatnonzero(group == i)], loss, options, seed=view.seed, name=f"of-{i}"
        )
        for i in range(len(names))
    ]

    def explained(policy: pb.Policy, shown: pb.Pairs) -> float:
        """Log-likelihood of pairs under the implicit reward of a policy, beta log pi / pi_ref."""
        margin = np.zeros(len(shown))
        for sign, responses in ((1, shown.chosen), (-1, shown.rejected)):
            ours, theirs = (each.logprob(shown.prompts, responses) for each in (policy, backbone.reference))
            assert ours is not None and theirs is not None
            margin += sign * loss.beta * (ours - theirs)
        return float(-np.logaddexp(0, -margin).sum())

    def adapt(context: pb.Context) -> pb.Policy:
        """The policy for a person; for an empty context it must be the default."""
        if context.pairs is None:
            return everybody
        likelihood = np.array([explained(policy, context.pairs) for policy in experts])
        told = np.log(count / count.sum()) + options.trust * likelihood
        return backbone.log_linear(experts, np.exp(told - np.logaddexp.reduce(told)).tolist())

    return pb.Personal(default=everybody, adapt=adapt)
