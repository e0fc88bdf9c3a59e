"""A code of what a person wants, read off her pairs by a small network, and a linear reward for each code.

    encoder   h_j = leaky(F [e(y_j+), e(y_j-)] + f);  h'_j the same with the two responses exchanged
              m = M mean_j (h_j - h'_j) / 2,  l = L mean_j (h_j + h'_j) / 2 + c,  both clamped to [-1, 1]
              q(z | C) = N(m, exp(l)),  z of a few numbers
    decoder   r(x, y; z) = phi(x, y) . (theta + B z)

fitted by stochastic gradients of -log sigmoid(r(y+; z) - r(y-; z)) of pairs outside the context and of
kl KL(q || N(0, 1)). Source: VPL (arXiv 2408.10075), on frozen features. That exchanging the responses of
every pair must give -m and l is of SPL (arXiv 2603.12595), where a loss asks for it; here the encoder cannot
do otherwise, and no pair gives m = 0. The attention over pairs, the decoder's hidden layer and the cyclic
weight of KL are left out. A label of strength Z is read as Z times as it is and 1 - Z times exchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prefbench import seeds
from prefbench.arrays import Floats, Ints

if TYPE_CHECKING:
    import torch

    from prefbench.learn.options import CodeOptions

HIDDEN = 32
"""Width of the encoder."""
LEAK = 0.2
ACTIVE = 0.01
"""Variance over people of a number of the code's mean above which it says something."""
Weights = Mapping[str, "torch.Tensor"]


@dataclass(frozen=True)
class Variational:
    """An encoder of pairs, and rewards by code."""

    weights: Weights
    """`first` [2 d, h], `bias` [h], `mean` and `log_variance` [h, z], `log_variance_bias` [z], `theta` [d],
    `directions` [d, z]."""
    shift: Floats
    """[d] mean of the features that are read."""
    scale: Floats
    """[d] their spread."""

    def code(self, chosen: Floats, rejected: Floats, strength: Floats | None = None) -> Floats:
        """The mean code of whoever labelled pairs with these features [pairs, d], [z]."""
        import torch

        sides = [torch.from_numpy((side - self.shift) / self.scale) for side in (chosen, rejected)]
        pool = torch.full((1, len(chosen)), 1 / max(len(chosen), 1), dtype=torch.float64)
        sure = _sureness(strength)
        return np.asarray(_encoded(self.weights, sides[0], sides[1], pool, sure)[0][0].numpy())

    def reward(self, code: Floats) -> Floats:
        """The weights of features in the reward of whoever has a code [z], [d]."""
        return np.asarray(self.weights["theta"].numpy() + self.weights["directions"].numpy() @ code)


def fit_variational(
    chosen: Floats,
    rejected: Floats,
    user: Ints,
    options: CodeOptions,
    *,
    ridge: float,
    seed: int,
    strength: Floats | None = None,
) -> Variational:
    """Encoder and rewards, in steps that each show other pairs of every person as her context.

    Args:
        chosen: [pairs, d] features of the chosen responses.
        rejected: [pairs, d] those of the rejected ones.
        user: [pairs] whose they are, from 0.
        options: the code and the fit. A context never has all pairs of a person.
        ridge: penalty of theta and of the directions, beside the summed losses of the pairs.
        seed: of the first weights, the contexts and the codes.
        strength: [pairs] of the labels; None where all are certain.
    """
    import torch
    from torch.nn.functional import softplus

    both = np.concatenate([chosen, rejected])
    shift, scale = both.mean(axis=0), np.maximum(both.std(axis=0), 1e-6)
    plus, minus = (torch.from_numpy((side - shift) / scale) for side in (chosen, rejected))
    x, owner, users = torch.from_numpy(chosen - rejected), torch.from_numpy(user), int(user.max()) + 1
    noise, rng = seeds.torch_generator(seed, "variational"), seeds.rng(seed, "variational", "contexts")
    weights = _first_weights(x.shape[1], options.latent, noise)
    optimiser = torch.optim.Adam(list(weights.values()), lr=options.code_learning_rate)
    sure = _sureness(strength)
    for _ in range(options.code_steps):
        pool, target = _contexts(user, users, options.code_pairs, rng)
        mean, log_variance = _encoded(weights, plus, minus, torch.from_numpy(pool), sure)
        drawn = torch.randn(mean.shape, generator=noise, dtype=torch.float64)
        z = mean + torch.exp(log_variance / 2) * drawn
        margin = x @ weights["theta"] + ((x @ weights["directions"]) * z[owner]).sum(dim=1)
        divergence = -(1 + log_variance - mean**2 - torch.exp(log_variance)).sum() / 2
        penalty = sum((weights[name] ** 2).sum() for name in ("theta", "directions")) / 2
        rest = torch.from_numpy(target)
        each = softplus(-margin)
        if strength is not None:
            each = each + (1 - torch.from_numpy(strength)) * margin  # softplus(m) = softplus(-m) + m
        loss = each[rest].mean() + (options.code_kl * divergence + ridge * penalty) / len(x)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return Variational({name: weight.detach() for name, weight in weights.items()}, shift, scale)


def active_units(codes: Floats) -> int:
    """Numbers of people's mean codes [people, z] that differ between them."""
    return int((codes.var(axis=0) > ACTIVE).sum())


def _sureness(strength: Floats | None) -> torch.Tensor | None:
    import torch

    return None if strength is None else torch.from_numpy(2 * strength - 1)[:, None]


def _encoded(
    weights: Weights,
    plus: torch.Tensor,
    minus: torch.Tensor,
    pool: torch.Tensor,
    sure: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and log-variances [contexts, z] of pairs [pairs, d] that `pool` [contexts, pairs] averages.

    `sure` [pairs, 1] is how much more a pair is read as it is labelled than exchanged; None reads as 1.
    """
    import torch
    from torch.nn.functional import leaky_relu

    def hidden(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return leaky_relu(torch.cat([first, second], dim=1) @ weights["first"] + weights["bias"], LEAK)

    as_labelled, exchanged = hidden(plus, minus), hidden(minus, plus)
    turned = as_labelled - exchanged if sure is None else sure * (as_labelled - exchanged)
    mean = pool @ turned / 2 @ weights["mean"]
    log_variance = (
        pool @ (as_labelled + exchanged) / 2 @ weights["log_variance"] + weights["log_variance_bias"]
    )
    return mean.clamp(-1, 1), log_variance.clamp(-1, 1)


def _first_weights(width: int, latent: int, noise: torch.Generator) -> dict[str, torch.Tensor]:
    """Small random weights, and a reward of zero that every number of the code may turn."""
    import torch

    def normal(*shape: int) -> torch.Tensor:
        drawn = torch.randn(shape, generator=noise, dtype=torch.float64)
        return drawn.div_(shape[0] ** 0.5).requires_grad_()

    def zeros(*shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.float64, requires_grad=True)

    return {
        "first": normal(2 * width, HIDDEN),
        "bias": zeros(HIDDEN),
        "mean": normal(HIDDEN, latent),
        "log_variance": normal(HIDDEN, latent),
        "log_variance_bias": zeros(latent),
        "theta": zeros(width),
        "directions": normal(width, latent),
    }


def _contexts(user: Ints, users: int, most: int, rng: np.random.Generator) -> tuple[Floats, np.ndarray]:
    """A context of each person's pairs, as averages [users, pairs], and the pairs in none of them [pairs]."""
    count = np.bincount(user, minlength=users)
    size = np.minimum(rng.integers(1, most + 1, size=users), count - 1)
    order = np.lexsort((rng.random(len(user)), user))
    place = np.empty(len(user), dtype=np.int64)
    place[order] = np.arange(len(user)) - np.repeat(np.cumsum(count) - count, count)
    shown = place < size[user]
    pool = np.zeros((users, len(user)))
    pool[user[shown], np.flatnonzero(shown)] = 1 / size[user[shown]]
    return pool, ~shown
