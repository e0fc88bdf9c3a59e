"""Direct preference optimisation of a language model: its weights follow the gradient of a pairwise loss.

The losses themselves are in `learn/pairwise.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from prefbench.backbone.language.batches import Part
from prefbench.backbone.language.best import best_of
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.held_out import pairwise_score
from prefbench.backbone.language.policies import LMPolicy
from prefbench.backbone.language.protocol import LanguageModel
from prefbench.backbone.language.robust import GroupAscent
from prefbench.backbone.language.training import PairBatches, Parts, State, minimise
from prefbench.learn.interface import PairwiseRequest
from prefbench.learn.pairwise import labelled
from prefbench.work import LOOKS


def train(backbone: LanguageModel, request: PairwiseRequest) -> LMPolicy:
    """Minimise a pairwise loss from the reference policy; reference log-probabilities are computed once.

    With `group_step` the largest mean loss of a group (`robust.py`).
    """
    pairs, options, group_step = request.pairs, request.options, request.group_step
    reference = backbone.reference
    ratio = reference.logprob(pairs.prompts, pairs.chosen) - reference.logprob(pairs.prompts, pairs.rejected)
    model = backbone.trainable_copy(request.seed)
    order = PairBatches(backbone, pairs, options.batch, options.epochs, request.seed, "pairwise")
    state = State([model], options.learning_rate or backbone.policy_learning_rate)
    robust = None if group_step is None else GroupAscent(pairs, order, group_step, state)
    loss = labelled(request.loss, pairs)

    def losses_of(step: int, part: Part) -> torch.Tensor:
        batch, rows = order.batch(step, part.rows), order.rows[step][part.rows]
        each = logprobs(model, batch).sum(1)
        difference = each[: len(rows)] - each[len(rows) :]
        losses = loss.at(rows)(difference - torch.from_numpy(ratio[rows]).to(difference))
        return part.weight * order.weights(step, part.rows) * losses

    def losses_at(step: int, parts: Parts) -> Iterator[torch.Tensor]:
        if robust is not None:
            yield from robust.losses(step, parts, losses_of)
            return
        for part in parts:
            yield losses_of(step, part).sum() / len(order.rows[step])

    minimise(
        state,
        order.lengths,
        losses_at,
        len(order),
        backbone.limits.training,
        backbone.work,
        f"pairwise-{request.name}",
        max_grad_norm=options.max_grad_norm,
        best=best_of(
            state.parameters, pairwise_score(backbone, model, request), len(order), LOOKS * options.epochs
        ),
    )
    return LMPolicy(model.requires_grad_(False), backbone)
