"""The best of the weights that a training went through."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch


class Best:
    """The weights at which a score was highest so far, those before the first step among them.

    Attributes:
        scores: score at each look, in order; resuming a training goes on from them.
    """

    def __init__(
        self, parameters: Mapping[str, torch.Tensor], score: Callable[[], float], at: Collection[int]
    ) -> None:
        """Keep nothing yet.

        Args:
            parameters: what is trained, by name.
            score: of the parameters as they are; larger is better.
            at: numbers of finished steps at which to look; 0 is before the first.
        """
        self._parameters = parameters
        self._score = score
        self._at = frozenset(at)
        self._kept: dict[str, torch.Tensor] = {}
        self.scores: list[float] = []

    def look(self, steps: int) -> None:
        """Score the weights if that is due after so many steps, and keep them if none were better."""
        if steps not in self._at:
            return
        score = self._score()
        if not self.scores or score > max(self.scores):
            self._kept = {name: p.detach().clone() for name, p in self._parameters.items()}
        self.scores.append(score)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The kept weights, for a checkpoint."""
        return {f"best.{name}": value for name, value in self._kept.items()}

    def restore(self, tensors: dict[str, torch.Tensor], scores: Sequence[float]) -> None:
        """Put back what `tensors` returned, and the scores of that time."""
        self.scores = list(scores)
        self._kept = {
            name: tensors[f"best.{name}"].to(p.device)
            for name, p in self._parameters.items()
            if f"best.{name}" in tensors
        }

    @torch.no_grad()
    def take(self) -> None:
        """Make the kept weights those of the model."""
        for name, value in self._kept.items():
            self._parameters[name].copy_(value)
        self._kept = {}


def best_of(
    parameters: Mapping[str, torch.Tensor], score: Callable[[], float] | None, steps: int, looks: int
) -> Best:
    """A choice between `looks` moments spread over a training and the one before it.

    Without a score it keeps nothing, and the last weights stay.
    """
    at = {round(steps * look / looks) for look in range(looks + 1)}
    return Best(parameters, lambda: 0.0, ()) if score is None else Best(parameters, score, at)
