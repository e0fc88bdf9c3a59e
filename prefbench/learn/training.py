"""What the training loops share: batches, the optimisation loop, and resuming it exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from prefbench import seeds
from prefbench.errors import Diverged

if TYPE_CHECKING:
    from prefbench.backbone.base import Pairs
    from prefbench.backbone.causal_lm import CausalLM
    from prefbench.backbone.tokens import Batch
    from prefbench.store import Work


def bucketed_batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Index batches in random order whose members have similar lengths, so that little is padding.

    A shuffled order is cut into pools of sixteen batches, each pool is sorted by length and cut up.
    """
    order = rng.permutation(len(lengths))
    measured = np.asarray(lengths)
    batches: list[np.ndarray] = []
    for start in range(0, len(order), 16 * size):
        pool = order[start : start + 16 * size]
        pool = pool[np.argsort(measured[pool], kind="stable")]
        batches.extend(pool[i : i + size] for i in range(0, len(pool), size))
    return [batches[i] for i in rng.permutation(len(batches))]


def sorted_batches(lengths: Sequence[int], tokens: int) -> Iterator[np.ndarray]:
    """Index batches of similar length holding at most `tokens` tokens each, padding included."""
    order = np.argsort(np.asarray(lengths), kind="stable")[::-1]
    start = 0
    while start < len(order):
        size = max(1, tokens // max(1, lengths[order[start]]))
        yield order[start : start + size]
        start += size


def drawn_rows(pairs: Pairs, rng: np.random.Generator) -> np.ndarray:
    """The pairs of one epoch: each once, or as many drawn in proportion to the weights."""
    if pairs.weights is None:
        return np.arange(len(pairs))
    return rng.choice(len(pairs), size=len(pairs), p=pairs.weights / pairs.weights.sum())


class PairBatches:
    """Tokenised preference pairs in the order in which training takes them.

    Item `step` is a batch with the chosen responses in its first half and the rejected ones, of the
    same pairs, in its second; `rows[step]` says which pairs they are.
    """

    def __init__(
        self, backbone: CausalLM, pairs: Pairs, size: int, epochs: int, seed: int, *names: str
    ) -> None:
        codec = backbone.codec
        self.device = backbone.device
        self.prompts = codec.prompts(pairs.prompts)
        self.chosen, self.rejected = codec.responses(pairs.chosen), codec.responses(pairs.rejected)
        texts = zip(self.prompts, self.chosen, self.rejected, strict=True)
        lengths = [len(p) + max(len(a), len(b)) for p, a, b in texts]
        self.rows: list[np.ndarray] = []
        for epoch in range(epochs):
            rng = seeds.rng(seed, *names, epoch)
            drawn = drawn_rows(pairs, rng)
            cut = bucketed_batches([lengths[i] for i in drawn], size, rng)
            self.rows.extend(drawn[positions] for positions in cut)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, step: int) -> Batch:
        from prefbench.backbone.tokens import collate

        rows = self.rows[step]
        return collate(
            [self.prompts[i] for i in rows] * 2,
            [self.chosen[i] for i in rows] + [self.rejected[i] for i in rows],
            self.device,
        )


class State:
    """Trainable weights and their AdamW optimiser, as tensors that a checkpoint can hold."""

    def __init__(self, modules: Sequence[nn.Module], learning_rate: float, weight_decay: float = 0.0) -> None:
        named = chain.from_iterable(
            ((f"{i}.{name}", p) for name, p in module.named_parameters() if p.requires_grad)
            for i, module in enumerate(modules)
        )
        self.parameters = dict(named)
        self.buffers: dict[str, torch.Tensor] = {}
        """What a loss keeps from step to step, for checkpoints."""
        self.learning_rate = learning_rate
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=learning_rate, weight_decay=weight_decay
        )

    def step(self, loss: torch.Tensor, rate: float, max_grad_norm: float) -> float:
        """One clipped gradient step at `rate` times the peak learning rate; returns the loss.

        Raises:
            Diverged: the loss or its gradient is not finite. The weights are left as they were.
        """
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), max_grad_norm)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise Diverged(
                f"the loss is {value} and its gradient norm {float(norm)}: lower the learning rate."
            )
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * rate
        self.optimiser.step()
        return value

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that training has changed."""
        result: dict[str, torch.Tensor] = {f"weight.{name}": p for name, p in self.parameters.items()}
        for name, p in self.parameters.items():
            for key, value in self.optimiser.state[p].items():
                result[f"adam.{key}.{name}"] = value
        result |= {f"buffer.{name}": value for name, value in self.buffers.items()}
        return result

    @torch.no_grad()
    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put back what `tensors` returned."""
        for name, value in self.buffers.items():
            value.copy_(tensors[f"buffer.{name}"])
        for name, p in self.parameters.items():
            p.copy_(tensors[f"weight.{name}"])
            keys = ("step", "exp_avg", "exp_avg_sq")
            state = {key: tensors[f"adam.{key}.{name}"] for key in keys if f"adam.{key}.{name}" in tensors}
            self.optimiser.state[p] = {
                key: value if key == "step" else value.to(p.device) for key, value in state.items()
            }


def schedule(step: int, total: int, warmup: int) -> float:
    """Linear warm-up, then linear decay to a tenth, as a factor of the peak learning rate."""
    if step < warmup:
        return (step + 1) / warmup
    return 1.0 - 0.9 * (step - warmup) / max(1, total - warmup)


def minimise(
    state: State,
    loss_at: Callable[[int], torch.Tensor],
    steps: int,
    work: Work,
    name: str,
    *,
    max_grad_norm: float = 1.0,
) -> list[float]:
    """Take `steps` gradient steps on `loss_at(step)`, resuming from a checkpoint called `name`.

    `loss_at` must depend on the weights, the state's buffers and `step` alone: then a resumed run repeats a
    whole one.
    Returns the loss of every step.
    """
    losses: list[float] = []
    saved = work.load(name)
    if saved is not None:
        tensors, meta = saved
        state.restore(tensors)
        losses = list(meta["losses"])
    warmup = max(1, steps // 20)
    for step in range(len(losses), steps):
        losses.append(state.step(loss_at(step), schedule(step, steps, warmup), max_grad_norm))
        work.report(step + 1, steps, loss=float(np.mean(losses[-20:])))
        if work.due():
            work.save(name, state.tensors(), {"losses": losses})
    if saved is None or len(saved[1]["losses"]) < steps:
        # A stage may fit many models: what is finished must not be done again after a kill.
        work.save(name, state.tensors(), {"losses": losses})
    return losses


def trainable_state(module: nn.Module) -> dict[str, Any]:
    """The trainable weights of a module by name."""
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
