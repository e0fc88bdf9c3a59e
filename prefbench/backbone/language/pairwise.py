"""Direct preference optimisation of a language model: its weights follow the gradient of a pairwise loss.

The losses themselves are in `learn/pairwise.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from prefbench.backbone.language.batches import Part
from prefbench.backbone.language.best import best_of
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.held_out import both_sides, pairwise_score
from prefbench.backbone.language.policies import LMPolicy
from prefbench.backbone.language.protocol import LanguageModel
from prefbench.backbone.language.robust import GroupAscent
from prefbench.backbone.language.training import PairBatches, Parts, State, after, minimise
from prefbench.learn.interface import Pairs, PairwiseRequest
from prefbench.learn.pairwise import labelled
from prefbench.team import Once
from prefbench.work import LOOKS


def train(backbone: LanguageModel, request: PairwiseRequest) -> LMPolicy:
    """Minimise a pairwise loss from the reference policy; reference log-probabilities are computed once.

    With `group_step` the largest mean loss of a group (`robust.py`).
    """
    pairs, options, group_step = request.pairs, request.options, request.group_step
    base = both_sides(backbone.reference, pairs)
    model = backbone.trainable_copy(request.seed)
    order = PairBatches(backbone, pairs, options.batch, options.epochs, request.seed, "pairwise")
    state = State([model], options.learning_rate or backbone.policy_learning_rate)
    robust = None if group_step is None else GroupAscent(pairs, order, group_step, state)
    loss = labelled(request.loss, pairs)
    drift = Drift(backbone, model, pairs, order) if loss.divergence else None

    def losses_of(step: int, part: Part, kl: torch.Tensor | None) -> torch.Tensor:
        batch, rows = order.batch(step, part.rows), order.rows[step][part.rows]
        each = logprobs(model, batch).sum(1).reshape(2, -1)
        known = base[:, rows]
        if loss.ratios:
            losses = loss.at(rows)(each - torch.from_numpy(known).to(each), kl)
        else:
            losses = loss.at(rows)(each[0] - each[1] - torch.from_numpy(known[0] - known[1]).to(each))
        return part.weight * order.weights(step, part.rows) * losses

    def losses_at(step: int, parts: Parts) -> Iterator[torch.Tensor]:
        kl = None if drift is None else drift.divergence(step, parts)
        if robust is not None:
            yield from robust.losses(step, parts, partial(losses_of, kl=kl))
            return
        for part in parts:
            yield losses_of(step, part, kl).sum() / len(order.rows[step])

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


class Drift:
    """The divergence of what is trained from the reference, estimated on each batch's mismatched responses.

    It is the mean of log pi / pi_ref over the batch's responses to the prompts after theirs, nought where
    that is negative (KTO, Ethayarajh et al. 2024, arXiv 2402.01306). The responses are no samples of the
    policy, so the estimate is biased; the batch has no others.
    """

    def __init__(self, backbone: LanguageModel, model: nn.Module, pairs: Pairs, order: PairBatches) -> None:
        asked = [pairs.prompts[i] for rows in order.rows for i in after(rows)]
        rows = np.concatenate(order.rows)
        known = both_sides(backbone.reference, replace(pairs[rows], prompts=asked))
        ends = np.cumsum([len(rows) for rows in order.rows])[:-1]
        self.reference = np.split(known, ends, axis=1)
        self.model, self.order, self.once = model, order, Once()

    @torch.no_grad()
    def divergence(self, step: int, parts: Parts) -> torch.Tensor:
        """The estimate of a step, nats, from the parts of every process."""
        total = []
        for part in parts:
            each = logprobs(self.model, self.order.batch(step, part.rows, mismatched=True)).sum(1)
            known = torch.from_numpy(self.reference[step][:, part.rows].ravel()).to(each)
            total.append(part.weight * (each - known).sum())
        whole = self.once.sum(step, torch.stack(total).sum())
        return (whole / (2 * len(self.order.rows[step]))).clamp(min=0)
