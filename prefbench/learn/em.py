"""A mixture of rewards by hard expectation-maximisation over annotators (MaxMin-RLHF, Algorithm 2).

E-step: u(h) = argmax_u prod over h's pairs of sigmoid(r_u(y+) - r_u(y-)), one cluster per annotator.
M-step: r_u = argmin of the Bradley-Terry negative log-likelihood of the pairs of u's annotators.

Hard EM keeps whatever structure it starts from, so the start decides. A reward model fitted to everybody
has learned what anybody attends to, even where its own score averages the disagreement away; on its frozen
features linear rewards are cheap. So the whole algorithm runs first on those, from a spectral
start and from many random ones, and the likeliest assignment starts the reward models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prefbench import seeds
from prefbench.backbone.base import Backbone, Pairs, Reward, Rewards
from prefbench.learn.bradley_terry import (
    fit_everybody,
    fit_linear,
    group_options,
    load_rewards,
    log_likelihood,
    normalised,
    pairs_digest,
    save_rewards,
)
from prefbench.learn.options import EMOptions

if TYPE_CHECKING:
    from prefbench.store import Work

LINEAR_ITERATIONS = 50
LINEAR_PENALTY = 100.0  # few pairs and many features: an annotator's likelihood must not be memorised


def fit_mixture(backbone: Backbone, pairs: Pairs, options: EMOptions, seed: int) -> Rewards:
    """Infer which annotators agree and fit one reward per cluster, as a stored stage.

    Args:
        backbone: makes the reward models and their features.
        pairs: preference pairs with `user_id`.
        options: number of clusters, restarts and the reward models' options.
        seed: the run's seed.

    Returns:
        Normalised rewards with the annotators' assignment and a report of how EM went.
    """
    relevant = set(EMOptions.model_fields)
    key = {
        "reference": backbone.digest,
        "training": dict(backbone.training),
        "pairs": pairs_digest(pairs),
        "options": {k: v for k, v in options.model_dump().items() if k in relevant},
        "seed": seed,
    }

    # The same stage as single_reward's: neither needs to know whose labels they are.
    everybody = fit_everybody(backbone, pairs, options, seed).models[0]

    def compute(work: Work) -> None:
        save_rewards(work.path, _expectation_maximisation(backbone.at(work), pairs, everybody, options, seed))

    return load_rewards(backbone, backbone.cached("rewards", key, compute))


def _expectation_maximisation(
    backbone: Backbone, pairs: Pairs, everybody: Reward, options: EMOptions, seed: int
) -> Rewards:
    assert pairs.user_id is not None
    users, user_of_pair = np.unique(pairs.user_id, return_inverse=True)
    difference = feature_differences(backbone, pairs, everybody)
    start = best_start(difference, user_of_pair, options.clusters, options.em_restarts, seed)
    assignment = start.assignment
    models: list[Reward | None] = [None] * options.clusters
    per_user = np.zeros((len(users), options.clusters))
    trace: list[float] = []
    stopped = f"{options.em_iterations} iterations reached"
    changed = np.ones(options.clusters, dtype=bool)
    for iteration in range(options.em_iterations):
        previous = list(models), per_user.copy()
        for cluster in np.flatnonzero(changed):
            mine = np.flatnonzero(assignment[user_of_pair] == cluster)
            if len(mine) == 0:
                continue  # nobody prefers it: it keeps its reward, and the E-step may send it someone
            models[cluster] = backbone.fit_reward(
                pairs[mine],
                group_options(options),
                seed=seed,
                name=f"em-{iteration}-{cluster}",
                start=models[cluster] or everybody,
            )
            per_user[:, cluster] = _user_likelihood(models[cluster], pairs, user_of_pair, len(users))
        fitted = [cluster for cluster, model in enumerate(models) if model is not None]
        likelihood = float(per_user[np.arange(len(users)), assignment].sum())
        if trace and likelihood < trace[-1]:
            # The M-step is stochastic descent; a step that made things worse is taken back.
            models, per_user = previous
            stopped = "an M-step lowered the likelihood and was taken back"
            break
        trace.append(likelihood)
        moved = np.asarray(fitted)[per_user[:, fitted].argmax(axis=1)]
        if (moved == assignment).all():
            stopped = "assignment stable"
            break
        changed = np.array(
            [
                (moved == c).sum() > 0 and ((moved == c) != (assignment == c)).any()
                for c in range(options.clusters)
            ]
        )
        assignment = moved
        trace.append(float(per_user[np.arange(len(users)), assignment].sum()))
    fitted = [cluster for cluster, model in enumerate(models) if model is not None]
    renumber = {old: new for new, old in enumerate(fitted)}
    rewards = normalised([m for m in models if m is not None], [f"cluster {c}" for c in fitted], [pairs])
    rewards.assignment = {int(u): renumber[int(c)] for u, c in zip(users, assignment, strict=True)}
    rewards.em = {
        "clusters": options.clusters,
        "iterations": iteration + 1,
        "log_likelihood": [value / len(pairs) for value in trace],
        "start": start.name,
        "restarts": options.em_restarts + 1,
        "chosen_restart": start.index,
        "cluster_sizes": [int((assignment == c).sum()) for c in range(options.clusters)],
        "stopped": stopped,
    }
    return rewards


def _user_likelihood(model: Reward | None, pairs: Pairs, user_of_pair: np.ndarray, users: int) -> np.ndarray:
    assert model is not None
    margin = model.score(pairs.prompts, pairs.chosen) - model.score(pairs.prompts, pairs.rejected)
    return np.asarray(np.bincount(user_of_pair, weights=log_likelihood(margin), minlength=users))


def feature_differences(backbone: Backbone, pairs: Pairs, reward: Reward) -> np.ndarray:
    """Chosen minus rejected features [pairs, d], in units of each feature's spread over responses."""
    chosen = backbone.features(pairs.prompts, pairs.chosen, reward)
    rejected = backbone.features(pairs.prompts, pairs.rejected, reward)
    spread = np.concatenate([chosen, rejected]).std(axis=0)
    return np.asarray((chosen - rejected) / np.maximum(spread, 1e-6))


@dataclass(frozen=True)
class Start:
    """An assignment of annotators to clusters, and where it came from."""

    assignment: np.ndarray
    """[users] cluster of each annotator."""
    likelihood: float
    """Log-likelihood of the pairs under the linear rewards of this assignment."""
    name: str
    index: int
    """0 is the spectral start, 1 and up the random ones."""


def best_start(
    difference: np.ndarray, user_of_pair: np.ndarray, clusters: int, restarts: int, seed: int
) -> Start:
    """Linear hard EM from a spectral start and `restarts` random ones; the likeliest of them.

    Args:
        difference: feature differences chosen minus rejected, [pairs, d].
        user_of_pair: [pairs] index of the annotator.
        clusters: K.
        restarts: how many random starts besides the spectral one.
        seed: the run's seed.
    """
    users = int(user_of_pair.max()) + 1
    candidates: list[Start] = []
    for index in range(restarts + 1):
        rng = seeds.rng(seed, "em", index)
        first = (
            _spectral(difference, user_of_pair, clusters, rng)
            if index == 0
            else rng.permutation(np.arange(users) % clusters)
        )
        assignment, likelihood = linear_em(difference, user_of_pair, first, clusters)
        candidates.append(Start(assignment, likelihood, "random" if index else "spectral", index))
    return max(candidates, key=lambda start: start.likelihood)


def _spectral(
    difference: np.ndarray, user_of_pair: np.ndarray, clusters: int, rng: np.random.Generator
) -> np.ndarray:
    """Annotators who prefer the same features: k-means on the leading directions of their mean preference.

    A pair's difference points from rejected to chosen, so an annotator's mean difference estimates
    what they like; across annotators its leading principal components are what they disagree on.
    """
    from sklearn.cluster import KMeans

    users = int(user_of_pair.max()) + 1
    liking = np.zeros((users, difference.shape[1]))
    np.add.at(liking, user_of_pair, difference)
    liking /= np.bincount(user_of_pair, minlength=users)[:, None]
    centred = liking - liking.mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    points = left[:, :clusters] * strength[:clusters]
    means = KMeans(min(clusters, users), n_init=10, random_state=int(rng.integers(2**31)))
    return np.asarray(means.fit_predict(points), dtype=np.int64)


def linear_em(
    difference: np.ndarray, user_of_pair: np.ndarray, assignment: np.ndarray, clusters: int
) -> tuple[np.ndarray, float]:
    """Hard EM with linear rewards from a given assignment, until that is stable.

    An empty cluster is given the annotators whom their own cluster explains worst, one share of the
    users, because an empty cluster otherwise stays empty for ever.
    """
    users = len(assignment)
    for _ in range(LINEAR_ITERATIONS):
        per_user = np.empty((users, clusters))
        for cluster in range(clusters):
            mine = assignment[user_of_pair] == cluster
            weights = fit_linear(difference[mine], LINEAR_PENALTY)
            per_pair = log_likelihood(difference @ weights)
            per_user[:, cluster] = np.bincount(user_of_pair, weights=per_pair, minlength=users)
        moved = per_user.argmax(axis=1)
        own = per_user[np.arange(users), moved] / np.bincount(user_of_pair, minlength=users)
        for cluster in range(clusters):
            if users >= clusters and not (moved == cluster).any():
                worst = np.argsort(own, kind="stable")[: max(1, users // (2 * clusters))]
                moved[worst] = cluster
        if (moved == assignment).all():
            break
        assignment = moved
    return assignment, float(per_user[np.arange(users), assignment].sum())
