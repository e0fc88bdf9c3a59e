"""Parts that the training loops share: batches, the optimisation loop, and resuming it exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from prefbench import seeds
from prefbench.backbone.language.batches import Part, deal
from prefbench.backbone.language.best import Best, best_of
from prefbench.backbone.language.memory import Limit, attempt, is_out_of_memory
from prefbench.backbone.language.protocol import LanguageModel
from prefbench.backbone.language.tokens import Batch, collate
from prefbench.errors import Diverged, PrefbenchError
from prefbench.team import team

if TYPE_CHECKING:
    from prefbench.learn.interface import Pairs
    from prefbench.store.stages import Work

Parts = Sequence[Part]
"""A batch, or what one of several processes takes of it, cut up."""


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


NEGLIGIBLE = 1e-3
"""Weight, relative to the largest, under which a pair is left out of training."""


def weighed_rows(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """The pairs that one epoch goes through, once each, and the weights of their losses, 1 on average.

    Drawn in proportion to its weight instead, a small group's pair would come up ten times an epoch and be
    learned by heart.
    """
    if pairs.weights is None:
        return np.arange(len(pairs)), np.ones(len(pairs))
    rows = np.flatnonzero(pairs.weights > NEGLIGIBLE * pairs.weights.max())
    kept = pairs.weights[rows]
    return rows, kept / kept.mean()


class PairBatches:
    """Tokenised preference pairs in the order in which training takes them.

    `rows[step]` says which pairs a step takes. A batch has the chosen responses in its first half and the
    rejected ones, of the same pairs, in its second.
    """

    def __init__(
        self, backbone: LanguageModel, pairs: Pairs, size: int, epochs: int, seed: int, *names: str
    ) -> None:
        codec = backbone.codec
        self.device = backbone.device
        self.prompts = codec.prompts(pairs.prompts)
        self.chosen, self.rejected = codec.responses(pairs.chosen), codec.responses(pairs.rejected)
        texts = zip(self.prompts, self.chosen, self.rejected, strict=True)
        lengths = [len(p) + max(len(a), len(b)) for p, a, b in texts]
        self.tokens = [2 * length for length in lengths]
        self.rows: list[np.ndarray] = []
        used, weights = weighed_rows(pairs)
        self._weights = np.zeros(len(pairs), dtype=np.float32)
        self._weights[used] = weights
        self._strength = None if pairs.strength is None else pairs.strength.astype(np.float32)
        for epoch in range(epochs):
            rng = seeds.rng(seed, *names, epoch)
            cut = bucketed_batches([lengths[i] for i in used], size, rng)
            self.rows.extend(used[positions] for positions in cut)

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self, step: int) -> list[int]:
        """Tokens of each of a step's pairs, both responses together."""
        return [self.tokens[i] for i in self.rows[step]]

    def weights(self, step: int, part: np.ndarray) -> torch.Tensor:
        """Weights of the losses of the pairs at these positions of a step."""
        return torch.from_numpy(self._weights[self.rows[step][part]]).to(self.device)

    def strength(self, step: int, part: np.ndarray) -> torch.Tensor | None:
        """Strength of those pairs' labels; None where all are certain."""
        if self._strength is None:
            return None
        return torch.from_numpy(self._strength[self.rows[step][part]]).to(self.device)

    def batch(self, step: int, part: np.ndarray, *, mismatched: bool = False) -> Batch:
        """The pairs at these positions of a step, or their responses to the prompts after them in it."""
        rows = self.rows[step][part]
        asked = after(self.rows[step])[part] if mismatched else rows
        return collate(
            [self.prompts[i] for i in asked] * 2,
            [self.chosen[i] for i in rows] + [self.rejected[i] for i in rows],
            self.device,
        )


def after(rows: np.ndarray) -> np.ndarray:
    """The row after each, after the last one the first: whose prompt a response is mismatched with."""
    return np.roll(rows, -1)


class State:
    """Trainable weights and their AdamW optimiser, as tensors that a checkpoint can hold."""

    def __init__(self, modules: Sequence[nn.Module], learning_rate: float, weight_decay: float = 0.0) -> None:
        named = chain.from_iterable(
            ((f"{i}.{name}", p) for name, p in module.named_parameters() if p.requires_grad)
            for i, module in enumerate(modules)
        )
        self.parameters = dict(named)
        self.buffers: dict[str, torch.Tensor] = {}
        """Tensors that a loss keeps from step to step, for checkpoints."""
        self.learning_rate = learning_rate
        # On a CPU one pass over the weights rather than ten; on a GPU torch chooses for itself.
        on_cpu = all(p.device.type == "cpu" for p in self.parameters.values())
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=learning_rate, weight_decay=weight_decay, fused=on_cpu or None
        )

    def step(
        self, losses: Callable[[], Iterable[torch.Tensor]], rate: float, max_grad_norm: float
    ) -> float | None:
        """One clipped gradient step at `rate` times the peak learning rate.

        Args:
            losses: yields what the parts of a batch contribute to its loss; each is differentiated before
                the next is asked for. Several processes each give their own parts.
            rate: factor of the peak learning rate.
            max_grad_norm: of the whole batch's gradient.

        Returns:
            The whole batch's loss, or None where memory ran out before there was a gradient.

        Raises:
            Diverged: the loss or its gradient is not finite. The weights are left as they were.
        """
        value = attempt(partial(self._differentiate, losses))
        if value is None:
            return None
        if team().size > 1:
            value = float(team().sum(torch.tensor(value, dtype=torch.float64)))
            team().sum_gradients(self.parameters.values())
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), max_grad_norm)
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise Diverged(
                f"the loss is {value} and its gradient norm {float(norm)}: lower the learning rate, "
                "or mend the loss if it is your own."
            )
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * rate
        try:
            self.optimiser.step()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            # Some weights may have moved already, and a smaller part would need no less.
            raise PrefbenchError(
                "memory ran out in the optimiser, which keeps two numbers for each trained weight: set "
                "model.lora=true, lower model.lora_rank or take a smaller model."
            ) from None
        return value

    def _differentiate(self, losses: Callable[[], Iterable[torch.Tensor]]) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        value = 0.0
        for loss in losses():
            loss.backward()  # type: ignore[no-untyped-call]
            value += float(loss.detach())
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


def descend(
    state: State,
    lengths: Sequence[int],
    losses: Callable[[Parts], Iterable[torch.Tensor]],
    limit: Limit,
    rate: float,
    max_grad_norm: float,
) -> float:
    """One gradient step on a batch, in as many parts as memory needs; returns the batch's loss.

    Args:
        state: what is trained.
        lengths: tokens of each row of the batch.
        losses: parts of the batch to what each contributes to its loss, times its weight: the sum over any
            parts that hold every row once is the loss of the whole.
        limit: tokens that go through the model at once.
        rate: factor of the peak learning rate.
        max_grad_norm: of the whole batch's gradient.
    """
    share = deal(lengths)
    while True:
        parts = share.parts(limit)
        value = state.step(partial(losses, parts), rate, max_grad_norm)
        if value is not None:
            return value
        limit.halve(
            max(len(part.rows) for part in parts),
            max(len(part.rows) * max(lengths[i] for i in part.rows) for part in parts),
        )


def minimise(
    state: State,
    lengths_at: Callable[[int], Sequence[int]],
    losses_at: Callable[[int, Parts], Iterable[torch.Tensor]],
    steps: int,
    limit: Limit,
    work: Work,
    name: str,
    *,
    max_grad_norm: float = 1.0,
    best: Best | None = None,
) -> list[float]:
    """Take `steps` gradient steps, resuming from a checkpoint called `name`.

    Args:
        state: what is trained.
        lengths_at: step to the tokens of each row of its batch.
        losses_at: step and parts of its batch to losses, as in `descend`. They must depend on the weights,
            the state's buffers and the step alone: then a resumed run repeats a whole one.
        steps: how many.
        limit: tokens that go through the model at once.
        work: takes checkpoints and progress.
        name: of the checkpoint.
        max_grad_norm: of the whole batch's gradient.
        best: chooses which of the weights on the way are the model's in the end; None for the last.

    Returns:
        The loss of every step.
    """
    losses: list[float] = []
    best = best or best_of({}, None, steps, 1)
    saved = work.load(name)
    if saved is not None:
        tensors, meta = saved
        state.restore(tensors)
        best.restore(tensors, meta["scores"])
        losses = list(meta["losses"])
    else:
        best.look(0)
    warmup = max(1, steps // 20)
    for step in range(len(losses), steps):
        rate = schedule(step, steps, warmup)
        losses.append(descend(state, lengths_at(step), partial(losses_at, step), limit, rate, max_grad_norm))
        best.look(step + 1)
        work.report(step + 1, steps, loss=float(np.mean(losses[-20:])))
        if work.due():
            work.save(name, state.tensors() | best.tensors(), {"losses": losses, "scores": best.scores})
    if saved is None or len(saved[1]["losses"]) < steps:
        # A stage may fit many models: what is finished must not be done again after a kill.
        work.save(name, state.tensors() | best.tensors(), {"losses": losses, "scores": best.scores})
    best.take()
    state.optimiser.zero_grad(set_to_none=True)  # gradients of a model that is done are as large as it is
    return losses


def trainable_state(module: nn.Module) -> dict[str, Any]:
    """The trainable weights of a module by name."""
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}
