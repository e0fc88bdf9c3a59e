"""The bootstrap beside scipy's."""

from __future__ import annotations

from functools import partial

import numpy as np
from compared import Bench, Compared
from setting import interleaved, seconds_of


def bootstrap(bench: Bench, continuous: bool) -> Compared:
    """Intervals of three groups' win rates over 5 seeds of 1,000 prompts, 10,000 resamples.

    scipy resamples one level: it is given each seed's prompts, and the seeds are drawn from its replicates.
    """
    from scipy.stats import bootstrap as of_scipy

    from prefbench.stats.intervals import resample_means

    rng = np.random.default_rng(0)
    rate = np.array([0.8, 0.5, 0.3]) + rng.normal(0, 0.05, (5, 1, 3))
    scores = (rng.random((5, 1000, 3)) < rate).astype(float)
    if continuous:
        scores = np.clip(rate + rng.normal(0, 0.2, (5, 1000, 3)), 0, 1)
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = resample_means(list(scores), np.random.default_rng(1), 10_000)

    def theirs() -> None:
        draws = np.random.default_rng(2)
        each = [
            of_scipy(
                (seed,), np.mean, n_resamples=10_000, axis=0, method="percentile", rng=draws, batch=1000
            ).bootstrap_distribution
            for seed in scores
        ]
        drawn, which = draws.integers(5, size=(10_000, 5)), draws.integers(10_000, size=(10_000, 5))
        found["theirs"] = np.stack(each)[drawn, :, which].mean(axis=1)

    times = interleaved([partial(seconds_of, ours), partial(seconds_of, theirs)], bench.rounds)
    ends = {name: np.quantile(means, [0.025, 0.975], axis=0) for name, means in found.items()}
    # The standard error of a 2.5% quantile of 10,000 draws is about a fortieth of the spread.
    apart = np.abs(ends["ours"] - ends["theirs"]) / found["ours"].std(axis=0)
    if not (apart < 0.15).all():
        raise SystemExit(
            f"the intervals are {apart.max():.2f} standard errors apart, so the times say nothing."
        )
    kind = "scores between 0 and 1" if continuous else "wins and losses"
    return Compared(
        f"bootstrap, {kind}", "3 x 5 x 1,000", "scipy.stats.bootstrap", "resamples/s", 1e4, *times, 20
    )
