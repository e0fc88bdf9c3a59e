"""Token ids to tensors, the same way everywhere.

Every number of a response, sampled or trained on, comes from the same mask and position ids: padding never
has a position, is never attended to and is never scored, whatever token it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal

import numpy as np
import torch

Ids = list[int]


class Versions(Ids):
    """A prompt as several models read it, one version after the other: it is as long as all they read."""

    def __init__(self, each: Iterable[Ids]) -> None:
        self.each = list(each)
        """The tokens that each model reads."""
        super().__init__(chain.from_iterable(self.each))


def version(prompts: Sequence[Ids], model: int) -> list[Ids]:
    """Prompts as a model reads them, by its place among several; any but `Versions` is read by all alike."""
    return [prompt.each[model] if isinstance(prompt, Versions) else prompt for prompt in prompts]


Place = Literal["before", "response", "last"]
"""Places of states: before each response token, at it, or at each row's last token."""


@dataclass(frozen=True)
class Packed:
    """Tokens of prompts and responses in one row, without padding: every prompt once, then all responses."""

    ids: torch.Tensor
    """[n]."""
    positions: torch.Tensor
    """[n] in a token's own sequence."""
    rectangle: torch.Tensor
    """[rows, length] the place of each row's tokens; any, after its last one."""
    seen_at: torch.Tensor
    """[n] where a token stands in the flattened rectangle, in one of the rows that have it."""
    before: torch.Tensor
    """[m] the place before each response token, row after row: where it is predicted from."""
    response: torch.Tensor
    """[m] the place of each response token."""
    last: torch.Tensor
    """[rows] the place of each row's last token."""


def pack(prompts: Sequence[Ids], responses: Sequence[Ids], device: torch.device) -> Packed:
    """Lay out rows without padding. Rows with the same prompt share it: what it is depends on no response."""
    number: dict[tuple[int, ...], int] = {}
    prompt_of = np.array([number.setdefault(tuple(prompt), len(number)) for prompt in prompts])
    lengths = np.array([len(prompt) for prompt in number])
    starts = np.cumsum(lengths) - lengths
    count = np.array([len(response) for response in responses])
    begins = lengths.sum() + np.cumsum(count) - count
    length, start = lengths[prompt_of], starts[prompt_of]
    width = int((length + count).max())
    column = np.arange(width)
    own = begins[:, None] + column - length[:, None]
    rectangle = np.where(column < length[:, None], start[:, None] + column, own)
    rectangle[column >= (length + count)[:, None]] = 0
    ids = np.fromiter(chain(chain.from_iterable(number), chain.from_iterable(responses)), dtype=np.int64)
    within = _counting(count)
    positions = np.concatenate([_counting(lengths), np.repeat(length, count) + within])
    seen_at = np.zeros(len(ids), dtype=np.int64)
    real = column < (length + count)[:, None]
    seen_at[rectangle[real]] = np.flatnonzero(real)
    place = np.arange(lengths.sum(), len(ids))
    before = np.where(within == 0, np.repeat(start + length - 1, count), place - 1)
    last = np.where(count > 0, begins + count, start + length) - 1
    return Packed(
        *(torch.from_numpy(a).to(device) for a in (ids, positions, rectangle, seen_at, before, place, last))
    )


def _counting(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... for each length in turn."""
    return np.asarray(np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths))


class Batch:
    """Prompts with their responses as tensors; `collate` makes it. What is not asked for is not laid out."""

    def __init__(
        self,
        prompts: Sequence[Ids],
        responses: Sequence[Ids],
        device: torch.device,
        filler: int,
        side: Literal["left", "right"],
    ) -> None:
        self._prompts, self._responses = prompts, responses
        self._device, self._filler = device, filler
        self._side: Literal["left", "right"] = side
        self._length = np.array([len(p) for p in prompts])
        self._count = np.array([len(r) for r in responses])
        whole = self._length + self._count
        self._offset = whole.max() - whole if side == "left" else np.zeros_like(whole)
        mask = np.arange(max(1, self._count.max())) < self._count[:, None]
        response = np.zeros(mask.shape, dtype=np.int64)
        response[mask] = np.fromiter(chain.from_iterable(responses), dtype=np.int64)
        self.mask = self._tensor(mask)
        """[rows, T] which response tokens are real."""
        self.response = self._tensor(response)
        """[rows, T] response tokens, zero where `mask` is false."""

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)

    @cached_property
    def inputs(self) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask`, `position_ids`, each [rows, length]."""
        whole = self._length + self._count
        column = np.arange(whole.max()) - self._offset[:, None]
        real = (column >= 0) & (column < whole[:, None])
        ids = np.full(real.shape, self._filler, dtype=np.int64)
        rows = zip(self._prompts, self._responses, strict=True)
        ids[real] = np.fromiter(chain.from_iterable(chain(p, r) for p, r in rows), dtype=np.int64)
        return {
            "input_ids": self._tensor(ids),
            "attention_mask": self._tensor(real.astype(np.int64)),
            "position_ids": self._tensor(np.clip(column, 0, whole[:, None] - 1)),
        }

    @cached_property
    def before(self) -> torch.Tensor:
        """[rows, T] column of the token before each response token: where it is predicted from."""
        columns = (self._offset + self._length - 1)[:, None] + np.arange(self.mask.shape[1])
        real = np.arange(self.mask.shape[1]) < self._count[:, None]
        return self._tensor(np.where(real, columns, 0))

    @cached_property
    def last(self) -> torch.Tensor:
        """[rows] column of the last real token."""
        return self._tensor(self._offset + self._length + self._count - 1)

    def places(self, place: Place) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and columns of the states at a place, in the order of `packed`."""
        if place == "last":
            return torch.arange(len(self.mask), device=self.mask.device), self.last
        row, number = self.mask.nonzero(as_tuple=True)
        return row, self.before[row, number] + (place == "response")

    @cached_property
    def packed(self) -> Packed:
        """The same without padding."""
        return pack(self._prompts, self._responses, self._device)

    def version(self, model: int) -> Batch:
        """The same rows as a model reads them, by its place among several."""
        if not any(isinstance(prompt, Versions) for prompt in self._prompts):
            return self
        prompts = version(self._prompts, model)
        return Batch(prompts, self._responses, self._device, self._filler, self._side)

    def spread(self, values: torch.Tensor) -> torch.Tensor:
        """Values of response tokens row after row, [m, ...], as [rows, T, ...] with zero at padding."""
        result = values.new_zeros((*self.mask.shape, *values.shape[1:]))
        result[self.mask] = values
        return result


def collate(
    prompts: Sequence[Ids],
    responses: Sequence[Ids],
    device: torch.device,
    *,
    filler: int = 0,
    side: Literal["left", "right"] = "right",
) -> Batch:
    """Put rows together. The filler and the side change nothing that is computed from the batch."""
    return Batch(prompts, responses, device, filler, side)
