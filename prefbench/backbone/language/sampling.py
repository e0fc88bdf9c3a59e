"""Sampling from a language model: temperature 1, no truncation, row i by row i of a table of uniform numbers.

The cumulative distribution is inverted at those, so the distribution sampled from is the one whose
log-probabilities are trained on, and a sample does not depend on how rows are batched.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from prefbench.backbone.language.batches import deal
from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.forward import reader
from prefbench.backbone.language.memory import Limit, attempt
from prefbench.backbone.language.tokens import Ids
from prefbench.team import team

STAY_SHARE = 1 / 8
"""Share of the rows of a batch that may have ended before those leave it."""
BLOCK_TOKENS = 256
"""Tokens of the vocabulary whose probabilities are summed together."""


@torch.no_grad()
def sample_tokens(
    model: Any,
    codec: Codec,
    prompts: Sequence[Ids],
    n: int,
    uniform: torch.Tensor,
    limit: Limit,
) -> list[Ids]:
    """`n` responses for each prompt, as token ids including the end token; every process gets all of them.

    Args:
        model: a transformers causal language model in evaluation mode.
        codec: says what ends a response and how long it may be.
        prompts: token ids.
        n: samples per prompt.
        uniform: [len(prompts) * n, response_tokens] numbers in [0, 1), one row per sample.
        limit: responses in a batch.
    """
    share = deal([len(prompt) for prompt in prompts])
    mine = uniform.view(len(prompts), n, uniform.shape[1])[torch.from_numpy(share.rows)].flatten(0, 1)
    drawn = _drawn_here(model, codec, [prompts[i] for i in share.rows], n, mine, limit)
    if team().size == 1:
        return drawn
    table = torch.zeros((len(share.rows), n, uniform.shape[1]), dtype=torch.long)
    for row, ids in zip(table.flatten(0, 1), drawn, strict=True):
        row[: len(ids)] = torch.tensor(ids) + 1  # zero is where a response has ended
    return [[i - 1 for i in row if i] for row in share.whole(table).flatten(0, 1).tolist()]


def _drawn_here(
    model: Any, codec: Codec, prompts: Sequence[Ids], n: int, uniform: torch.Tensor, limit: Limit
) -> list[Ids]:
    """The part of `sample_tokens` that one process computes."""
    results: list[Ids] = [[] for _ in range(len(prompts) * n)]
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    order = torch.tensor([i * n + j for i in by_length for j in range(n)], dtype=torch.long)
    while len(order):
        begun = -len(order) % n  # samples of the first prompt that are there already
        whole = limit.size // n * n
        rows = order[: whole if whole and not begun else min(limit.size, n - begun)]
        chosen = rows[:1] // n if len(rows) < n else rows[::n] // n
        drawn = attempt(
            partial(
                _decode,
                model,
                codec,
                [prompts[i] for i in chosen.tolist()],
                len(rows) // len(chosen),
                uniform[rows],
            )
        )
        if drawn is None:
            limit.halve(len(rows), len(rows))
            continue
        for row, ids in zip(rows.tolist(), drawn, strict=True):
            results[row] = ids
        order = order[len(rows) :]
    return results


def _decode(model: Any, codec: Codec, prompts: Sequence[Ids], n: int, uniform: torch.Tensor) -> list[Ids]:
    """A batch of `sample_tokens`.

    Each prompt is read once and its cache shared by its samples; rows that have ended leave the batch. Where
    other processes need a pass and this one does not, its last row goes on for nothing.
    """
    device = next(model.parameters()).device
    stops = torch.tensor(sorted(codec.stops), device=device)
    text = reader(model, prompts, n, codec.response_tokens, device)
    draws = uniform.to(device)
    drawn = torch.full(draws.shape, -1, dtype=torch.long, device=device)
    alive = torch.arange(len(draws), device=device)  # rows still in the batch
    going = torch.ones(len(draws), dtype=torch.bool, device=device)  # those of them that have not ended
    for t in range(codec.response_tokens):
        token = draw(text.logits, draws[alive, t])
        drawn[alive[going], t] = token[going]
        going &= ~torch.isin(token, stops)
        ended = len(going) - int(going.sum())
        if t + 1 == codec.response_tokens or not team().anybody(ended < len(going)):
            break
        # Leaving costs a copy of the cache, so rows leave in company.
        if ended > len(going) * STAY_SHARE:
            rows = torch.arange(1, device=device) if ended == len(going) else going.nonzero()[:, 0]
            alive, going, token = alive[rows], going[rows], token[rows]
            text.keep(rows)
        text.read(token)
    return [[i for i in ids if i >= 0] for ids in drawn.tolist()]


def draw(logits: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Tokens [rows] by inverting the cumulative distribution at numbers in [0, 1), float64 [rows].

    The sum over a large vocabulary is taken in two steps, over blocks of tokens and then inside one block, so
    that only the numbers that decide need float64.
    """
    rows, vocabulary = logits.shape
    width = min(BLOCK_TOKENS, vocabulary)
    each = functional.pad(logits.float().softmax(-1), (0, -vocabulary % width)).view(rows, -1, width)
    blocks = each.sum(-1, dtype=torch.float64).cumsum(-1)
    # Scaling by the last entry keeps a draw near 1 inside the vocabulary despite rounding.
    target = uniform[:, None] * blocks[:, -1:]
    block = torch.searchsorted(blocks, target, right=True).clamp_(max=blocks.shape[1] - 1)
    inside = each[torch.arange(rows, device=logits.device), block[:, 0]].double().cumsum(-1)
    left = target - blocks.gather(1, block) + inside[:, -1:]
    token = block * width + torch.searchsorted(inside, left, right=True).clamp_(max=width - 1)
    return token.clamp_(max=vocabulary - 1)[:, 0]
