"""Routers: what is known of a person, turned into her weights of K experts.

A router takes a `Context` and gives weights [K], or None where the context says nothing that it reads. With
the margins m_jk = e_k(x_j, y_j+) - e_k(x_j, y_j-) of a person's labelled pairs C under the experts:

    posterior       p_k(C) ~ eta_k prod_j sigmoid(m_jk)                         each person is one of K
    fitted, free    argmin_w  sum_j -log sigmoid(m_j . w + o_j) + ridge |w - c|^2 / 2
    fitted, simplex the same over w >= 0 with sum_k w_k = 1

Of a label of strength Z both directions count, log sigmoid(m) by Z and log sigmoid(-m) by 1 - Z: a share of
votes is worth its votes.

The posterior is Bayes' rule for a mixture of K Bradley-Terry rewards with shares eta, and asks for rewards as
they were fitted (`Rewards.raw`): a normalised one has another scale, and another likelihood. The fit is the
few-shot step of low-rank rewards (LoRe, arXiv 2504.14439; RFM, arXiv 2503.17338) and of PAL (arXiv
2406.08469) with a Gaussian prior around c, which is all that is known of whoever labelled nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from prefbench.learn.adaptive import posterior as bayes
from prefbench.learn.interface import Context, Pairs
from prefbench.learn.newton import minimise_on_simplex
from prefbench.learn.rewards import log_likelihood, residual, strength_of
from prefbench.learn.weighted import Experts, margins

POPULATION_STEPS = 300
LEAST_VARIANCE = 1e-4
"""People whose slopes vary less are taken to vary by so much."""
Router = Callable[[Context], np.ndarray | None]
"""A person's context to her weights [K]; None where it says nothing that the router reads."""
Reading = Callable[[np.ndarray, np.ndarray | None], np.ndarray]
"""Margins [pairs, K] and strength [pairs] of a person's labels, None where all are certain, to weights."""


def posterior(margin: np.ndarray, prior: np.ndarray, strength: np.ndarray | None = None) -> np.ndarray:
    """p_k ~ prior_k prod_j sigmoid(margin_jk), [K].

    Args:
        margin: [pairs, K] raw rewards, chosen minus rejected.
        prior: [K] chances beforehand, not negative; they need not sum to one.
        strength: [pairs] of the labels; None where all are certain.
    """
    each = log_likelihood(margin, None if strength is None else strength[:, None])
    return bayes(each.sum(axis=0), prior)


def fit_free(
    margin: np.ndarray,
    ridge: float,
    centre: np.ndarray,
    offset: np.ndarray | float = 0.0,
    strength: np.ndarray | None = None,
) -> np.ndarray:
    """The weights that minimise sum_j -log sigmoid(margin_j . w + offset_j) + ridge |w - centre|^2 / 2, [K].

    Args:
        margin: [pairs, K] chosen minus rejected.
        ridge: precision of the prior on each weight; positive.
        centre: [K] mean of the prior, and the answer where there are no pairs.
        offset: [pairs] part of the margins that no weight moves.
        strength: [pairs] of the labels; None where all are certain.
    """
    from scipy.optimize import minimize

    if not len(margin):
        return centre
    start = margin @ centre + offset

    def objective(away: np.ndarray) -> tuple[float, np.ndarray]:
        reached = start + margin @ away
        value = -log_likelihood(reached, strength).sum() + ridge * (away @ away) / 2
        return float(value), ridge * away - margin.T @ residual(reached, strength)

    precise: Any = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 5000}
    found = minimize(objective, np.zeros(len(centre)), jac=True, method="L-BFGS-B", options=precise)
    return np.asarray(centre + found.x)


def fit_simplex(
    margin: np.ndarray,
    ridge: float,
    centre: np.ndarray,
    offset: np.ndarray | float = 0.0,
    strength: np.ndarray | None = None,
) -> np.ndarray:
    """The same over weights that are not negative and sum to one, [K]."""
    from scipy.special import expit

    if not len(margin):
        return centre

    def objective(w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        reached, away = margin @ w + offset, w - centre
        p = expit(-reached)
        value = -log_likelihood(reached, strength).sum() + ridge * (away @ away) / 2
        hessian = (margin * (p * (1 - p))[:, None]).T @ margin + ridge * np.eye(len(w))
        return float(value), ridge * away - margin.T @ residual(reached, strength), hessian

    return minimise_on_simplex(objective, len(centre), max(1.0, float(np.abs(margin).max())))


def population(
    margin: np.ndarray, user: np.ndarray, strength: np.ndarray | None = None
) -> tuple[float, float]:
    """Mean and variance of people's slopes: P(y+ beats y-) = sigmoid(b_u margin), b_u ~ N(mean, variance).

    By EM with a Gaussian for each posterior, at its mode and with the curvature there (Laplace).

    Args:
        margin: [pairs] of one reward, chosen minus rejected.
        user: [pairs] whose they are, from 0.
        strength: [pairs] of the labels; None where all are certain.
    """
    from scipy.special import expit

    users = int(user.max()) + 1
    mean, variance, slope = 1.0, 1.0, np.ones(users)
    for _ in range(POPULATION_STEPS):
        reached = slope[user] * margin
        p = expit(-reached)
        pull = np.bincount(user, margin * residual(reached, strength), users) - (slope - mean) / variance
        precision = np.bincount(user, margin**2 * p * (1 - p), users) + 1 / variance
        # One step of Newton's method for all modes at once; none further than the prior's spread allows.
        slope = slope + np.clip(pull / precision, -1, 1)
        mean = float(slope.mean())
        variance = max(float(((slope - mean) ** 2 + 1 / precision).mean()), LEAST_VARIANCE)
    return mean, variance


def by_pairs(experts: Experts, weights_of: Reading) -> Router:
    """A router that reads a context's pairs, by their margins under the experts and the labels' strength."""

    def router(context: Context) -> np.ndarray | None:
        if context.pairs is None or not len(context.pairs):
            return None
        return weights_of(margins(experts, context.pairs), strength_of(context.pairs))

    return router


def by_id(weights: Mapping[Any, np.ndarray]) -> Router:
    """A router that knows people by their ids, those whose labels it was fitted to."""

    def router(context: Context) -> np.ndarray | None:
        return None if context.user_id is None else weights.get(context.user_id)

    return router


def by_group(names: Sequence[str]) -> Router:
    """A router that is told the group: expert k is that of `names[k]`, and no other counts."""

    def router(context: Context) -> np.ndarray | None:
        return None if context.group not in names else np.eye(len(names))[names.index(context.group)]

    return router


def first(*routers: Router) -> Router:
    """The answer of the first router that has one."""

    def router(context: Context) -> np.ndarray | None:
        return next((w for each in routers if (w := each(context)) is not None), None)

    return router


def of_annotators(pairs: Pairs, weights_of: Callable[[np.ndarray], np.ndarray]) -> dict[Any, np.ndarray]:
    """Weights of each annotator of labelled pairs, by id; `weights_of` takes the places of her pairs."""
    assert pairs.user_id is not None
    users, user = np.unique(pairs.user_id, return_inverse=True)
    return {name: weights_of(np.flatnonzero(user == i)) for i, name in enumerate(users.tolist())}
