"""Training steps of several seeds in one pass of torch.func beside one seed after another.

    python benchmarks/stacked_seeds.py

A GPT-2 of nano's sizes with a reward's head takes the gradient of the Bradley-Terry loss of 32 pairs, each
seed with its own weights and pairs. Stacked, every operator works on all seeds at once, so that Python and
dispatch are paid once; attention is written out there, since torch has no batched kernel for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from setting import interleaved, ratio, seconds_of
from tabulate import tabulate
from torch.nn import functional as F

LAYERS, WIDTH, HEADS, VOCABULARY = 2, 64, 4, 1024
PAIRS, TOKENS = 32, 24
ROUNDS = 15

Weights = dict[str, torch.Tensor]
Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def weights(seed: int) -> Weights:
    """Weights of a model, in float32."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(seed))
    made = {"tokens": draw(VOCABULARY, WIDTH), "places": draw(TOKENS, WIDTH), "head": draw(WIDTH)}
    for layer in range(LAYERS):
        for name, size in (("qkv", 3 * WIDTH), ("out", WIDTH), ("up", 4 * WIDTH)):
            made[f"{layer}.{name}"] = draw(WIDTH, size)
        made[f"{layer}.down"] = draw(4 * WIDTH, WIDTH)
    return {name: (0.02 * value).requires_grad_() for name, value in made.items()}


def written_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Causal attention by products and a softmax."""
    later = torch.full((TOKENS, TOKENS), -math.inf).triu(1)
    return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + later, dim=-1) @ v


def loss(attend: Attention, model: Weights, tokens: torch.Tensor) -> torch.Tensor:
    """Bradley-Terry loss of pairs [2 * pairs, tokens], the preferred one first."""
    x = model["tokens"][tokens] + model["places"]
    for layer in range(LAYERS):
        mixed = F.layer_norm(x, (WIDTH,)) @ model[f"{layer}.qkv"]
        q, k, v = mixed.view(-1, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        x = x + attend(q, k, v).transpose(1, 2).reshape(x.shape) @ model[f"{layer}.out"]
        inner = F.gelu(F.layer_norm(x, (WIDTH,)) @ model[f"{layer}.up"], approximate="tanh")
        x = x + inner @ model[f"{layer}.down"]
    score = F.layer_norm(x, (WIDTH,)).mean(dim=1) @ model["head"]
    return -F.logsigmoid(score[::2] - score[1::2]).mean()


def main() -> None:
    """A row for each number of seeds."""
    torch.set_num_threads(1)
    flash = partial(F.scaled_dot_product_attention, is_causal=True)
    rows = []
    for seeds in (2, 4, 8):
        models = [weights(seed) for seed in range(seeds)]
        tokens = torch.randint(
            VOCABULARY, (seeds, 2 * PAIRS, TOKENS), generator=torch.Generator().manual_seed(0)
        )
        stack = {name: torch.stack([model[name].detach() for model in models]) for name in models[0]}
        together = torch.func.vmap(torch.func.grad(partial(loss, written_out)))

        def in_turn(models: list[Weights] = models, tokens: torch.Tensor = tokens) -> list[Weights]:
            return [
                dict(
                    zip(
                        model,
                        torch.autograd.grad(loss(flash, model, mine), list(model.values())),
                        strict=True,
                    )
                )
                for model, mine in zip(models, tokens, strict=True)
            ]

        stacked = partial(together, stack, tokens)
        found = stacked()
        for seed, each in enumerate(in_turn()):
            for name, gradient in each.items():
                torch.testing.assert_close(found[name][seed], gradient, atol=1e-6, rtol=1e-3)
        one, many = interleaved([partial(seconds_of, in_turn), partial(seconds_of, stacked)], ROUNDS)
        rows.append((seeds, 1e3 * median(one) / seeds, 1e3 * median(many) / seeds, ratio(one, many)))
    heads = ["seeds", "in turn, ms a step", "stacked, ms a step", "times faster"]
    print(tabulate(rows, heads, tablefmt="github", floatfmt=".2f"))


if __name__ == "__main__":
    main()
