"""The requests that an aligner makes of a backbone: their fields are the arguments, written once."""

import dataclasses
import inspect

import numpy as np
import pytest

from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.language.backbone import CausalLM
from prefbench.errors import UserError
from prefbench.learn.interface import (
    Backbone,
    ExpectationRequest,
    OptimiseRequest,
    Pairs,
    PairwiseRequest,
    RewardRequest,
    Rewards,
    called_with,
)
from prefbench.learn.options import PPOOptions
from prefbench.learn.welfare import mean

REQUESTS = {
    "fit_reward": RewardRequest,
    "optimise": OptimiseRequest,
    "fit_pairwise": PairwiseRequest,
    "expect": ExpectationRequest,
}


@pytest.mark.parametrize("kind", [Backbone, Finite, CausalLM])
@pytest.mark.parametrize("method", REQUESTS)
def test_a_backbone_is_called_with_the_fields_of_the_request(method, kind):
    _, *given = inspect.signature(getattr(kind, method)).parameters.values()
    assert given == list(inspect.signature(REQUESTS[method]).parameters.values())
    assert getattr(kind, method).__doc__


def test_a_method_gets_the_request_itself():
    class Echo:
        @called_with(PairwiseRequest)
        def fit_pairwise(self, request: PairwiseRequest) -> PairwiseRequest:
            """The request."""
            return request

    pairs = Pairs(["p"], ["a"], ["b"])
    made = Echo().fit_pairwise(pairs, abs, "options", seed=3, name="mine")
    assert made == PairwiseRequest(pairs, abs, "options", seed=3, name="mine")
    assert made.group_step is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 4
    with pytest.raises(TypeError, match="seed"):
        Echo().fit_pairwise(pairs, abs, "options")


def test_rewards_bring_their_names_and_a_function_is_given_them():
    common = {"prompts": ["p"], "seed": 0}
    rewards = Rewards([], ["one", "two"], np.zeros(2), np.ones(2))
    assert OptimiseRequest(rewards, mean(), PPOOptions(), **common).names == ("one", "two")
    assert OptimiseRequest(rewards, mean(), PPOOptions(), names=["x", "y"], **common).names == ["x", "y"]
    with pytest.raises(UserError, match="names="):
        OptimiseRequest(lambda p, r: np.zeros((1, 1)), mean(), PPOOptions(), **common)
