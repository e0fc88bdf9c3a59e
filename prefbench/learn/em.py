"""A mixture of rewards by expectation-maximisation over annotators (MaxMin-RLHF, Algorithm 2).

E-step: u(h) = argmax_u prod over h's pairs of sigmoid(r_u(y+) - r_u(y-)), one cluster per annotator.
M-step: r_u = argmin of the Bradley-Terry negative log-likelihood of the pairs of u's annotators.

That is hard EM, the paper's; soft EM and the number of clusters by held-out likelihood are options.

Hard EM keeps whatever structure it starts from, so the start decides, and linear rewards on frozen features
are cheap. `features` finds the groups on the reference's, each annotator judged by rewards of others
(`learn/grouping.py`); then each cluster's reward is trained once, and once more where that moves somebody.
`plain` runs the whole algorithm on the features of a reward fitted to everybody, from a spectral start and
from many random ones; the likeliest assignment starts the rounds of trained rewards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from prefbench.errors import UserError
from prefbench.learn.grouping import group, starts, word_differences
from prefbench.learn.interface import Backbone, Pairs, Reward, Rewards
from prefbench.learn.options import EMOptions
from prefbench.learn.rewards import (
    by_cluster,
    fit_everybody,
    fit_linear,
    group_options,
    load_rewards,
    log_likelihood,
    normalised,
    ordered,
    pairs_digest,
    save_rewards,
    say_what_was_not_learned,
    scores_of,
)
from prefbench.work import em_rounds

if TYPE_CHECKING:
    from prefbench.store.stages import Work

LINEAR_ITERATIONS = 50
SOFT_TOLERANCE = 1e-3  # largest change of a responsibility at which soft EM stops
# Few pairs and perhaps many features: an annotator's likelihood must not be memorised. The ridge penalty is a
# Gaussian prior on weights; in proportion to the number of features it gives every pair's margin this
# variance.
LINEAR_PRIOR_VARIANCE = 1.28


def fit_mixture(
    backbone: Backbone, pairs: Pairs, options: EMOptions, seed: int, held_out: Pairs | None = None
) -> Rewards:
    """Infer which annotators agree and fit one reward per cluster, as a stored stage.

    Args:
        backbone: makes the reward models and their features.
        pairs: preference pairs with `user_id`.
        options: number of clusters, restarts and the reward models' options.
        seed: the run's seed.
        held_out: pairs of the same annotators that choose the number of clusters, or between the weights of
            a reward's training, where the options let them.

    Returns:
        Normalised rewards with the annotators' assignment and a report of how EM went.

    Raises:
        UserError: there are more clusters than annotators.
    """
    assert pairs.user_id is not None
    most = options.select_clusters or options.clusters
    if options.em_unit == "annotator" and most > len(np.unique(pairs.user_id)):
        raise UserError(
            f"{most} clusters are more than the {len(np.unique(pairs.user_id))} annotators: lower "
            f"aligner.{'select_clusters' if options.select_clusters else 'clusters'}."
        )
    if options.select_clusters is None:
        rewards = _fit_stored_mixture(backbone, pairs, options, seed, held_out)
    else:
        if held_out is None or not len(held_out):
            raise UserError(
                "aligner.select_clusters needs held-out pairs, and this task has none: set aligner.clusters "
                "instead."
            )
        rewards = _select_clusters(backbone, pairs, held_out, options, seed)
    say_what_was_not_learned(backbone, rewards)
    return rewards


def _fit_stored_mixture(
    backbone: Backbone, pairs: Pairs, options: EMOptions, seed: int, held_out: Pairs | None
) -> Rewards:
    relevant = set(EMOptions.model_fields)
    key = {
        "reference": backbone.digest,
        "training": dict(backbone.training),
        "pairs": pairs_digest(pairs),
        "held_out": None if held_out is None else pairs_digest(held_out),
        "options": {k: v for k, v in options.model_dump().items() if k in relevant},
        "seed": seed,
    }

    # The same stage as single_reward's: neither needs to know whose labels they are.
    everybody = fit_everybody(backbone, pairs, options, seed, held_out).models[0]

    def compute(work: Work) -> None:
        found = _expectation_maximisation(backbone.at(work), pairs, everybody, options, seed, held_out)
        if held_out is not None:
            theirs = by_cluster(held_out, found)
            found.held_out = [ordered(*each) for each in zip(found.models, theirs, strict=True)]
        save_rewards(work.path, found)

    return load_rewards(backbone, backbone.cached("rewards", key, compute))


def _select_clusters(
    backbone: Backbone, pairs: Pairs, held_out: Pairs, options: EMOptions, seed: int
) -> Rewards:
    """The fewest clusters whose held-out likelihood is within one standard error of the best.

    A held-out pair is judged by the cluster that its annotator was placed in; the standard error is of the
    paired difference (the one-standard-error rule of Breiman et al. 1984).
    """
    assert options.select_clusters is not None and held_out.user_id is not None and pairs.user_id is not None
    # Of people who labelled nothing else it is not known which cluster is theirs.
    held_out = held_out[np.flatnonzero(np.isin(held_out.user_id, pairs.user_id))]
    assert held_out.user_id is not None
    if len(held_out) < 2:
        raise UserError(
            "aligner.select_clusters needs two or more validation pairs of people who labelled train pairs "
            "too, and this task has none or one: set aligner.clusters instead."
        )
    fitted, scores = [], []
    for clusters in range(1, options.select_clusters + 1):
        tried = options.model_copy(update={"clusters": clusters, "select_clusters": None})
        rewards = _fit_stored_mixture(backbone, pairs, tried, seed, held_out)
        assert rewards.assignment is not None
        each = np.stack([scores_of(model, held_out) for model in rewards.models])
        margin = each[:, 0] - each[:, 1]
        cluster = np.array([rewards.assignment[user] for user in held_out.user_id.tolist()])
        fitted.append(rewards)
        scores.append(log_likelihood(margin[cluster, np.arange(len(cluster))], held_out.strength))
    best = scores[int(np.argmax([score.mean() for score in scores]))]
    behind = [best - score for score in scores]
    close = [gap.mean() <= gap.std(ddof=1) / len(gap) ** 0.5 for gap in behind]
    chosen = fitted[close.index(True)]
    assert chosen.em is not None
    chosen.em = {**chosen.em, "held_out": [float(score.mean()) for score in scores]}
    return chosen


def _expectation_maximisation(
    backbone: Backbone,
    pairs: Pairs,
    everybody: Reward,
    options: EMOptions,
    seed: int,
    held_out: Pairs | None,
) -> Rewards:
    assert pairs.user_id is not None
    users, user_of_pair = np.unique(pairs.user_id, return_inverse=True)
    # The control that must do worse: a pair alone says next to nothing about who labelled it.
    unit_of_pair = np.arange(len(pairs)) if options.em_unit == "pair" else user_of_pair
    start = first_grouping(backbone, pairs, everybody, unit_of_pair, options, seed)
    iterations = em_rounds(options.em, options.em_iterations)
    options = options.model_copy(update={"em_iterations": iterations})
    rounds = _soft_rounds if options.em_assignment == "soft" else _hard_rounds

    def checked(weight: np.ndarray) -> Pairs | None:
        """The held-out pairs of a cluster's annotators; None where single pairs are placed."""
        if held_out is None or options.em_unit == "pair":
            return None
        assert held_out.user_id is not None
        known = held_out[np.flatnonzero(np.isin(held_out.user_id, users))]
        assert known.user_id is not None
        each = weight[np.searchsorted(users, known.user_id)]
        return replace(known, weights=each)[np.flatnonzero(each > 0)]

    def m_step(mine: Pairs, weight: np.ndarray, before: _Fit | None, name: str) -> _Fit:
        """A cluster's reward on its pairs, warm from the one before."""
        warm = everybody if before is None else before.reward
        reward = backbone.fit_reward(
            mine,
            group_options(options),
            seed=seed,
            name=name,
            start=warm,
            adapts=True,
            held_out=checked(weight),
        )
        return _Fit(reward, scores_of(reward, pairs), pairs.strength)

    found = rounds(pairs, unit_of_pair, start, m_step, options)
    # An annotator of several units is where most of them are.
    votes = np.zeros((len(users), options.clusters), dtype=int)
    np.add.at(votes, (user_of_pair, found.assignment[unit_of_pair]), 1)
    assignment = votes.argmax(axis=1)
    # A cluster that lost everybody speaks for nobody, and must not be anybody's worst group.
    kept = {c: fit for c, fit in enumerate(found.fits) if fit is not None and (found.assignment == c).any()}
    renumber = {old: new for new, old in enumerate(kept)}
    rewards = normalised(
        [fit.reward for fit in kept.values()],
        [f"cluster {c}" for c in kept],
        [fit.scores for fit in kept.values()],
    )
    each = zip(users.tolist(), assignment.tolist(), strict=True)
    rewards.assignment = {user: renumber[cluster] for user, cluster in each}
    rewards.em = {
        "clusters": options.clusters,
        "iterations": found.iterations,
        "log_likelihood": [value / len(pairs) for value in found.trace],
        "start": start.name,
        "restarts": options.em_restarts + 1,
        "chosen_restart": start.index,
        "cluster_sizes": [int((assignment == c).sum()) for c in range(options.clusters)],
        "stopped": found.stopped,
        "assignment": options.em_assignment,
        "unit": options.em_unit,
    }
    return rewards


@dataclass(frozen=True)
class _Fit:
    """A cluster's reward."""

    reward: Reward
    scores: np.ndarray
    """[2, pairs] what it gives to the chosen and the rejected response of every pair."""
    strength: np.ndarray | None
    """[pairs] of the labels; None where all are certain."""

    def likelihood(self, unit_of_pair: np.ndarray, units: int) -> np.ndarray:
        """Log-likelihood of each unit's pairs, in nats."""
        each = log_likelihood(self.scores[0] - self.scores[1], self.strength)
        return np.asarray(np.bincount(unit_of_pair, weights=each, minlength=units))


_MStep = Callable[[Pairs, np.ndarray, "_Fit | None", str], _Fit]
"""A cluster's pairs, each unit's weight in it, its fit of the round before and a name for checkpoints, to its
new fit."""


@dataclass(frozen=True)
class _Rounds:
    """The result of a run of E- and M-steps."""

    fits: list[_Fit | None]
    """[K] None where nobody was ever placed."""
    assignment: np.ndarray
    """[units] likeliest cluster of each."""
    trace: list[float]
    """Log-likelihood of all pairs, in nats."""
    iterations: int
    stopped: str


def _hard_rounds(
    pairs: Pairs,
    unit_of_pair: np.ndarray,
    start: Start,
    m_step: _MStep,
    options: EMOptions,
) -> _Rounds:
    assignment = start.assignment
    units = len(assignment)
    fits: list[_Fit | None] = [None] * options.clusters
    per_unit = np.zeros((units, options.clusters))
    trace: list[float] = []
    stopped = f"{options.em_iterations} iterations reached"
    changed = np.ones(options.clusters, dtype=bool)
    for iteration in range(options.em_iterations):
        previous = list(fits), per_unit.copy()
        for cluster in np.flatnonzero(changed):
            members = assignment == cluster
            mine = np.flatnonzero(members[unit_of_pair])
            if len(mine) == 0:
                continue  # nobody prefers it: it keeps its reward, and the E-step may send it someone
            name = f"em-{iteration}-{cluster}"
            fits[cluster] = fit = m_step(pairs[mine], members.astype(float), fits[cluster], name)
            per_unit[:, cluster] = fit.likelihood(unit_of_pair, units)
        fitted = [cluster for cluster, fit in enumerate(fits) if fit is not None]
        likelihood = float(per_unit[np.arange(units), assignment].sum())
        if trace and likelihood < trace[-1]:
            # The M-step is stochastic descent; a step that made things worse is taken back.
            fits, per_unit = previous
            stopped = "an M-step lowered the likelihood and was taken back"
            break
        trace.append(likelihood)
        moved = np.asarray(fitted)[(per_unit + start.prior)[:, fitted].argmax(axis=1)]
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
        trace.append(float(per_unit[np.arange(units), assignment].sum()))
    return _Rounds(fits, assignment, trace, iteration + 1, stopped)


def _soft_rounds(
    pairs: Pairs,
    unit_of_pair: np.ndarray,
    start: Start,
    m_step: _MStep,
    options: EMOptions,
) -> _Rounds:
    """EM proper: responsibilities g_hk ~ eta_k prod over h's pairs of sigmoid(r_k(y+) - r_k(y-))."""
    units, count = len(start.assignment), options.clusters
    responsibility = np.zeros((units, count))
    responsibility[np.arange(units), start.assignment] = 1
    fits: list[_Fit | None] = [None] * count
    trace: list[float] = []
    stopped = f"{options.em_iterations} iterations reached"
    for iteration in range(options.em_iterations):
        previous = list(fits)
        per_unit = np.full((units, count), -np.inf)
        share = responsibility.mean(axis=0)
        for cluster in np.flatnonzero(share > 0):
            weight = responsibility[:, cluster]
            weighted = replace(pairs, weights=weight[unit_of_pair])
            fits[cluster] = fit = m_step(weighted, weight, fits[cluster], f"em-{iteration}-{cluster}")
            likelihood = fit.likelihood(unit_of_pair, units)
            per_unit[:, cluster] = np.log(share[cluster]) + likelihood + start.prior[:, cluster]
        top = per_unit.max(axis=1, keepdims=True)
        marginal = top + np.log(np.exp(per_unit - top).sum(axis=1, keepdims=True))
        if trace and float(marginal.sum()) < trace[-1]:
            fits = previous
            stopped = "an M-step lowered the likelihood and was taken back"
            break
        trace.append(float(marginal.sum()))
        before, responsibility = responsibility, np.exp(per_unit - marginal)
        if np.abs(responsibility - before).max() < SOFT_TOLERANCE:
            stopped = "assignment stable"
            break
    return _Rounds(fits, responsibility.argmax(axis=1), trace, iteration + 1, stopped)


def feature_differences(backbone: Backbone, pairs: Pairs, reward: Reward | None = None) -> np.ndarray:
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
    prior: np.ndarray
    """[users, K] log-probabilities of clusters before trained rewards are asked; zeros for nothing known."""


def first_grouping(
    backbone: Backbone,
    pairs: Pairs,
    everybody: Reward | None,
    unit_of_pair: np.ndarray,
    options: EMOptions,
    seed: int,
) -> Start:
    """Grouping from which trained rewards or policies start, on the features that `aligner.em` names.

    `plain` needs `everybody`, a reward fitted to all pairs; `features` does without.
    """
    if options.em == "plain":
        difference = feature_differences(backbone, pairs, everybody)
        return best_start(
            difference, unit_of_pair, options.clusters, options.em_restarts, seed, pairs.strength
        )
    # Of the reference: what was trained on these labels would tell an annotator's own in her features.
    difference = feature_differences(backbone, pairs)
    words = word_differences(pairs.chosen, pairs.rejected)
    found = group(
        difference, words, unit_of_pair, options.clusters, options.em_restarts, seed, pairs.strength
    )
    # Trained rewards know the pairs by heart: they move nobody of whom the features are sure.
    prior = np.log(np.maximum(found.responsibility, 1e-12))
    return Start(found.assignment, found.likelihood, found.name, found.index, prior)


def best_start(
    difference: np.ndarray,
    user_of_pair: np.ndarray,
    clusters: int,
    restarts: int,
    seed: int,
    strength: np.ndarray | None = None,
) -> Start:
    """Linear hard EM from a spectral start and `restarts` random ones; the likeliest of them.

    Args:
        difference: feature differences chosen minus rejected, [pairs, d].
        user_of_pair: [pairs] index of the annotator.
        clusters: K.
        restarts: how many random starts besides the spectral one.
        seed: the run's seed.
        strength: of the labels, [pairs]; None where all are certain.
    """
    users = int(user_of_pair.max()) + 1
    candidates: list[Start] = []
    for index, first in enumerate(starts(difference, user_of_pair, clusters, restarts, seed, strength)):
        assignment, likelihood = linear_em(difference, user_of_pair, first, clusters, strength)
        name = "random" if index else "spectral"
        candidates.append(Start(assignment, likelihood, name, index, np.zeros((users, clusters))))
    return max(candidates, key=lambda start: start.likelihood)


def linear_em(
    difference: np.ndarray,
    user_of_pair: np.ndarray,
    assignment: np.ndarray,
    clusters: int,
    strength: np.ndarray | None = None,
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
            theirs = None if strength is None else strength[mine]
            weights = fit_linear(
                difference[mine], difference.shape[1] / LINEAR_PRIOR_VARIANCE, strength=theirs
            )
            per_pair = log_likelihood(difference @ weights, strength)
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
