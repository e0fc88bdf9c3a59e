"""The loss of a policy against exact optima, where every response can be listed.

Utilities are normalised as rewards are (zero mean and unit standard deviation over reference responses),
and a group's value of a policy is V_g = E u_g - beta KL(pi || pi_ref), so that no optimum is degenerate. The
regret of a group is max_pi V_g - V_g(pi): the alignment gap of MaxMin-RLHF (arXiv 2402.08925, section 3),
and equal to beta times the KL divergence of the policy from that group's own optimum.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.learn import exact
from prefbench.learn.game import Game, group_optima

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("state", "state_weight", "response", "reference", "policy")
"""Columns of a distribution, before one `utility/<group>` each: state number, P(state), text, pi_ref and pi
of it."""


def regrets(distribution: pd.DataFrame, groups: Sequence[str], beta: float) -> dict[str, Any]:
    """The record's `regret` block, from every response with its probabilities.

    Args:
        distribution: rows sorted by state, equally many for each; see `COLUMNS`.
        groups: names, as in the utility columns.
        beta: KL weight, in standard deviations of utility per nat.

    Raises:
        PrefbenchError: an exact solution did not reach its certificate.
    """
    game = exact_game(distribution, groups, beta)
    with np.errstate(divide="ignore"):
        logprob = np.log(_table(distribution, "policy"))
    values = game.values(logprob)
    best = group_optima(game)
    fairest = exact.maxmin(game)
    lost = np.maximum(best - values, 0.0)
    return {
        "beta": beta,
        "groups": [
            {"name": name, "value": float(value), "best": float(most), "regret": float(less)}
            for name, value, most, less in zip(groups, values, best, lost, strict=True)
        ],
        "max_regret": float(lost.max()),
        "egalitarian_regret": max(0.0, float(fairest.welfare - values.min())),
        "pareto_distance": exact.pareto_distance(game, values),
        "kl": max(0.0, game.kl(logprob)),
        "certificate": fairest.gap,
    }


def exact_game(distribution: pd.DataFrame, groups: Sequence[str], beta: float) -> Game:
    """The game of the groups over states and responses that are listed, in normalised utilities.

    Args:
        distribution: as `regrets` takes it; the policy's own column is not looked at.
        groups: names, as in the utility columns.
        beta: KL weight, in standard deviations of utility per nat.
    """
    table = functools.partial(_table, distribution)
    reference, weights = table("reference"), table("state_weight")[:, 0]
    utility = np.stack([table(f"utility/{name}") for name in groups], axis=2)
    return normalised_game(utility, reference, weights, beta)


def normalised_game(utility: Floats, reference: Floats, weights: Floats, beta: float) -> Game:
    """The game of utilities once they have zero mean and unit spread over reference responses.

    Args:
        utility: [S, R, G], in any units.
        reference: [S, R] pi_ref(y | x).
        weights: [S] P(x), summing to one.
        beta: KL weight, in standard deviations of utility per nat.
    """
    mass = (reference * weights[:, None])[..., None]
    centred = utility - (utility * mass).sum(axis=(0, 1))
    spread = np.sqrt((centred**2 * mass).sum(axis=(0, 1)))
    return Game(centred / np.maximum(spread, 1e-12), reference, weights, beta)


def preference_losses(
    distribution: pd.DataFrame, groups: Sequence[str], *, beta: float, temperature: float
) -> dict[str, float]:
    """Each group's DPO loss of a policy, without sampling: what GR-DPO calls validation loss.

    In nats per pair,
    L_g = -E [p_g log sigmoid(beta D) + (1 - p_g) log sigmoid(-beta D)] over pairs of reference responses,
    with D = log pi(a)/pi_ref(a) - log pi(b)/pi_ref(b) and p_g = sigmoid((u_g(a) - u_g(b)) / (temperature
    spread)).

    Args:
        distribution: as `regrets` takes it.
        groups: names, as in the utility columns.
        beta: of the implicit reward.
        temperature: label noise, in standard deviations of the group's utility over reference responses.
    """
    table = functools.partial(_table, distribution)
    reference = table("reference")
    mass = reference * table("state_weight")
    both = mass[:, :, None] * reference[:, None, :]
    ratio = beta * np.log(table("policy") / reference)
    margin = ratio[:, :, None] - ratio[:, None, :]
    result = {}
    for name in groups:
        utility = table(f"utility/{name}")
        mean = (utility * mass).sum()
        scale = temperature * np.sqrt((mass * (utility - mean) ** 2).sum())
        preferred = 1 / (1 + np.exp(-(utility[:, :, None] - utility[:, None, :]) / scale))
        losses = preferred * np.logaddexp(0, -margin) + (1 - preferred) * np.logaddexp(0, margin)
        result[name] = float((both * losses).sum())
    return result


def _table(distribution: pd.DataFrame, column: str) -> np.ndarray:
    """A column as [S, R]: rows are sorted by state, equally many for each."""
    states = distribution["state"].nunique()
    return distribution[column].to_numpy(dtype=np.float64).reshape(states, -1)
