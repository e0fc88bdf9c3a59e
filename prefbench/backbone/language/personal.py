"""P-DPO on a language model (arXiv 2402.05133): pairs are read with tokens that say whose they are.

The model, e_0 and what each e_u departs from it by (`soft_tokens.py`) minimise the mean over pairs of

    alpha l(D; e_u) + (1 - alpha) l(D; e_0)

with l a loss of the DPO family and D the pair's difference of log pi(y | e x) / pi_ref(y | x).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from prefbench.backbone.language.best import best_of
from prefbench.backbone.language.forward import logprobs
from prefbench.backbone.language.held_out import NOTHING_HELD_OUT
from prefbench.backbone.language.passes import inner_of
from prefbench.backbone.language.policies import LMPolicy
from prefbench.backbone.language.protocol import LanguageModel, Reference
from prefbench.backbone.language.soft_tokens import SoftTokenPolicy, SoftTokens, beyond_of, told
from prefbench.backbone.language.training import PairBatches, Parts, State, minimise
from prefbench.errors import UserError
from prefbench.learn.interface import Pairs, SoftTokensRequest
from prefbench.learn.pairwise import labelled
from prefbench.team import team
from prefbench.work import LOOKS

PolicyOf = Callable[[Any], LMPolicy]
"""A person's id to her policy; None, or an id that labelled nothing, to that of e_0."""


def fit(backbone: LanguageModel, request: SoftTokensRequest) -> PolicyOf:
    """Policies of the annotators of pairs, which share all weights but their tokens.

    Raises:
        UserError: the tokens leave no room for a prompt, the loss is of both log-ratios, or the model's
            weights are shared out to processes.
    """
    if getattr(request.loss, "ratios", False):
        raise UserError("soft tokens need a loss of the difference of log-ratios: give one such as DPO's.")
    if team().sharded:
        raise UserError(
            "soft tokens are not trained where processes share a model's weights: run without FSDP."
        )
    pairs, options, tokens = request.pairs, request.options, request.tokens
    assert pairs.user_id is not None
    place = {name: i for i, name in enumerate(np.unique(pairs.user_id).tolist(), start=1)}
    model = backbone.trainable_copy(request.seed)
    beyond, layer = beyond_of(model), inner_of(model).get_input_embeddings()
    soft = SoftTokens(layer, len(place), tokens, request.clusters, request.seed)

    def first(person: Any) -> int:
        return place.get(person, 0) * tokens

    def policy_of(person: Any) -> LMPolicy:
        start = first(person)
        reading = told(backbone, beyond.vocabulary + start, tokens)
        return SoftTokenPolicy(model, reading, beyond.rows[start : start + tokens])

    base, loss = _apart(backbone.reference, pairs), labelled(request.loss, pairs)
    shared = PairBatches(
        told(backbone, beyond.vocabulary, tokens),
        pairs,
        options.batch,
        options.epochs,
        request.seed,
        "pairwise",
    )
    own = copy.copy(shared)
    own.prompts = [
        [*(number + first(person) for number in ids[:tokens]), *ids[tokens:]]
        for person, ids in zip(pairs.user_id.tolist(), shared.prompts, strict=True)
    ]
    alpha = request.user_weight if tokens else 0.0
    views = [(weight, view) for weight, view in ((1 - alpha, shared), (alpha, own)) if weight]

    def losses_at(step: int, parts: Parts) -> Iterator[torch.Tensor]:
        for part in parts:
            rows = shared.rows[step][part.rows]
            for weight, view in views:
                beyond.rows = soft()
                each = logprobs(model, view.batch(step, part.rows)).sum(1)
                difference = each[: len(rows)] - each[len(rows) :]
                losses = loss.at(rows)(difference - torch.from_numpy(base[rows]).to(difference))
                counted = part.weight * shared.weights(step, part.rows) * losses
                yield weight * counted.sum() / len(shared.rows[step])

    @torch.no_grad()
    def settle() -> None:
        beyond.rows = soft()

    score = None
    if options.checkpoint == "best":
        score = _score(policy_of, settle, request, alpha, backbone.reference)
    state = State(
        [model, soft] if tokens else [model], options.learning_rate or backbone.policy_learning_rate
    )
    minimise(
        state,
        shared.lengths,
        losses_at,
        len(shared),
        backbone.limits.training,
        backbone.work,
        f"soft-tokens-{request.name}",
        max_grad_norm=options.max_grad_norm,
        best=best_of(state.parameters, score, len(shared), LOOKS * options.epochs),
    )
    model.requires_grad_(False)
    settle()
    return policy_of


def _apart(policy: LMPolicy | Reference, pairs: Pairs) -> np.ndarray:
    """Log-probability of the chosen responses less that of the rejected ones, [pairs]."""
    return np.asarray(
        policy.logprob(pairs.prompts, pairs.chosen) - policy.logprob(pairs.prompts, pairs.rejected)
    )


def _score(
    policy_of: PolicyOf,
    settle: Callable[[], None],
    request: SoftTokensRequest,
    alpha: float,
    reference: Reference,
) -> Callable[[], float]:
    """Minus what is minimised, of the held-out pairs, by the weights as they are when asked."""
    held_out = request.held_out
    if held_out is None or not len(held_out):
        raise UserError(NOTHING_HELD_OUT)
    assert held_out.user_id is not None
    base, loss = _apart(reference, held_out), labelled(request.loss, held_out)
    everybody = {None: np.arange(len(held_out))}
    each = {name: np.flatnonzero(held_out.user_id == name) for name in np.unique(held_out.user_id).tolist()}

    def mean_loss(readers: Mapping[Any, np.ndarray]) -> float:
        difference = -base
        for person, rows in readers.items():
            difference[rows] += _apart(policy_of(person), held_out[rows])
        losses = loss(torch.from_numpy(difference)).numpy()
        return float(np.average(losses, weights=held_out.weights))

    def score() -> float:
        settle()
        weighted = [(1 - alpha, everybody), (alpha, each)]
        return -sum(weight * mean_loss(readers) for weight, readers in weighted if weight)

    return score
