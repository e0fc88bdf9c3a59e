"""A world as a language model with one-token responses, for the very PPO of `backbone/language/ppo.py`.

It is there to check the optimiser: what it approaches by sampling, `learn/exact.py` has in closed form.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from prefbench.backbone.language import ppo
from prefbench.backbone.language.memory import Limits

if TYPE_CHECKING:
    from prefbench.arrays import Floats
    from prefbench.backbone.options import FiniteOptions
    from prefbench.learn.interface import OptimiseRequest
    from prefbench.problem.world import World
    from prefbench.store.stages import Work


class ResponseTable(nn.Module):
    """Logits log pi_ref + theta . psi, or log pi_ref and a parameter for each state and response."""

    def __init__(self, world: World, kind: str) -> None:
        super().__init__()
        self.anchor = torch.from_numpy(np.log(world.reference))
        self.features = torch.from_numpy(world.features)
        shape = world.features.shape[2:] if kind == "linear" else world.reference.shape
        self.theta = nn.Parameter(torch.zeros(shape, dtype=torch.float64))

    def table(self) -> torch.Tensor:
        """log pi(y | x), [S, R]."""
        moved = self.features @ self.theta if self.theta.ndim == 1 else self.theta
        return (self.anchor + moved).log_softmax(-1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [rows, length, R] of states that are one-hot, [rows, length, S]."""
        return self.table()[hidden.argmax(-1)]


class OneToken(nn.Module):
    """A language model whose output layer is a table of responses.

    A prompt is one token, its state; a response is one token, its number. The value function has a parameter
    for each state.
    """

    def __init__(self, world: World, kind: str) -> None:
        super().__init__()
        self.states = len(world.reference)
        self.output = ResponseTable(world, kind)

    def get_output_embeddings(self) -> nn.Module:
        """The output layer, by transformers' name for it."""
        return self.output

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **ignored: Any) -> Any:
        """Logits [rows, length, R], at every position those of the prompt's state."""
        first = attention_mask.argmax(dim=1)
        state = input_ids[torch.arange(len(input_ids)), first]
        wide = input_ids.shape[1]
        hidden = nn.functional.one_hot(state, self.states).double()[:, None].expand(-1, wide, -1)
        return SimpleNamespace(logits=self.output(hidden), past_key_values=None)


@dataclass(frozen=True)
class _StateCodec:
    """States and response numbers as tokens."""

    world: World
    response_tokens: int = 1
    stops: frozenset[int] = frozenset()

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        return [[row] for row in self.world.rows(texts).tolist()]

    def decode(self, responses: Sequence[Sequence[int]]) -> list[str]:
        return [str(response[0]) for response in responses]


def train(
    world: World, rewards: Floats, request: OptimiseRequest, model_options: FiniteOptions, work: Work
) -> Floats:
    """PPO on samples of a world.

    Args:
        world: what is sampled from.
        rewards: [S, R, G] of every response, in place of the request's.
        request: see `OptimiseRequest`.
        model_options: the kind of policy and its learning rate.
        work: where progress and checkpoints go.

    Returns:
        log pi(y | x) of the trained policy, [S, R].
    """
    model = OneToken(world, model_options.policy).requires_grad_(False)

    def looked_up(asked: Sequence[str], numbers: Sequence[str]) -> Floats:
        return np.asarray(rewards[world.rows(asked), [int(number) for number in numbers]])

    disguised: Any = SimpleNamespace(
        codec=_StateCodec(world),
        work=work,
        reference=SimpleNamespace(model=model),
        width=len(world.responses),
        device=torch.device("cpu"),
        limits=Limits.of(work.reporter.note, train_tokens=1 << 20, tokens=1 << 20),
        policy_learning_rate=model_options.policy_learning_rate,
        kl_coefficient=world.beta,
        trainable_copy=lambda seed: copy.deepcopy(model).requires_grad_(True),
    )
    trained = ppo.train(disguised, replace(request, rewards=looked_up))
    return np.asarray(trained.model.output.table().numpy())
