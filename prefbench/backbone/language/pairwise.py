"""Direct preference optimisation of a language model: its weights follow the gradient of a pairwise loss.

The losses themselves are in `learn/pairwise.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from prefbench.backbone.language.batches import Part
from prefbench.backbone.language.best import best_of
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.held_out import pairwise_score
from prefbench.backbone.language.policies import LMPolicy
from prefbench.backbone.language.protocol import LanguageModel
from prefbench.backbone.language.training import PairBatches, Parts, State, minimise
from prefbench.learn.interface import PairwiseRequest
from prefbench.learn.pairwise import labelled
from prefbench.team import Once
from prefbench.work import LOOKS


def train(backbone: LanguageModel, request: PairwiseRequest) -> LMPolicy:
    """Minimise a pairwise loss from the reference policy; reference log-probabilities are computed once.

    With `group_step` the loss of a batch is sum_g a_g L_g with group weights a on the simplex that follow the
    losses, a_g <- a_g exp(step L_g) (GR-DPO, Ramesh et al. 2024, Algorithm 1). L_g is the batch's sum over
    group g times N / (N_g B): an unbiased estimate of the group's mean loss however small the group.
    """
    pairs, options, group_step = request.pairs, request.options, request.group_step
    reference = backbone.reference
    ratio = reference.logprob(pairs.prompts, pairs.chosen) - reference.logprob(pairs.prompts, pairs.rejected)
    model = backbone.trainable_copy(request.seed)
    order = PairBatches(backbone, pairs, options.batch, options.epochs, request.seed, "pairwise")
    state = State([model], options.learning_rate or backbone.policy_learning_rate)
    if group_step is not None:
        assert pairs.group is not None
        _, group, count = np.unique(pairs.group.astype(str), return_inverse=True, return_counts=True)
        scale = len(pairs) / count
        state.buffers["log_group_weights"] = torch.full((len(count),), -np.log(len(count)))
    loss, once = labelled(request.loss, pairs), Once()

    def losses_of(step: int, part: Part) -> torch.Tensor:
        batch, rows = order.batch(step, part.rows), order.rows[step][part.rows]
        each = logprobs(model, batch).sum(1)
        difference = each[: len(rows)] - each[len(rows) :]
        losses = loss.at(rows)(difference - torch.from_numpy(ratio[rows]).to(difference))
        return part.weight * order.weights(step, part.rows) * losses

    def plain(step: int, parts: Parts) -> Iterator[torch.Tensor]:
        for part in parts:
            yield losses_of(step, part).sum() / len(order.rows[step])

    def by_group(step: int, part: Part) -> torch.Tensor:
        losses, rows = losses_of(step, part), order.rows[step]
        index = torch.from_numpy(group[rows[part.rows]]).to(losses.device)
        each = torch.zeros(len(count)).to(losses).index_add(0, index, losses)
        return each * torch.from_numpy(scale).to(losses) / len(rows)

    def robust(step: int, parts: Parts) -> Iterator[torch.Tensor]:
        assert group_step is not None
        # The weights follow the whole batch's losses, so several parts are read twice.
        with torch.set_grad_enabled(len(parts) == 1):
            shares = [by_group(step, part) for part in parts]
        whole = once.sum(step, torch.stack(shares).sum(0).detach()).cpu()
        log_weights = state.buffers["log_group_weights"] + group_step * whole
        log_weights -= log_weights.logsumexp(0)
        for part, share in zip(parts, shares, strict=True):
            each = share if share.requires_grad else by_group(step, part)
            yield (log_weights.exp().to(each) * each).sum()
        state.buffers["log_group_weights"].copy_(log_weights)  # not before the last part has gone through

    minimise(
        state,
        order.lengths,
        plain if group_step is None else robust,
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
