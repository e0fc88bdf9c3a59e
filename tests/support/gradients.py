"""Derivatives that a loss gives, against finite differences."""

import numpy as np


def gradient_gap(loss, n: int = 40, seed: int = 0) -> float:
    """Largest gap of a loss of (mu+ - mu-, SD+, SD-), each [n]."""
    rng = np.random.default_rng(seed)
    point = [rng.normal(size=n), *rng.uniform(0.3, 2.0, size=(2, n))]
    step, gaps = 1e-6, []
    for place, given in enumerate(loss(*point)[1:]):
        up, down = ([each + sign * step * (i == place) for i, each in enumerate(point)] for sign in (1, -1))
        numeric = (loss(*up)[0] - loss(*down)[0]) / (2 * step)
        gaps.append(np.abs(numeric - given).max())
    return max(gaps)
