"""Shares of a batch and parts of a model for each of several processes (`prefbench.team`).

With FSDP2 the frozen weights under the adapters are cut up over the processes. A pass through the model is
then something that all do at once, so everybody makes as many passes as everybody else; those that count
for nothing are parts of weight 0.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.team import Team, team

if TYPE_CHECKING:
    import torch

    from prefbench.backbone.language.memory import Limit


@dataclass(frozen=True)
class Part:
    """Rows of a batch that go through a model at once."""

    rows: np.ndarray
    """Their positions in the batch."""
    weight: float = 1.0
    """0 for a pass that only keeps step with other processes: nothing that comes of it counts."""


@dataclass(frozen=True)
class Share:
    """Rows of a table that one process computes.

    Every process has as many places as every other. The last one of some holds a row that is computed by
    another process too, and is not counted.
    """

    team: Team
    rows: np.ndarray
    """The row at each place."""
    lengths: Sequence[int]
    """At each place the tokens of the longest row that any process has there, so that all cut alike."""
    own: int
    """Number of places that count."""
    total: int
    """Rows of the whole table."""

    def parts(self, limit: Limit) -> list[Part]:
        """These rows in parts within a limit; as many as the others have, under the same limit."""
        result = []
        for places in limit.split(self.lengths):
            counted = places[places < self.own]
            result.append(
                Part(self.rows[counted]) if len(counted) else Part(self.rows[places[:1]], weight=0.0)
            )
        return result

    def whole(self, values: torch.Tensor) -> torch.Tensor:
        """The whole table [total, ...] from the values [places, ...] of every process."""
        if self.team.size == 1:
            return values
        result = values.new_zeros((self.total, *values.shape[1:]))
        result[self.rows[: self.own]] = values[: self.own]
        return self.team.sum(result)


def deal(lengths: Sequence[int]) -> Share:
    """This process's share of rows that have so many tokens: as many long and short ones as anyone's."""
    ours, total = team(), len(lengths)
    if ours.size == 1:
        return Share(ours, np.arange(total), lengths, total, total)
    order = np.argsort(np.asarray(lengths), kind="stable")[::-1]
    own, longest = order[ours.rank :: ours.size], order[:: ours.size]
    rows = np.concatenate([own, order[-1:]])[: len(longest)]
    return Share(ours, rows, [lengths[i] for i in longest], len(own), total)


# ----------------------------------------------------------------------------------------------- FSDP2


def shard(model: Any) -> Any:
    """Cut up the weights of a frozen causal language model over the processes, in place.

    Each keeps a part of every weight, and gathers those of a block while that block is at work. Adapters and
    heads are no part of the model: they stay whole everywhere.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    device = team().device
    assert device is not None
    model.eval().requires_grad_(False)
    # It warns of changing outputs in place, which nobody does.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    # A tied embedding belongs to the first layer and to the last: it stays whole.
    embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    tied = {embedding} if embedding is output else set()
    mesh = init_device_mesh(device.type, (team().size,))
    cut = partial(fully_shard, mesh=mesh, reshard_after_forward=True, ignored_params=tied)
    for block in [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]:
        cut(block)
    cut(model.base_model)  # rewards run it by itself
    cut(model)
    _show_last_state(model)
    for weight in tied:
        weight.data = weight.data.to(device)
    # FSDP takes what it first sees running for the whole: it must not be a reward's part of the model.
    with torch.no_grad():
        one = torch.ones((1, 1), dtype=torch.long, device=device)
        model(input_ids=one, attention_mask=one, use_cache=False)
    return model


def _show_last_state(model: Any) -> None:
    """Have a cut-up model return its last hidden state where states are asked for.

    Transformers looks for them by the names of classes, which FSDP changes.
    """
    seen: list[torch.Tensor] = []

    def look(layer: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[:] = inputs[:1]

    def give(model: Any, inputs: Any, options: dict[str, Any], output: Any) -> None:
        if options.get("output_hidden_states"):
            output.hidden_states = tuple(seen)
        seen.clear()

    model.get_output_embeddings().register_forward_pre_hook(look)
    model.register_forward_hook(give, with_kwargs=True)
