"""Rewards without what length alone explains of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prefbench.learn.interface import Pairs, RewardFunction
from prefbench.learn.lowess import Lowess
from prefbench.learn.weighted import LEAST_SPREAD, both_sides
from prefbench.text import count_words

LEAST_LEFT = 0.01
"""Least unit of what is left, as a part of the reward's spread: less is rounding."""


@dataclass(frozen=True)
class LengthCalibrated:
    """r - LOWESS(r on words)(words of the response), in units of its spread over reference responses.

    Source: post-hoc reward calibration (Huang et al. 2024, arXiv 2409.17407), which counts characters.
    """

    rewards: RewardFunction
    lines: tuple[Lowess, ...]
    """Curve of each reward."""
    scale: np.ndarray
    """[K] spread of what is left, over the responses that the lines go through."""
    explained: np.ndarray
    """[K] share of the rewards' variance over these that the lines explain."""

    @staticmethod
    def over(rewards: RewardFunction, pairs: Pairs, share: float) -> LengthCalibrated:
        """Calibrated on the responses of pairs, which are the reference's.

        Args:
            rewards: any, [n, K].
            pairs: both responses of each count.
            share: part of them that a value of the lines is computed of.
        """
        said = np.concatenate(both_sides(rewards, pairs))
        words = _words([*pairs.chosen, *pairs.rejected])
        lines = tuple(Lowess.through(words, column, share) for column in said.T)
        left = said - np.stack([line(words) for line in lines], axis=1)
        spread = np.maximum(said.std(axis=0), LEAST_SPREAD)
        scale = np.maximum(left.std(axis=0), LEAST_LEFT * spread)
        return LengthCalibrated(rewards, lines, scale, 1 - (left.std(axis=0) / spread) ** 2)

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Calibrated rewards [n, K]."""
        words = _words(responses)
        expected = np.stack([line(words) for line in self.lines], axis=1)
        return np.asarray((self.rewards(prompts, responses) - expected) / self.scale)


def _words(responses: Sequence[str]) -> np.ndarray:
    return np.array([count_words(text) for text in responses], dtype=np.float64)
