"""The policy for a low value of rewards that are distributions over people: mu - c SD of each response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from prefbench.arrays import Floats
from prefbench.learn.interface import Aligned, Backbone, Pairs
from prefbench.learn.one_policy import policy_for
from prefbench.learn.options import SpreadOptions
from prefbench.learn.weighted import LEAST_SPREAD, Experts

if TYPE_CHECKING:
    from prefbench.problem.view import View


class Spread(Protocol):
    """A distribution over people of each response's reward, read off its features."""

    def mean(self, features: Floats) -> Floats:
        """Mean over people of responses with these features [n, d], [n]."""

    def spread(self, features: Floats) -> Floats:
        """Standard deviation over people, [n]."""

    def explained(self, features: Floats) -> float:
        """Share of the variance that lies between responses."""


def low(found: Spread, features: Floats, caution: float) -> Floats:
    """mu - c SD of responses with these features [n, d], [n]."""
    return found.mean(features) - caution * found.spread(features)


def cautious(
    view: View,
    backbone: Backbone,
    experts: Experts,
    found: Spread,
    said: Floats,
    options: SpreadOptions,
    held_out: Pairs,
) -> Aligned:
    """The optimum of mu - c SD for everybody, with r^2 in its notes.

    The reward is centred and in units of its own spread over the responses in the pairs, as others are.

    Args:
        view: prompts and seed.
        backbone: gives the policy.
        experts: features of responses.
        found: distribution that is read off them.
        said: [n, d] features of the responses in the train pairs.
        options: c and those of PPO.
        held_out: pairs that choose between the policies of its training, if the options let them.
    """
    raw = low(found, said, options.caution)
    shift, scale = float(raw.mean()), max(float(raw.std()), LEAST_SPREAD)

    def reward(prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        return (low(found, experts(prompts, responses), options.caution)[:, None] - shift) / scale

    policy = policy_for(view, backbone, reward, options, held_out)
    between = f"{found.explained(said):.2f} of the variance of rewards lies between responses (r^2)"
    return Aligned(policy, notes=[f"{between}, the rest between people, with what is noise of their labels"])
