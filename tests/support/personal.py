"""Aligners of tests whose policies depend on whom they answer."""

import contextlib

import prefbench as pb
from prefbench import registry
from prefbench.learn.options import PPOOptions, RewardOptions
from prefbench.learn.simple_policies import ExtremeLengthPolicy, ReferencePolicy
from prefbench.learn.welfare import mean

TOLD: list[pb.Context] = []
"""Contexts that `length_by_votes` was told, in order."""


class OwnOptions(PPOOptions, RewardOptions):
    """Of a reward and of a policy."""


def own_reward(view, backbone, options: OwnOptions):
    """A reward of her own from each one's pairs, and its policy."""

    def adapt(context):
        if context.pairs is None:
            return ReferencePolicy(backbone.reference)
        reward = backbone.fit_reward(context.pairs, options, seed=view.seed, name="own")

        def rewards(prompts, responses):
            return reward.score(prompts, responses)[:, None]

        train = view.prompts
        return backbone.optimise(rewards, mean([1.0]), options, prompts=train, seed=view.seed, names=["own"])

    return pb.Personal(adapt(pb.Context()), adapt)


def length_by_votes(view, backbone, options: pb.NoOptions):
    """The longest or shortest of three responses, as most of a person's pairs prefer; else the reference."""
    reference = ReferencePolicy(backbone.reference)

    def adapt(context):
        TOLD.append(context)
        if context.pairs is None:
            return reference
        pairs = zip(context.pairs.chosen, context.pairs.rejected, strict=True)
        longer = sum(len(chosen) - len(rejected) for chosen, rejected in pairs) > 0
        return ExtremeLengthPolicy(backbone.reference, "longest" if longer else "shortest", 3)

    return pb.Personal(reference, adapt)


@contextlib.contextmanager
def personal(**sees):
    """These aligners, registered within the block; `sees` says of each what it sees, if not the pairs."""
    with registry.lent():
        for function in (own_reward, length_by_votes):
            pb.aligner(function.__name__, sees=sees.get(function.__name__, {"pairs"}))(function)
        yield
