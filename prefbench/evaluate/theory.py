"""The theory of one reward for several groups, held against exact values on worlds that can be listed.

MaxMin-RLHF (Chakraborty et al. 2024, arXiv 2402.08925) bounds from below how far a reward fitted to pooled
labels is from a group's own, and what the group then loses. Here both sides are computed as finite sums, in
the limit of infinitely many labels; nothing is sampled. Derivations, and what is only quoted: docs/theory.md.

Symbols: P(x) is how often a training pair asks about state x, psi the features, r_u = phi_u . psi a group's
reward in log odds of its labels, eta_u its share of annotators, and d = psi(x, y1) - psi(x, y2) for x from P
and y1, y2 from the reference policy, which is also how pairs arise. Distances between preferences are total
variations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prefbench.arrays import Floats
from prefbench.errors import PrefbenchError, UserError
from prefbench.learn.game import Game
from prefbench.problem.problem import Problem, apportion
from prefbench.problem.world import World

RANK = 1e-10
"""Directions in which features vary less than this, relative to the largest variance, do not vary at all."""
CONDITION = 1e-8
"""Smallest ratio of the least to the largest variance of the directions that are left."""
NONLINEAR = 1e-8
"""Largest part of a utility's standard deviation that the features may leave unexplained."""
GRADIENT = 1e-10
"""Norm of the likelihood's gradient at which the pooled fit is exact, features having variance one."""
NEWTON_STEPS = 100
KL_WEIGHTS = (1e-6, 1e6)
"""Least and largest KL weight, in log odds of a label per nat."""
PAIR_NUMBERS = 100_000_000
"""Most numbers that the table of all pairs may have: below one gigabyte."""


@dataclass(frozen=True)
class Bound:
    """An inequality between two columns of `sweep`'s result."""

    column: str
    measured: str
    meaning: str
    """Name in docs/theory.md; the number is that of the derivation there."""
    upper: bool = False
    quoted: bool = False
    """From the paper at second hand; the others are derived in docs/theory.md."""


BOUNDS = (
    Bound("tv_pooled_bound", "tv_pooled", "(1) TV(p*, p_u)"),
    Bound("tv_fitted_bound", "tv_fitted", "(2) TV(p_phi*, p_u)"),
    Bound("mismatch_bound_tv", "mismatch", "(2) mismatch, by TV"),
    Bound("mismatch_bound_moment", "mismatch", "(3) mismatch, by moments"),
    Bound("mismatch_bound_two_groups", "mismatch", "(3) mismatch, two groups"),
    Bound("gap_bound", "gap", "(4) gap, whole segment"),
    Bound("gap_bound_local", "gap", "(4) gap, local"),
    Bound("gap_bound_chain", "gap", "(4) gap, mismatch bounded"),
    Bound("gap_ceiling", "gap", "(4) gap, from above", upper=True),
    Bound("lemma_1", "mismatch", "Lemma 1 as quoted", quoted=True),
    Bound("theorem_1", "gap_max", "Theorem 1 as quoted", quoted=True),
)


@dataclass(frozen=True)
class Instance:
    """A problem as the theory needs it: S states, R responses, G groups, k features that vary, n pairs."""

    names: tuple[str, ...]
    shares: Floats
    """[G] of annotators, whole ones."""
    weights: Floats
    """[S] P(x)."""
    reference: Floats
    """[S, R] pi_ref(y | x)."""
    rewards: Floats
    """[S, R, G] in log odds of a label."""
    features: Floats
    """[S, R, k] of mean zero in each state under pi_ref, uncorrelated over states."""
    gram: Floats
    """[k] their variances: the eigenvalues of E_x Cov_ref(psi), ascending."""
    phi: Floats
    """[G, k] each group's reward in these features."""
    differences: Floats
    """[n, k] d of every pair of different responses, each counted in one order."""
    mass: Floats
    """[n] probability of each pair in either order; what is missing to one are pairs of equal responses."""

    def preferences(self, phi: Floats) -> Floats:
        """P(first is preferred) under rewards phi [..., k], as [n, ...]."""
        return np.asarray((1 + np.tanh(self.differences @ phi.T / 2)) / 2)

    def distance(self, first: Floats, second: Floats) -> float:
        """Total variation between two preferences, [n] each."""
        return float(self.mass @ np.abs(first - second))


def world_of(problem: Problem, without_noise: str) -> World:
    """The world of a problem whose labels have noise.

    Args:
        problem: the problem.
        without_noise: what is the matter where they have none.

    Raises:
        UserError: it has no world, or no label noise.
    """
    if problem.world is None:
        raise UserError("this problem has no world to list: name a task for the finite model.")
    if not problem.temperature > 0:
        raise UserError(
            f"task.temperature={problem.temperature:g}: without label noise {without_noise}; set "
            "task.temperature above 0."
        )
    return problem.world


def instance(problem: Problem) -> Instance:
    """The problem as the theory sees it.

    Raises:
        UserError: the problem has no world, no label noise, too many pairs, or features for which the theory
            is not meant.
    """
    world = world_of(problem, "there is no Bradley-Terry model")
    count = np.bincount(world.rows(problem.prompts.train), minlength=len(world.responses))
    asked = count > 0
    weights = count[asked] / count.sum()
    reference, utilities = world.reference[asked], world.utilities[asked]
    mass = weights[:, None] * reference
    responses = reference.shape[1]
    if (pairs := len(weights) * responses * (responses - 1) // 2 * world.features.shape[2]) > PAIR_NUMBERS:
        raise UserError(
            f"the table of all pairs would have {pairs:.2g} numbers, above {PAIR_NUMBERS:.0e}: take fewer "
            "responses or states."
        )

    mean = np.tensordot(mass, utilities, 2)
    rewards = utilities / (problem.temperature * np.sqrt(np.tensordot(mass, (utilities - mean) ** 2, 2)))
    names = tuple(group.name for group in problem.groups)
    features, gram = _independent(_centred(world.features[asked], reference), mass)
    phi = _linear(names, _centred(rewards, reference), features, gram, mass)
    first, second = np.triu_indices(responses, 1)
    shares = apportion([group.share for group in problem.groups], problem.annotators)
    return Instance(
        names=names,
        shares=np.array(shares) / problem.annotators,
        weights=weights,
        reference=reference,
        rewards=rewards,
        features=features,
        gram=gram,
        phi=phi,
        differences=(features[:, first] - features[:, second]).reshape(-1, len(gram)),
        mass=(2 * weights[:, None] * reference[:, first] * reference[:, second]).ravel(),
    )


def _centred(values: Floats, reference: Floats) -> Floats:
    """Values without each state's mean, which no preference depends on; [S, R, any]."""
    return np.asarray(values - (values * reference[..., None]).sum(axis=1, keepdims=True))


def _independent(features: Floats, mass: Floats) -> tuple[Floats, Floats]:
    """Centred features along the eigenvectors of E_x Cov_ref(psi) in which they vary, and its eigenvalues.

    Raises:
        UserError: the directions vary so unequally that parameters mean little.
    """
    covariance = np.einsum("sr,sri,srj->ij", mass, features, features)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    if not eigenvalues[-1] > 0:
        raise UserError(
            "the features are the same for all responses of a state: no reward can tell them "
            "apart; change task.dimensions."
        )
    varying = eigenvalues > RANK * eigenvalues[-1]
    gram = eigenvalues[varying]
    if gram[0] < CONDITION * gram[-1]:
        raise UserError(
            f"ill-conditioned features: their variances have a ratio of {gram[0] / gram[-1]:.1g}, below "
            f"{CONDITION:.0e}; rescale or drop the ones that hardly vary."
        )
    return features @ vectors[:, varying], gram


def _linear(names: Sequence[str], rewards: Floats, features: Floats, gram: Floats, mass: Floats) -> Floats:
    """phi_u of each group, [G, k].

    Raises:
        UserError: a group's utility is not linear in the features.
    """
    # Features along eigenvectors are uncorrelated, so least squares is a division.
    phi = np.einsum("sr,srg,srk->gk", mass, rewards, features) / gram
    left = np.sqrt(np.tensordot(mass, (rewards - features @ phi.T) ** 2, 2))
    spread = np.sqrt(np.tensordot(mass, rewards**2, 2))
    for name, rest, whole in zip(names, left, spread, strict=True):
        if not rest <= NONLINEAR * whole:
            raise UserError(
                f"the utility of group '{name}' is not linear in the features ({rest / whole:.1g} of its "
                "standard deviation is left over): the theory is about linear rewards, add what is missing."
            )
    return np.asarray(phi)


def pooled_reward(problem: Instance) -> Floats:
    """phi*, [k]: the linear reward of largest expected likelihood under the mixture of all groups' labels.

    Newton's method with backtracking on a strictly concave function.

    Raises:
        PrefbenchError: the gradient did not vanish.
    """
    scale = np.sqrt(problem.gram)
    design = problem.differences / scale
    target = problem.preferences(problem.phi) @ problem.shares

    def loss(at: Floats) -> float:
        margin = design @ at
        return float(problem.mass @ (np.logaddexp(0, margin) - target * margin))

    phi = np.zeros(len(scale))  # where no pair is certain, so that there is curvature in every direction
    for _ in range(NEWTON_STEPS):
        fitted = problem.preferences(phi / scale)
        gradient = (problem.mass * (fitted - target)) @ design
        if np.linalg.norm(gradient) < GRADIENT:
            return np.asarray(phi / scale)
        hessian = design.T @ (design * (problem.mass * fitted * (1 - fitted))[:, None])
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            break  # labels so certain that rounding leaves no curvature
        slope, before, length = float(gradient @ step), loss(phi), 1.0
        # A gain that would drown in rounding is no reason to shorten the step.
        while slope > 1e-12 and loss(phi - length * step) > before - 1e-4 * length * slope and length > 1e-9:
            length /= 2
        phi = phi - length * step
    raise PrefbenchError(
        "the pooled reward was not found to full precision, as labels are almost certain: raise "
        "task.temperature."
    )


def measure(problem: Problem, betas: Sequence[float]) -> list[dict[str, Any]]:
    """Constants, measured quantities, bounds and whether they hold, one row for each KL weight.

    Args:
        problem: one with a world.
        betas: KL weights in units of reward, which is in log odds of a label.

    Returns:
        Rows of one form; docs/theory.md explains the columns. A bound that does not apply is None, and so is
        whether it holds.

    Raises:
        UserError: see `instance`; or a KL weight is not within `KL_WEIGHTS`.
        PrefbenchError: see `pooled_reward`.
    """
    for beta in betas:
        if not KL_WEIGHTS[0] <= beta <= KL_WEIGHTS[1]:
            raise UserError(
                f"KL weight {beta:g} is not from {KL_WEIGHTS[0]:g} to {KL_WEIGHTS[1]:g}, where numbers are "
                "exact enough: give another --beta."
            )
    given = instance(problem)
    pooled = pooled_reward(given)
    u, constants = _reward_side(given, pooled)
    rows = []
    for beta in betas:
        row = {**constants, "beta": beta, **_policy_side(given, pooled, u, beta, constants)}
        for bound in BOUNDS:
            row[f"{bound.column}_holds"] = _holds(row[bound.column], row[bound.measured], bound.upper)
        rows.append(row)
    return rows


def _reward_side(given: Instance, pooled: Floats) -> tuple[int, dict[str, Any]]:
    """The group u, and everything that does not depend on beta."""
    groups = len(given.names)
    own = given.preferences(given.phi)
    mixture, fitted = own @ given.shares, given.preferences(pooled)
    table = np.array([[given.distance(own[:, i], own[:, j]) for j in range(groups)] for i in range(groups)])
    u, j = _most_diverse(table, given.shares)
    share, diversity = float(given.shares[u]), float(table[u, j])
    epsilon = diversity - max(table[k, j] for k in range(groups) if k != u)
    misfit = given.distance(mixture, fitted)
    feature_bound = float(np.linalg.norm(given.features, axis=2).max())
    # E d d^T is twice the covariance, as the two responses of a pair are independent.
    largest = 2 * float(given.gram[-1])
    moment = np.linalg.norm((given.mass * (mixture - own[:, u])) @ given.differences)
    excess = max(0.0, (1 - share) * epsilon - misfit)
    two_groups = (
        16 * (1 - share) * diversity**2 / (largest * np.linalg.norm(given.phi[j] - given.phi[u]))
        if groups == 2
        else None
    )
    return u, {
        "groups": groups,
        "group": given.names[u],
        "opposite": given.names[j],
        "share": share,
        "diversity": diversity,
        "epsilon": float(epsilon),
        "misfit": misfit,
        "feature_bound": feature_bound,
        "feature_diameter": float(np.linalg.norm(given.differences, axis=1).max()),
        "gram_min": float(given.gram[0]),
        "gram_max": float(given.gram[-1]),
        "tv_pooled": given.distance(mixture, own[:, u]),
        "tv_pooled_bound": (1 - share) * float(epsilon),
        "tv_fitted": given.distance(fitted, own[:, u]),
        "tv_fitted_bound": excess,
        "mismatch": float(np.linalg.norm(pooled - given.phi[u])),
        "mismatch_bound_tv": 2 * excess / feature_bound,
        "mismatch_bound_moment": 4 * float(moment) / largest,
        "mismatch_bound_two_groups": None if two_groups is None else float(two_groups),
        "lemma_1": float(epsilon) * (1 - share) / (4 * feature_bound),
    }


def _most_diverse(table: Floats, shares: Floats) -> tuple[int, int]:
    """The group u and its opposite j: the smaller and the larger group of the pair furthest apart.

    Of equals u is the later one, as the minority of a problem is.
    """
    first, second = np.unravel_index(int(table.argmax()), table.shape)
    low, high = sorted((int(first), int(second)))
    return (low, high) if shares[low] < shares[high] else (high, low)


def _policy_side(
    given: Instance, pooled: Floats, u: int, beta: float, constants: Mapping[str, Any]
) -> dict[str, Any]:
    """The cost of the policy for the pooled reward, and the bounds on it."""
    groups = len(given.names)
    rewards = np.concatenate([given.rewards, (given.features @ pooled)[..., None]], axis=2)
    game = Game(rewards, given.reference, given.weights, beta)
    corners = np.eye(groups + 1)
    followed = game.policy(corners[groups])
    optima = [game.policy(corners[g]) for g in range(groups)]
    gaps = [float(game.values(best)[g] - game.values(followed)[g]) for g, best in enumerate(optima)]
    divergence = (np.exp(followed) * (followed - optima[u])).sum(axis=1) @ given.weights
    segment, local = _curvatures(given, followed, optima[u], (pooled - given.phi[u]) / beta)
    lipschitz = constants["feature_diameter"] / beta
    half_square = constants["mismatch"] ** 2 / (2 * beta)
    surely = max(
        constants["mismatch_bound_tv"],
        constants["mismatch_bound_moment"],
        constants["mismatch_bound_two_groups"] or 0.0,
    )
    return {
        "lipschitz": lipschitz,
        "gram_segment": segment,
        "gram_local": local,
        "gap": gaps[u],
        "gap_divergence": beta * float(divergence),
        "gap_max": max(gaps),
        "gap_bound": segment * half_square,
        "gap_bound_local": local * half_square,
        "gap_bound_chain": max(segment, local) * surely**2 / (2 * beta),
        "gap_ceiling": constants["feature_diameter"] ** 2 / 4 * half_square,
        "theorem_1": constants["gram_min"]
        * constants["epsilon"]
        * (1 - constants["share"])
        / (64 * beta**2 * lipschitz * constants["feature_bound"] ** 2),
    }


def _curvatures(given: Instance, followed: Floats, best: Floats, apart: Floats) -> tuple[float, float]:
    """lambda_seg and lambda_local: least curvatures of the log-normaliser between two policies.

    Args:
        given: the instance.
        followed: log pi_phi* [S, R].
        best: log pi*_u [S, R].
        apart: what their parameters differ by, divided by beta, [k].
    """

    def least(policy: Floats, state_weights: Floats) -> float:
        means = (policy[..., None] * given.features).sum(axis=1, keepdims=True)
        off = given.features - means
        weights = (given.weights * state_weights)[:, None] * policy
        return max(0.0, float(np.linalg.eigvalsh(np.einsum("sr,sri,srj->ij", weights, off, off))[0]))

    # The log of a policy's least ratio to the reference is concave in its parameters, so between two policies
    # it is never below the smaller one of theirs.
    ratio = np.exp(np.minimum(followed, best) - np.log(given.reference)).min(axis=1)
    width = np.ptp(given.features @ apart, axis=1)
    small = width < 1e-3  # where the formulas would cancel; their series, cut off below the truth
    safe = np.where(small, 1.0, width)
    from_followed = np.where(small, 1 / 2 - width / 6, (safe + np.expm1(-safe)) / safe**2)
    from_best = np.where(small, 1 / 2 - width / 3, (1 - (1 + safe) * np.exp(-safe)) / safe**2)
    local = max(least(np.exp(followed), 2 * from_followed), least(np.exp(best), 2 * from_best))
    return least(given.reference, ratio**2), local


def _holds(bound: float | None, measured: float, upper: bool) -> bool | None:
    if bound is None:
        return None
    low, high = (measured, bound) if upper else (bound, measured)
    return bool(low <= high * (1 + 1e-9) + 1e-12)  # both sides are rounded
