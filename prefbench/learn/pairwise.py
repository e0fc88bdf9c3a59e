"""Direct preference optimisation: a policy fitted to pairs through its implicit reward.

With h(y) = log pi(y|x) / pi_ref(y|x), the implicit reward is beta h and a loss is a function of the
difference D = h(y+) - h(y-). Log-probabilities are sums over response tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from prefbench.backbone.base import Pairs
from prefbench.learn.options import PairwiseOptions
from prefbench.learn.training import PairBatches, State, minimise

if TYPE_CHECKING:
    from prefbench.backbone.causal_lm import CausalLM, LMPolicy

PairwiseLoss = Callable[[torch.Tensor], torch.Tensor]
"""Difference D of log-ratios [pairs] to losses [pairs]."""


def dpo_loss(difference: torch.Tensor, beta: float, label_smoothing: float = 0.0) -> torch.Tensor:
    """-(1 - e) log sigmoid(beta D) - e log sigmoid(-beta D), [pairs].

    Source: DPO (Rafailov et al. 2023, eq. 7); with e > 0 conservative DPO.
    """
    margin = beta * difference
    kept = -functional.logsigmoid(margin) * (1 - label_smoothing)
    return kept - functional.logsigmoid(-margin) * label_smoothing


def train(
    backbone: CausalLM, pairs: Pairs, loss: PairwiseLoss, options: PairwiseOptions, *, seed: int
) -> LMPolicy:
    """Minimise a pairwise loss from the reference policy; reference log-probabilities are computed once."""
    from prefbench.backbone.causal_lm import LMPolicy, call, token_logprobs

    reference = backbone.reference
    ratio = reference.logprob(pairs.prompts, pairs.chosen) - reference.logprob(pairs.prompts, pairs.rejected)
    model = backbone.trainable_copy(seed)
    order = PairBatches(backbone, pairs, options.batch, options.epochs, seed, "pairwise")

    def loss_at(step: int) -> torch.Tensor:
        batch = order[step]
        logprobs = token_logprobs(call(model, batch.inputs, use_cache=False).logits, batch).sum(1)
        difference = logprobs[: len(logprobs) // 2] - logprobs[len(logprobs) // 2 :]
        return loss(difference - torch.from_numpy(ratio[order.rows[step]]).to(difference)).mean()

    state = State([model], options.learning_rate or backbone.policy_learning_rate)
    minimise(state, loss_at, len(order), backbone.work, "pairwise", max_grad_norm=options.max_grad_norm)
    return LMPolicy(model.requires_grad_(False), backbone)
