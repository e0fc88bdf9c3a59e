"""The worst group of one run: prompt by prompt, and read where it was not chosen."""

from __future__ import annotations

import numpy as np

from prefbench.arrays import Floats

SPLITS = 10
"""Random halves of the prompts, each read in both directions."""


def own_worst(scores: Floats) -> Floats:
    """The prompts' scores of the group whose mean is smallest, `[prompts]`; the first such at a tie.

    The smallest of several noisy means lies below the smallest true one, the more the closer they are.

    Args:
        scores: `[prompts, groups]`.
    """
    return np.asarray(scores[:, int(scores.mean(axis=0).argmin())])


def cross_fitted_worst(scores: Floats, rng: np.random.Generator) -> Floats:
    """Scores of the worst group, chosen on one half of the prompts and read on the other, `[prompts]`.

    Averaged over both directions and `SPLITS` random halves. A choice is never read on the prompts that it
    was made on, so that the mean is not biased low where groups tie; where they nearly do it lies above the
    smallest true rate by what wrong choices cost (Chernozhukov et al. 2018, on cross-fitting).

    Args:
        scores: `[prompts, groups]`. A single prompt has no halves and is read as it is.
        rng: where the halves are drawn from.
    """
    n = len(scores)
    if n < 2 or scores.shape[1] < 2:
        return own_worst(scores)
    read = np.zeros(n)
    for _ in range(SPLITS):
        order = rng.permutation(n)
        for chosen, other in ((order[: n // 2], order[n // 2 :]), (order[n // 2 :], order[: n // 2])):
            # Each direction weighs one half, whichever half has the odd prompt.
            read[other] += scores[other, int(scores[chosen].mean(axis=0).argmin())] * n / (2 * len(other))
    return read / SPLITS
