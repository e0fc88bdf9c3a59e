"""A smooth line through points, each of its values from a straight line through the points nearby.

At x the nearest share of all points has the weights (1 - (d / h)^3)^3, with d the distance to x and h that of
the farthest of them, and the value is that of their weighted least-squares line at x.
Source: Cleveland 1979, without the steps that weigh outliers down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Lowess:
    """The line through some points; beyond them it goes straight on."""

    x: np.ndarray
    """[m] different places, in order."""
    y: np.ndarray
    """[m] mean of the points at each."""
    count: np.ndarray
    """[m] points at each."""
    share: float
    """Part of all points that a value is computed of."""

    @staticmethod
    def through(x: np.ndarray, y: np.ndarray, share: float) -> Lowess:
        """The line through points (x, y), [n] each."""
        places, which, count = np.unique(x, return_inverse=True, return_counts=True)
        return Lowess(places.astype(np.float64), np.bincount(which, y) / count, count, share)

    def __call__(self, at: np.ndarray) -> np.ndarray:
        """Values of the curve, [n]."""
        places, which = np.unique(at, return_inverse=True)
        return np.array([self._at(float(place)) for place in places])[which]

    def _at(self, place: float) -> float:
        distance = np.abs(self.x - place)
        order = np.argsort(distance, kind="stable")
        wanted = math.ceil(self.share * self.count.sum())
        farthest = distance[order[np.searchsorted(self.count[order].cumsum(), wanted)]]
        near = distance < farthest
        if not near.any():  # so many points at one distance that nothing is nearer
            near = distance == distance.min()
            return float(np.average(self.y[near], weights=self.count[near]))
        x, y = self.x[near] - place, self.y[near]
        weights = self.count[near] * (1 - (distance[near] / farthest) ** 3) ** 3
        middle, level = np.average(x, weights=weights), np.average(y, weights=weights)
        spread = np.average((x - middle) ** 2, weights=weights)
        if len(x) == 1 or spread <= 0:
            return float(level)
        slope = np.average((x - middle) * (y - level), weights=weights) / spread
        return float(level - slope * middle)
