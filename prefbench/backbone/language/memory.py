"""The share of a batch that goes through a model at once, and going on with less where memory runs out.

A batch never depends on how it is cut up: scores and samples belong to their rows, and a gradient is the sum
of the gradients of the parts. So when memory runs out, what was half done is dropped and done again in
smaller parts, and the numbers agree but for rounding.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import numpy as np
import torch

from prefbench.errors import PrefbenchError
from prefbench.team import team

T = TypeVar("T")

TOKENS_AT_ONCE = 16384
ROWS_AT_ONCE = 256

_SMALLER = {
    "training on": "lower model.context or task.response_tokens, or set model.gradient_checkpointing=true or "
    "model.lora=true",
    "scoring": "lower model.context or task.response_tokens, or set model.lora=true",
    "sampling": "lower model.context or task.response_tokens, or set model.lora=true",
}


@dataclass
class Limit:
    """The most that goes through a model at once; halved whenever memory runs out."""

    size: int
    unit: Literal["tokens", "responses"]
    doing: Literal["training on", "scoring", "sampling"]
    say: Callable[[str], None]
    """Told, in one line, whenever the limit is halved."""

    def split(self, lengths: Sequence[int]) -> list[np.ndarray]:
        """Positions of a batch's rows in parts of at most `size` tokens, padding included.

        A batch that fits stays whole and in order.
        """
        if len(lengths) * max(lengths) <= self.size:
            return [np.arange(len(lengths))]
        order, parts = _longest_first(lengths), []
        while len(order):
            parts.append(_first(order, lengths, self.size))
            order = order[len(parts[-1]) :]
        return parts

    def halve(self, rows: int, used: int) -> None:
        """Allow half of what did not fit.

        Args:
            rows: rows of the largest part.
            used: its size, in the limit's unit.

        Raises:
            PrefbenchError: a single row does not fit.
        """
        if rows == 1:
            what = "a single response" if self.unit == "responses" else f"a single row of {used:,} tokens"
            raise PrefbenchError(f"memory ran out while {self.doing} {what}: {_SMALLER[self.doing]}.")
        self.size = max(1, min(self.size, used) // 2)
        self.say(
            f"memory ran out while {self.doing} {used:,} {self.unit} at once; going on with at most "
            f"{self.size:,}"
        )


@dataclass
class Limits:
    """The limits of one model."""

    training: Limit
    scoring: Limit
    sampling: Limit

    @classmethod
    def of(
        cls, say: Callable[[str], None], *, train_tokens: int = TOKENS_AT_ONCE, tokens: int = TOKENS_AT_ONCE
    ) -> Limits:
        """Limits that tell `say` when they are halved; tokens in a pass with and without gradients."""
        return cls(
            Limit(train_tokens, "tokens", "training on", say),
            Limit(tokens, "tokens", "scoring", say),
            Limit(ROWS_AT_ONCE, "responses", "sampling", say),
        )


def attempt(compute: Callable[[], T]) -> T | None:
    """The result of `compute` (never None), or None where memory ran out; what it held is free by then."""
    try:
        return compute()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    if team().sharded:
        # The others are inside the same pass and cannot be told.
        raise PrefbenchError(
            "memory ran out, and with FSDP a pass cannot be tried again in parts: launch more processes, "
            "lower model.context or task.response_tokens, or set model.gradient_checkpointing=true."
        )
    # Outside the handler, whose exception holds on to every tensor of the failed call.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """True if an exception says that memory ran out, on a GPU or off it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    signs = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def in_batches(
    lengths: Sequence[int], limit: Limit, compute: Callable[[np.ndarray], T]
) -> Iterator[tuple[np.ndarray, T]]:
    """Rows and `compute(rows)` for batches of rows of similar length, as large as the limit allows.

    Args:
        lengths: tokens of each row.
        limit: of tokens in a batch, padding included.
        compute: is called again, with fewer rows, where memory ran out.
    """
    order = _longest_first(lengths)
    while len(order):
        rows = _first(order, lengths, limit.size)
        value = attempt(partial(compute, rows))
        if value is None:
            limit.halve(len(rows), len(rows) * lengths[rows[0]])
            continue
        yield rows, value
        order = order[len(rows) :]


def _longest_first(lengths: Sequence[int]) -> np.ndarray:
    return np.argsort(np.asarray(lengths), kind="stable")[::-1]


def _first(order: np.ndarray, lengths: Sequence[int], tokens: int) -> np.ndarray:
    return order[: max(1, tokens // max(1, lengths[order[0]]))]
