"""Scores of what is being trained by pairs that were held out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from prefbench.backbone.language.policies import LMPolicy, LMReward
from prefbench.errors import UserError
from prefbench.learn.pairwise import labelled
from prefbench.learn.rewards import log_likelihood, scores_of

if TYPE_CHECKING:
    from torch import nn

    from prefbench.backbone.language.networks import RewardModel
    from prefbench.backbone.language.protocol import LanguageModel, Reference
    from prefbench.learn.interface import OptimiseRequest, Pairs, PairwiseRequest, RewardRequest

NOTHING_HELD_OUT = (
    "aligner.checkpoint=best needs validation pairs, and there are none: set aligner.checkpoint=last."
)


def reward_score(
    backbone: LanguageModel, model: RewardModel, request: RewardRequest
) -> Callable[[], float] | None:
    """Mean log-likelihood of the held-out pairs under a reward model, nats; None where the last is kept.

    Of the group that has the smallest where groups are weighed.
    """
    held_out = request.held_out
    if request.options.reward_checkpoint == "last" or held_out is None or not len(held_out):
        return None

    def score() -> float:
        chosen, rejected = scores_of(LMReward(model, backbone), held_out)
        each = log_likelihood(chosen - rejected, held_out.strength)
        if request.group_step is None:
            return float(np.average(each, weights=held_out.weights))
        return min(_means(each, held_out))

    return score


def pairwise_score(
    backbone: LanguageModel, model: nn.Module, request: PairwiseRequest
) -> Callable[[], float] | None:
    """Minus the loss of the held-out pairs, of the group that has the largest where groups are weighed."""
    held_out = request.held_out
    if request.options.checkpoint == "last":
        return None
    if held_out is None or not len(held_out):
        raise UserError(NOTHING_HELD_OUT)
    loss = labelled(request.loss, held_out)
    given = (_log_ratios if loss.ratios else _log_ratio_differences)(backbone, model, held_out)
    mismatched = replace(held_out, prompts=[*held_out.prompts[1:], *held_out.prompts[:1]])
    elsewhere = _log_ratios(backbone, model, mismatched) if loss.divergence else None

    def score() -> float:
        kl = None if elsewhere is None else max(0.0, float(elsewhere().mean()))
        losses = loss(torch.from_numpy(given()), kl).numpy()
        if request.group_step is None:
            return -float(np.average(losses, weights=held_out.weights))
        return -max(_means(losses, held_out))

    return score


def _means(values: np.ndarray, pairs: Pairs) -> list[float]:
    """Mean over each group's pairs of one value each."""
    assert pairs.group is not None
    group = pairs.group.astype(str)
    return [float(values[group == name].mean()) for name in np.unique(group)]


def ppo_score(
    backbone: LanguageModel, model: nn.Module, request: OptimiseRequest
) -> Callable[[], float] | None:
    """The least share of held-out pairs that a policy wins, over the rewards' pairs; None for the last.

    Both responses of a pair are draws of the reference. A policy that may only weigh these two anew,
    each by pi / pi_ref, answers with the chosen one with chance sigmoid(D), D the pair's difference of
    log-ratios; with the strength of a label that is not certain it wins Z or 1 - Z. The reference has 0.5.
    """
    if request.options.checkpoint == "last":
        return None
    sets = [pairs for pairs in request.held_out if len(pairs)]
    if not sets:
        raise UserError(NOTHING_HELD_OUT)
    differences = [_log_ratio_differences(backbone, model, pairs) for pairs in sets]

    def as_labelled(difference: np.ndarray, pairs: Pairs) -> np.ndarray:
        chance, z = np.exp(log_likelihood(difference)), pairs.strength
        return np.asarray(chance if z is None else z * chance + (1 - z) * (1 - chance))

    def score() -> float:
        shares = [
            np.average(as_labelled(difference(), pairs), weights=pairs.weights)
            for difference, pairs in zip(differences, sets, strict=True)
        ]
        return float(min(shares))

    return score


def _log_ratio_differences(
    backbone: LanguageModel, model: nn.Module, pairs: Pairs
) -> Callable[[], np.ndarray]:
    """Differences of log pi / pi_ref between chosen and rejected, [pairs], of a model as it is when asked."""

    def apart(policy: Reference) -> np.ndarray:
        chosen, rejected = both_sides(policy, pairs)
        return np.asarray(chosen - rejected)

    reference = apart(backbone.reference)
    return lambda: apart(LMPolicy(model, backbone)) - reference


def _log_ratios(backbone: LanguageModel, model: nn.Module, pairs: Pairs) -> Callable[[], np.ndarray]:
    """log pi / pi_ref of the chosen and of the rejected responses, [2, pairs], of a model as when asked."""
    reference = both_sides(backbone.reference, pairs)
    return lambda: both_sides(LMPolicy(model, backbone), pairs) - reference


def both_sides(policy: Reference, pairs: Pairs) -> np.ndarray:
    """Log-probabilities of the chosen and of the rejected responses, [2, pairs]."""
    chosen = policy.logprob(pairs.prompts, pairs.chosen)
    return np.stack([chosen, policy.logprob(pairs.prompts, pairs.rejected)])
