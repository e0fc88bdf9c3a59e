"""Groups of people who want the same, by linear rewards on frozen features: each judged by rewards of others.

A cluster k has a linear Bradley-Terry reward w_k, a share eta_k and responsibilities g_hk for annotators h; x
is a pair's difference of features, chosen minus rejected.

M-step: w_k = argmin  sum_h g_hk sum over h's pairs of -log sigmoid(w . x)  +  penalty |w|^2 / 2
E-step: g_hk ~ eta_k prod over h's pairs of sigmoid(w_k . x), with h left out of w_k and of eta_k

The usual E-step asks a reward about pairs that it was fitted to. In a cluster of four annotators a quarter of
those are the asked one's own, so whoever is placed there stays, and the likeliest assignment is a wrong one.
With h left out a small cluster answers as honestly as a large one, and the objective, the sum over annotators
of log sum_k eta_k prod sigmoid(w_k . x), is a held-out likelihood: it chooses among starts, priors, features.

To leave out takes no second fit. With p = sigmoid(-w . x), W = diag(p (1 - p)) and L L' the penalised Hessian
of a cluster, one Newton step from w without h's pairs X_h moves their margins to

    X_h w - g M p,    M = (1 - g S W)^-1 S,    S = X_h (L L')^-1 X_h'

(approximate leave-one-out: Rad and Maleki 2020, arXiv 1801.10243, equation 6, for several rows at once).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prefbench import seeds
from prefbench.arrays import Floats, Ints
from prefbench.errors import Diverged
from prefbench.learn.rewards import log_likelihood, residual

START_SIZE = 128
"""Directions of the features that starts are tried on."""
SIZE = 512
"""Directions of features and words that the best starts are refined on."""
WORDS = 512
"""Words that are counted: the commonest."""
WORDS_WEIGHT, LENGTH_WEIGHT = 2.0**0.5, 1.0
"""Root mean square of a pair's difference in all words, and in their number; in all features it is 1."""
START_VARIANCE = 1.0
VARIANCES = (2.5, 5.0, 10.0, 20.0, 40.0)
"""Variances of a pair's margin under the Gaussian prior on weights that the ridge penalty is; the more pairs,
the larger."""
KEPT = 3
"""Starts that are refined."""
START_ROUNDS = 15
ROUNDS = 60
NEWTON_STEPS = 20
ENOUGH = 1e-2
"""Nats that a step of Newton's method gains at which it stops: the next would gain about the square."""
STILL = 1e-2
"""Largest change of a responsibility at which EM stops."""
NEGLIGIBLE = 1e-3
"""A responsibility below it takes no part in a fit."""
BETTER = 0.1
"""Nats by which a later candidate must beat an earlier one: less is rounding."""


@dataclass(frozen=True)
class Design:
    """Labelled pairs as EM sees them."""

    x: Floats
    """[pairs, d] differences of features, chosen minus rejected."""
    unit: Ints
    """[pairs] whose they are."""
    penalty: float
    """Weight of |w|^2 / 2: the mean of |x|^2 over the prior variance of a margin."""
    blocks: tuple[tuple[Ints, Ints], ...]
    """Units with equally many pairs [b], and the rows of each [b, m]."""
    strength: Floats | None = None
    """[pairs] Z of their labels; None where all are certain. With it a pair's loss is -Z log sigmoid(w . x) -
    (1 - Z) log sigmoid(-w . x), and what moves margins is Z - sigmoid(w . x) in place of p."""

    def of(self, rows: Any) -> Floats | None:
        """Strength of the labels of some rows."""
        return None if self.strength is None else self.strength[rows]

    @property
    def units(self) -> int:
        """Number of those who are to be placed in clusters."""
        return sum(len(units) for units, _ in self.blocks)


@dataclass(frozen=True)
class Grouping:
    """The end of EM from one start."""

    responsibility: Floats
    """[units, K] posterior probability of each cluster."""
    likelihood: float
    """Log-likelihood of every unit's pairs by rewards that were not fitted to them, in nats."""
    name: str
    """Name of the way in which the start was made."""
    index: int
    """0 is the spectral start, 1 and up the random ones."""

    @property
    def assignment(self) -> Ints:
        """[units] likeliest cluster of each."""
        return np.asarray(self.responsibility.argmax(axis=1))


def group(
    features: Floats,
    words: Floats | None,
    unit: Ints,
    clusters: int,
    restarts: int,
    seed: int,
    strength: Floats | None = None,
) -> Grouping:
    """The grouping that explains best what its rewards were not fitted to.

    Starts are tried on the features alone. The likeliest is followed on features with and without words and
    under each prior; the likeliest of those then judges the other starts.

    Args:
        features: differences chosen minus rejected of what the reference sees in responses, [pairs, d].
        words: differences as `word_differences` gives them, [pairs, v]; None where responses have none.
        unit: [pairs] whose they are, from 0.
        clusters: K.
        restarts: how many random starts besides the spectral one.
        seed: the run's seed.
        strength: of the labels, [pairs]; None where all are certain.

    Raises:
        Diverged: a feature is NaN or infinite.
    """
    strange = int((~np.isfinite(features).all(axis=1)).sum())
    if strange:
        raise Diverged(
            f"what the reference sees in responses is not finite for {strange} of {len(features)} pairs, so "
            "nobody can be grouped by it: check the model's weights, or take another model."
        )
    features = _unit_square(features)
    small = design(features, unit, START_SIZE, START_VARIANCE, strength)
    tried = [
        replace(
            mixture(small, np.eye(clusters)[first], START_ROUNDS),
            name="random" if index else "spectral",
            index=index,
        )
        for index, first in enumerate(starts(small.x, unit, clusters, restarts, seed, strength))
    ]
    kept = _distinct(sorted(tried, key=lambda found: -round(found.likelihood / BETTER)))[:KEPT]
    best, judge, likelihood = kept[0], small, -np.inf
    for x in [features] if words is None else [features, np.hstack([features, words])]:
        reached = kept[0]
        for variance in VARIANCES:
            wider, before = design(x, unit, SIZE, variance, strength), reached
            reached = _followed(wider, before)
            if reached.likelihood > likelihood + BETTER:
                best, judge, likelihood = reached, wider, reached.likelihood
            elif before is not kept[0] and reached.likelihood < before.likelihood:
                break  # too free a prior
    for start in kept[1:]:
        other = _followed(judge, start)
        if other.likelihood > best.likelihood + BETTER:
            best = other
    return best


def _followed(pairs: Design, start: Grouping) -> Grouping:
    return replace(mixture(pairs, start.responsibility), name=start.name, index=start.index)


def _unit_square(difference: Floats) -> Floats:
    """Differences in units in which their mean squared length is one."""
    return difference / max(float(np.sqrt((difference**2).sum(axis=1).mean())), 1e-12)


def _distinct(found: Sequence[Grouping]) -> list[Grouping]:
    """The first of the groupings that place everybody alike, under whatever numbers."""
    kept: dict[bytes, Grouping] = {}
    for each in found:
        _, first, same = np.unique(each.assignment, return_index=True, return_inverse=True)
        kept.setdefault(first[same].tobytes(), each)
    return list(kept.values())


def word_differences(chosen: Sequence[str], rejected: Sequence[str]) -> Floats | None:
    """Number of words and counts of the commonest, chosen minus rejected [pairs, 1 + v], weighted.

    A word is a run of letters and digits, or a mark. Counts hold what a small model has not learned of words;
    each is in units of its spread. None where no two responses share a word.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=r"\w+|[^\w\s]", min_df=2, max_features=WORDS)
    texts = [*chosen, *rejected]
    try:
        counts = counter.fit_transform(texts).toarray().astype(np.float64)
    except ValueError:  # an empty vocabulary
        return None
    words_of = counter.build_tokenizer()
    length = np.array([[len(words_of(text))] for text in texts], dtype=np.float64)

    def difference(of: Floats) -> Floats:
        return of[: len(chosen)] - of[len(chosen) :]

    each = difference(counts / np.maximum(counts.std(axis=0), 1e-6))
    return np.hstack([LENGTH_WEIGHT * _unit_square(difference(length)), WORDS_WEIGHT * _unit_square(each)])


def design(
    difference: Floats, unit: Ints, size: int, variance: float, strength: Floats | None = None
) -> Design:
    """Pairs on at most `size` leading principal directions of their differences, under a prior."""
    from sklearn.utils.extmath import randomized_svd

    x = difference
    if x.shape[1] > size:
        x = x @ randomized_svd(x, size, n_iter=4, random_state=0)[2].T
    square = float((x**2).sum(axis=1).mean())
    return Design(x, unit, max(square, 1e-12) / variance, tuple(_blocks(unit)), strength)


def _blocks(unit: Ints) -> Iterator[tuple[Ints, Ints]]:
    count = np.bincount(unit)
    order = np.argsort(unit, kind="stable")
    first = np.cumsum(count) - count
    for size in np.unique(count):
        units = np.flatnonzero(count == size)
        yield units, order[first[units][:, None] + np.arange(size)]


def starts(
    difference: Floats, unit: Ints, clusters: int, restarts: int, seed: int, strength: Floats | None = None
) -> Iterator[Ints]:
    """Assignments [units] to begin with: the spectral one, then random ones in equal clusters."""
    # A tie says nothing of what is liked.
    said = difference if strength is None else difference * (2 * strength - 1)[:, None]
    for index in range(restarts + 1):
        rng = seeds.rng(seed, "em", index)
        if index:
            yield rng.permutation(np.arange(int(unit.max()) + 1) % clusters)
        else:
            yield spectral(said, unit, clusters, rng)


def spectral(difference: Floats, unit: Ints, clusters: int, rng: np.random.Generator) -> Ints:
    """Annotators who prefer the same features: k-means on the leading directions of their mean preference.

    A pair's difference points from rejected to chosen, so an annotator's mean difference estimates
    what they like; across annotators its leading principal components are what they disagree on.
    """
    from sklearn.cluster import KMeans

    units = int(unit.max()) + 1
    liking = np.zeros((units, difference.shape[1]))
    np.add.at(liking, unit, difference)
    liking /= np.bincount(unit, minlength=units)[:, None]
    centred = liking - liking.mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    points = left[:, :clusters] * strength[:clusters]
    means = KMeans(min(clusters, units), n_init=10, random_state=int(rng.integers(2**31)))
    return np.asarray(means.fit_predict(points), dtype=np.int64)


def mixture(pairs: Design, responsibility: Floats, rounds: int = ROUNDS) -> Grouping:
    """EM from given responsibilities [units, K] until they are still, or for so many rounds."""
    units, clusters = responsibility.shape
    w: list[Floats | None] = [None] * clusters
    for _ in range(rounds):
        score = np.empty((units, clusters))
        for k in range(clusters):
            w[k], score[:, k] = _fit_and_ask(pairs, responsibility[:, k], w[k])
        others = responsibility.sum(axis=0) - responsibility
        # Half a unit beforehand, as in Jeffreys' prior, so that a lone one may stay alone.
        score += np.log((others + 0.5) / (units - 1 + 0.5 * clusters))
        whole = np.logaddexp.reduce(score, axis=1, keepdims=True)
        before, responsibility = responsibility, np.exp(score - whole)
        if np.abs(responsibility - before).max() < STILL:
            break
    return Grouping(responsibility, float(whole.sum()), "", 0)


def _fit_and_ask(pairs: Design, weights: Floats, start: Floats | None) -> tuple[Floats, Floats]:
    """A cluster's reward, and what it says of each unit's pairs without that unit: its log-likelihood."""
    w, factor = fit(pairs, weights, start)
    return w, left_out(pairs, w, factor, weights)


def fit(pairs: Design, weights: Floats, start: Floats | None = None) -> tuple[Floats, Floats]:
    """The ridge Bradley-Terry reward of weighted units [units] by Newton's method.

    Returns:
        Weights w [d] and the Cholesky factor L [d, d] of the Hessian L L' there.
    """
    from scipy.linalg import cho_solve
    from scipy.special import expit

    used = weights[pairs.unit] > NEGLIGIBLE
    x, g, z = pairs.x[used], weights[pairs.unit][used], pairs.of(used)
    w = np.zeros(x.shape[1]) if start is None else start

    def loss(point: Floats) -> float:
        return float(pairs.penalty * (point @ point) / 2 - g @ log_likelihood(x @ point, z))

    value = loss(w)
    for _ in range(NEWTON_STEPS):
        margin = x @ w
        p = expit(-margin)
        hessian = (x * (g * p * (1 - p))[:, None]).T @ x
        hessian[np.diag_indices(len(w))] += pairs.penalty
        factor = np.asarray(np.linalg.cholesky(hessian), dtype=np.float64)
        step = cho_solve((factor, True), x.T @ (g * residual(margin, z)) - pairs.penalty * w)
        length = 1.0
        while (after := loss(w + length * step)) > value + 1e-9 and length > 1e-4:
            length /= 2
        w, gained, value = w + length * step, value - after, after
        if gained < ENOUGH:
            break
    return w, factor


def left_out(pairs: Design, w: Floats, factor: Floats, weights: Floats) -> Floats:
    """Log-likelihood of each unit's pairs under a cluster's reward without that unit, [units]."""
    from scipy.linalg import solve_triangular
    from scipy.special import expit

    margin = pairs.x @ w
    likely = log_likelihood(margin, pairs.strength)
    each = np.bincount(pairs.unit, weights=likely, minlength=pairs.units)
    found = np.asarray(each, dtype=np.float64)
    used = np.flatnonzero(weights[pairs.unit] > NEGLIGIBLE)
    half = np.zeros_like(pairs.x)  # X L^-T, so that S is its square
    half[used] = pairs.x[used] @ solve_triangular(factor, np.eye(len(factor)), lower=True).T
    for units, rows in pairs.blocks:
        mine = weights[units] > NEGLIGIBLE
        if mine.any():
            units, rows = units[mine], rows[mine]
            p, z = expit(-margin[rows]), pairs.of(rows)
            moved = _moved(half[rows], weights[units], p, residual(margin[rows], z))
            found[units] = log_likelihood(margin[rows] - moved, z).sum(axis=1)
    return found


def _moved(half: Floats, g: Floats, p: Floats, slope: Floats) -> Floats:
    """The part of their margins that pairs owe to themselves, g M slope, for units of m pairs each [b, m].

    The slope is that of the log-likelihood, which is p where labels are certain.

    In the smaller of two spaces: (1 - g S W)^-1 S = H (1 - g H' W H)^-1 H' with S = H H'.
    """
    weight = g[:, None] * p * (1 - p)
    turned = half.transpose(0, 2, 1)
    if half.shape[1] <= half.shape[2]:
        s = half @ turned
        left, right = s * weight[:, None, :], s @ slope[:, :, None]
        solved = np.linalg.solve(np.eye(half.shape[1]) - left, right)
    else:
        left = turned @ (half * weight[:, :, None])
        solved = half @ np.linalg.solve(np.eye(half.shape[2]) - left, turned @ slope[:, :, None])
    return np.asarray(g[:, None] * solved[:, :, 0])
