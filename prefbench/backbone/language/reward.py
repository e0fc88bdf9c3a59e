"""Bradley-Terry reward models on a language model, by gradient descent on `learn.rewards.loss`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from prefbench.backbone.language.batches import Part
from prefbench.backbone.language.best import best_of
from prefbench.backbone.language.held_out import reward_score
from prefbench.backbone.language.networks import RewardModel
from prefbench.backbone.language.policies import LMReward
from prefbench.backbone.language.protocol import LanguageModel
from prefbench.backbone.language.robust import GroupAscent
from prefbench.backbone.language.training import PairBatches, Parts, State, minimise
from prefbench.learn.em import LINEAR_PRIOR_VARIANCE
from prefbench.learn.interface import Pairs, RewardRequest
from prefbench.learn.pairwise import DPO, labelled
from prefbench.learn.rewards import fit_linear, loss
from prefbench.learn.weighted import LEAST_SPREAD
from prefbench.work import LOOKS


def fit(backbone: LanguageModel, request: RewardRequest) -> LMReward:
    """Minimise `loss` over the pairs, from the reference with a fresh head or warm from a reward.

    With `group_step` the largest mean loss of a group (`robust.py`).
    """
    options, seed, name = request.options, request.seed, request.name
    model = backbone.new_reward(seed)
    if request.start is not None:
        assert isinstance(request.start, LMReward)
        model.load_state_dict(request.start.model.state_dict())
    if request.adapts or (request.start is None and backbone.reward_head == "fitted"):
        fit_head(backbone, model, request.pairs)
    order = PairBatches(
        backbone, request.pairs, options.reward_batch, options.reward_epochs, seed, "reward", name
    )

    rate = options.reward_learning_rate or backbone.reward_learning_rate
    if request.adapts:
        rate *= options.reward_group_rate
    state = State([model], rate, options.reward_weight_decay)
    robust = None
    if request.group_step is not None:
        robust = GroupAscent(request.pairs, order, request.group_step, state)
    each = labelled(DPO(1.0), request.pairs)  # Bradley-Terry's, pair by pair

    def margin_of(step: int, part: Part) -> torch.Tensor:
        scores: torch.Tensor = model(order.batch(step, part.rows))
        return scores[: len(part.rows)] - scores[len(part.rows) :]

    def losses_of(step: int, part: Part) -> torch.Tensor:
        losses = each.at(order.rows[step][part.rows])(margin_of(step, part))
        return part.weight * order.weights(step, part.rows) * losses

    def losses_at(step: int, parts: Parts) -> Iterator[torch.Tensor]:
        if robust is not None:
            yield from robust.losses(step, parts, losses_of)
            return
        for part in parts:
            margin = margin_of(step, part)
            weighed, strength = order.weights(step, part.rows), order.strength(step, part.rows)
            yield part.weight * loss(margin, len(order.rows[step]), weighed, strength)

    minimise(
        state,
        order.lengths,
        losses_at,
        len(order),
        backbone.limits.training,
        backbone.work,
        f"reward-{name}",
        best=best_of(
            state.parameters,
            reward_score(backbone, model, request),
            len(order),
            LOOKS * options.reward_epochs,
        ),
    )
    return LMReward(model, backbone)


@torch.no_grad()
def fit_head(backbone: LanguageModel, model: RewardModel, pairs: Pairs) -> None:
    """Fit a reward's head to pairs, its other weights as they are: logistic regression with a ridge penalty.

    The penalty is the usual one for the pairs, or where they have weights for as many as these are worth.
    """
    texts = [*pairs.chosen, *pairs.rejected]
    seen = backbone.measure([*pairs.prompts, *pairs.prompts], texts, model.inputs, backbone.width + 1)
    scale = np.maximum(seen.std(axis=0), LEAST_SPREAD)
    chosen, rejected = np.split(seen / scale, 2)
    weights = np.ones(len(pairs)) if pairs.weights is None else pairs.weights
    penalty = seen.shape[1] / LINEAR_PRIOR_VARIANCE * len(pairs) * (weights**2).sum() / weights.sum() ** 2
    theta = fit_linear(chosen - rejected, penalty, pairs.weights, pairs.strength) / scale
    model.head.weight.copy_(torch.from_numpy(theta[None, :-1]))
    model.head.bias.copy_(torch.from_numpy(theta[-1:]))
