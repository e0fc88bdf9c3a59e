"""Linear rewards of many people who share a few directions: r_u(x, y) = phi(x, y) . V w_u, V in R^{d x K}.

With x a pair's difference of features, chosen minus rejected, V and all w_u minimise together

    sum over pairs of -log sigmoid(x . V w_u + o) + ridge |V|^2 / 2 + weight_ridge sum_u |w_u - 1/K|^2 / 2

with w_u free (RFM, arXiv 2503.17338; Park et al. 2024, arXiv 2405.00254) or in the simplex (LoRe, arXiv
2504.14439; PAL, arXiv 2406.08469). The offset o of a pair is what nobody moves, in PAL's distances the
squared lengths of the items; elsewhere zero. The problem is convex in V, and in the weights, but not in both:
it is solved by L-BFGS from rewards of the spectral clusters of annotators (`grouping.spectral`). For K = 1 in
the simplex it is one Bradley-Terry reward.

Of the factors only the product says anything: (V A, A^-1 w) has the same likelihood. The penalties choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from prefbench import seeds
from prefbench.arrays import Floats, Ints
from prefbench.learn.grouping import spectral
from prefbench.learn.interface import Aligned, Backbone, Pairs
from prefbench.learn.options import LowRankOptions, PersonalOptions
from prefbench.learn.rewards import fit_everybody, fit_linear, log_likelihood, pairs_of, residual, strength_of
from prefbench.learn.routers import by_id, by_pairs, first, fit_free, fit_simplex
from prefbench.learn.routing import personal, policies_of
from prefbench.learn.weighted import LEAST_SPREAD, Frozen, both_sides, margins, spread

if TYPE_CHECKING:
    from prefbench.problem.view import View

Form = Literal["simplex", "free"]
SURE = 0.8
"""Weight of an annotator's own cluster at the start, where weights are in the simplex."""
PRECISE: Any = {"gtol": 1e-8, "ftol": 1e-14, "maxiter": 3000, "maxfun": 6000}


@dataclass(frozen=True)
class SharedRewards:
    """Directions that people share, and each one's weights of them."""

    directions: Floats
    """[d, K] V."""
    weights: Floats
    """[users, K] w_u."""

    def margins(self, x: Floats, user: Ints) -> Floats:
        """Chosen minus rejected under everybody's own reward, less the offset, [pairs]."""
        return np.asarray(((x @ self.directions) * self.weights[user]).sum(axis=1))


def fit_low_rank(
    x: Floats,
    user: Ints,
    rank: int,
    form: Form,
    *,
    ridge: float,
    weight_ridge: float,
    seed: int,
    offset: Floats | float = 0.0,
    whole: bool = False,
    strength: Floats | None = None,
) -> SharedRewards:
    """Directions and weights fitted together.

    Args:
        x: [pairs, d] differences of features, chosen minus rejected.
        user: [pairs] whose they are, from 0.
        rank: K.
        form: what weights may be.
        ridge: of the directions.
        weight_ridge: of the weights, around 1/K; without it a free factor has no scale of its own.
        seed: of the clusters' start.
        offset: [pairs] o.
        whole: let `ridge` be a penalty of whole rewards, sum_u |V w_u|^2 / 2, instead of the directions: any
            rank that is large enough then gives the rewards that each would have alone.
        strength: [pairs] of the labels; None where all are certain.
    """
    from scipy.optimize import minimize

    users, width = int(user.max()) + 1, x.shape[1]
    start = _start(x, user, rank, seed, strength)
    cut = width * rank

    def parts(point: Floats) -> SharedRewards:
        raw = point[cut:].reshape(users, rank)
        return SharedRewards(point[:cut].reshape(width, rank), _softmax(raw) if form == "simplex" else raw)

    def objective(point: Floats) -> tuple[float, Floats]:
        now = parts(point)
        projected = x @ now.directions
        margin = (projected * now.weights[user]).sum(axis=1) + offset
        away = now.weights - 1 / rank
        rewards = now.directions @ now.weights.T  # [d, users]
        value = (
            -log_likelihood(margin, strength).sum()
            + ridge * ((rewards if whole else now.directions) ** 2).sum() / 2
            + weight_ridge * (away**2).sum() / 2
        )
        pull = -residual(margin, strength)
        by_user = np.zeros((users, rank))
        np.add.at(by_user, user, pull[:, None] * projected)
        by_user += weight_ridge * away + (ridge * rewards.T @ now.directions if whole else 0)
        if form == "simplex":
            by_user = now.weights * (by_user - (by_user * now.weights).sum(axis=1, keepdims=True))
        by_direction = x.T @ (pull[:, None] * now.weights[user])
        by_direction += ridge * (rewards @ now.weights if whole else now.directions)
        return float(value), np.concatenate([by_direction.ravel(), by_user.ravel()])

    first = np.full((users, rank), (1 - SURE) / rank) + SURE * np.eye(rank)[start]
    raw = np.log(first) if form == "simplex" else first
    by_cluster = [
        fit_linear(x[mine], ridge, strength=None if strength is None else strength[mine], precise=True)
        for mine in (start[user] == k for k in range(rank))
    ]
    point = np.concatenate([np.stack(by_cluster, axis=1).ravel(), raw.ravel()])
    found = minimize(objective, point, jac=True, method="L-BFGS-B", options=PRECISE)
    return parts(found.x)


def _start(x: Floats, user: Ints, rank: int, seed: int, strength: Floats | None) -> Ints:
    """Cluster of each user; with one direction there is one."""
    if rank == 1:
        return np.zeros(int(user.max()) + 1, dtype=np.int64)
    said = x if strength is None else x * (2 * strength - 1)[:, None]
    return spectral(said, user, rank, seeds.rng(seed, "low rank"))


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def fit_heads(
    experts: Frozen, train: Pairs, names: Sequence[str], rank: int, ridge: float, seed: int
) -> tuple[Floats, Floats]:
    """Rewards phi . V w_g of known groups with V of a few columns, each penalised as a whole.

    Returns:
        V w_g [d, G], scaled to unit spread over the responses in the pairs, and their means there [G].
    """
    assert train.group is not None
    chosen, rejected = both_sides(experts, train)
    group, said = np.array([names.index(name) for name in train.group]), np.concatenate([chosen, rejected])
    found = fit_low_rank(
        chosen - rejected,
        group,
        rank,
        "free",
        ridge=ridge * experts.penalty,
        weight_ridge=0.0,
        seed=seed,
        whole=True,
        strength=strength_of(train),
    )
    heads = [head / spread(head, said) for head in found.weights @ found.directions.T]
    return np.stack(heads, axis=1), np.asarray((said @ np.stack(heads, axis=1)).mean(axis=0))


def fit_departures(
    x: Floats,
    user: Ints,
    alpha: float,
    *,
    penalty: float,
    ridge: float,
    strength: Floats | None = None,
) -> tuple[Floats, Floats]:
    """One linear reward for all and each person's departure from it, fitted together; a convex problem.

    They minimise alpha sum -log sigmoid(x . (theta + o_u)) + (1 - alpha) sum -log sigmoid(x . theta)
    + penalty |theta|^2 / 2 + ridge sum_u |o_u|^2 / 2.

    Args:
        x: [pairs, d] differences of features, chosen minus rejected.
        user: [pairs] whose they are, from 0.
        alpha: weight of the loss with people's own rewards, from 0 to 1.
        penalty: of theta.
        ridge: of the departures.
        strength: [pairs] of the labels; None where all are certain.

    Returns:
        theta [d] and o [users, d].
    """
    from scipy.optimize import minimize

    users, width = int(user.max()) + 1, x.shape[1]

    def objective(point: Floats) -> tuple[float, Floats]:
        theta, own = point[:width], point[width:].reshape(users, width)
        shared = x @ theta
        margin = shared + (x * own[user]).sum(axis=1)
        losses = alpha * log_likelihood(margin, strength) + (1 - alpha) * log_likelihood(shared, strength)
        value = -losses.sum() + penalty * (theta @ theta) / 2 + ridge * (own**2).sum() / 2
        pull = -alpha * residual(margin, strength)
        by_user = ridge * own
        np.add.at(by_user, user, pull[:, None] * x)
        by_theta = x.T @ (pull - (1 - alpha) * residual(shared, strength)) + penalty * theta
        return float(value), np.concatenate([by_theta, by_user.ravel()])

    pooled = fit_linear(x, penalty, strength=strength, precise=True)
    start = np.concatenate([pooled, np.zeros(users * width)])
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=PRECISE).x
    return found[:width], found[width:].reshape(users, width)


def personal_departures(view: View, backbone: Backbone, alpha: float, ridge: float, beta: float) -> Aligned:
    """Policies of a world, pi_u ~ pi_ref exp(phi . (theta + o_u) / beta), with what `fit_departures` finds.

    Args:
        view: labels with `user_id`; who is not among their annotators has the policy of theta.
        backbone: of a world.
        alpha: weight of the loss with people's own policies.
        ridge: of their departures, in units of the world's own penalty.
        beta: strength of the implicit KL penalty.
    """
    train = pairs_of(view.preferences["train"])
    assert train.user_id is not None
    experts = Frozen.of(backbone, train, None)
    users, user = np.unique(train.user_id, return_inverse=True)
    shared, own = fit_departures(
        margins(experts, train),
        user,
        alpha,
        penalty=experts.penalty,
        ridge=ridge * experts.penalty,
        strength=strength_of(train),
    )
    seen = {name: shared + away for name, away in zip(users.tolist(), own, strict=True)}
    options = PersonalOptions.model_validate({"kl_coefficient": beta})
    return personal(policies_of(view, backbone, experts, options), shared, by_id(seen))


def personal_low_rank(
    view: View, backbone: Backbone, options: LowRankOptions, form: Form, bend: float | None = None
) -> Aligned:
    """Policies for low-rank rewards on the frozen features of everybody's reward.

    A new person's weights are fitted to her pairs with the directions as they are, around the mean of the
    annotators'; of whoever labelled nothing they are that mean. Each reward is scaled to unit spread over
    reference responses.

    Args:
        view: labels with `user_id`.
        backbone: gives features and policies.
        options: rank and penalties.
        form: what weights may be.
        bend: root mean square of what b |phi|^2 adds to the pairs' margins, where a person's reward is
            -b |phi - a_u|^2, of what is near her point a_u with 2 b a_u = V w_u; None of rewards phi . V w_u.
    """
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    assert train.user_id is not None
    everybody = fit_everybody(backbone, train, options, view.seed, held_out)
    experts = Frozen.of(backbone, train, everybody.models[0], "nothing" if bend is None else "square")
    chosen, rejected = both_sides(experts, train)
    said, labelled, width = np.concatenate([chosen, rejected]), chosen - rejected, len(experts.scale)
    users, user = np.unique(train.user_id, return_inverse=True)
    square = labelled[:, width:]  # no column or one, minus |phi|^2
    scale = np.full(square.shape[1], bend or 0.0) / np.maximum(
        np.sqrt((square**2).mean(axis=0)), LEAST_SPREAD
    )
    found = fit_low_rank(
        labelled[:, :width],
        user,
        options.rank,
        form,
        ridge=options.direction_ridge * experts.penalty,
        weight_ridge=options.weight_ridge,
        seed=view.seed,
        offset=square @ scale,
        strength=strength_of(train),
    )
    fit, centre = fit_simplex if form == "simplex" else fit_free, found.weights.mean(axis=0)

    def reward(weights: Floats) -> Floats:
        whole = np.concatenate([found.directions @ weights, scale])
        return np.asarray(whole / spread(whole, said))

    def fitted(margin: Floats, strength: Floats | None) -> Floats:
        projected, offset = margin[:, :width] @ found.directions, margin[:, width:] @ scale
        return reward(fit(projected, options.weight_ridge, centre, offset, strength))

    seen = dict(zip(users.tolist(), map(reward, found.weights), strict=True))
    router = first(by_id(seen), by_pairs(experts, fitted))
    return personal(policies_of(view, backbone, experts, options), reward(centre), router)
