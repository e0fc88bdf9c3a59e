"""Reinforcement learning for the worst off without a KL charge: linear programs on occupancy measures.

The occupancy measure of a Markov policy, d_t(s, a) = P(s_t = s, a_t = a), fixes every group's discounted
visits, and any d >= 0 that obeys the flow constraints

    sum_a d_0(s, a) = [s is the start],    sum_a d_t(s, a) = sum_{s', a' that lead to s} d_{t-1}(s', a')

belongs to the Markov policy pi_t(a | s) = d_t(s, a) / sum_a d_t(s, a) (Altman, Constrained Markov Decision
Processes, 1999). Group g's value is linear in it,

    V_g(d) = sum_t gamma^t sum_{s, a} d_t(s, a) r_g(next(s, a)),

so that F(pi) = min_g <d_pi, r_g> is a concave utility of the occupancy measure (general-utility reinforcement
learning: Zhang et al., NeurIPS 2020, arXiv 2007.02151) and its maximum a linear program of H S A unknowns,
however many trajectories there are:

    max z   subject to   V_g(d) + offset_g >= z  for each group g, and the flow constraints.

For the constraints' multipliers w (positive, summing to one) the best value of the scalar reward
sum_g w_g r_g, found by backward dynamic programming, is at least the optimum: what is left between the two is
the certificate. A maximum of a linear program need not be unique, so leximin is a real refinement here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from prefbench.arrays import Bools, Floats
from prefbench.errors import PrefbenchError
from prefbench.learn.game import CERTIFICATE
from prefbench.problem.process import Process

NOTHING = 1e-10
"""A probability below this is a solver's rounding. Also its tolerance, which a settled group may lose."""
TIGHT = 1e-6
"""A multiplier above this belongs to a group that cannot gain; multipliers sum to one over the groups."""


@dataclass(frozen=True)
class OccupancySolution:
    """An optimal occupancy measure and what proves it."""

    value: float
    """The value that was maximised."""
    values: Floats
    """[G] V_g + offset_g."""
    occupancy: Floats
    """[H, S, A] d_t(s, a), of the policy that `markov_policy` reads from it."""
    group_weights: Floats
    """[G] weights, summing to one, whose weighted sum of values nothing can raise above `value`."""
    gap: float
    """Duality gap: how much more any policy could have at most."""


def maxmin_occupancy(process: Process, rewards: Floats, offset: Floats | None = None) -> OccupancySolution:
    """max_pi min_g (V_g(pi) + offset_g).

    Args:
        process: what can be done.
        rewards: [S, G] r_g of arriving in a state.
        offset: [G] constants added to the groups' values; none adds nothing.

    Raises:
        PrefbenchError: the certificate was not reached.
    """
    groups = rewards.shape[1]
    nobody, floor = np.zeros(groups, dtype=bool), np.zeros(groups)
    return _level(process, rewards, _zeros_if_none(offset, groups), nobody, floor)


def leximin_occupancy(process: Process, rewards: Floats, offset: Floats | None = None) -> OccupancySolution:
    """The maxmin optimum whose next worst group, and so on, is as well off as can be.

    A group whose constraint has a positive multiplier is equally well off in every optimum: it is settled
    at that value, and the minimum over the others is maximised next.

    Args:
        process: what can be done.
        rewards: [S, G] r_g of arriving in a state.
        offset: [G] constants added to the groups' values; none adds nothing.

    Returns:
        The minimum with its weights, as maxmin has them; `gap` is the largest of any level.

    Raises:
        PrefbenchError: a level's certificate was not reached.
    """
    groups = rewards.shape[1]
    constants = _zeros_if_none(offset, groups)
    settled, floor = np.zeros(groups, dtype=bool), np.zeros(groups)
    levels: list[OccupancySolution] = []
    while not settled.all():
        found = _level(process, rewards, constants, settled, floor)
        levels.append(found)
        tight = ~settled & (found.group_weights > TIGHT)
        floor[tight] = found.value - NOTHING
        settled = settled | tight
    first, last = levels[0], levels[-1]
    gap = max(level.gap for level in levels)
    return OccupancySolution(float(last.values.min()), last.values, last.occupancy, first.group_weights, gap)


def utilitarian_occupancy(process: Process, rewards: Floats, weights: Floats) -> OccupancySolution:
    """max_pi sum_g weights_g V_g(pi), by backward dynamic programming; of equally good moves the first.

    Args:
        process: what can be done.
        rewards: [S, G] r_g of arriving in a state.
        weights: [G] of the groups, not negative; brought to a sum of one.
    """
    shares = weights / weights.sum()
    _, policy = best_response(process, rewards @ shares)
    occupancy = occupancy_of(process, policy)
    values = group_values(process, occupancy, rewards)
    return OccupancySolution(float(shares @ values), values, occupancy, shares, 0.0)


def best_response(process: Process, reward: Floats) -> tuple[float, Floats]:
    """The highest discounted sum of a reward of states [S], and a deterministic policy [H, S, A] for it."""
    states = np.arange(len(process.next_state))
    ahead = np.zeros(len(states))  # what can still be had from each state on
    policy = np.zeros((process.horizon, *process.next_state.shape))
    for step in reversed(range(process.horizon)):
        gain = process.weights[step] * reward + ahead
        worth = np.where(process.legal, gain[process.next_state], -np.inf)
        best = worth.argmax(axis=1)
        policy[step, states, best] = 1
        ahead = worth[states, best]
    return float(ahead[process.start]), policy


def markov_policy(process: Process, occupancy: Floats) -> Floats:
    """pi_t(a | s) [H, S, A] of an occupancy; uniform over legal moves where a state is not reached."""
    mass = np.where(process.legal & (occupancy > NOTHING), occupancy, 0.0)
    reached = mass.sum(axis=2, keepdims=True)
    return np.where(reached > 0, mass / np.where(reached > 0, reached, 1.0), process.uniform_policy)


def occupancy_of(process: Process, policy: Floats) -> Floats:
    """d_t(s, a) [H, S, A] of a Markov policy [H, S, A]."""
    result = np.zeros_like(policy)
    target = process.next_state[process.legal]
    here = np.zeros(len(process.next_state))
    here[process.start] = 1
    for step in range(process.horizon):
        result[step] = here[:, None] * policy[step]
        here = np.zeros(len(here))
        np.add.at(here, target, result[step][process.legal])
    return result


def group_values(process: Process, occupancy: Floats, rewards: Floats) -> Floats:
    """V_g of an occupancy measure [H, S, A] for rewards of states [S, G], as [G]."""
    arriving = np.tensordot(process.weights, occupancy, axes=1)[process.legal]
    return np.asarray(arriving @ rewards[process.next_state[process.legal]])


def _zeros_if_none(offset: Floats | None, groups: int) -> Floats:
    return np.zeros(groups) if offset is None else offset


def _level(
    process: Process, rewards: Floats, offset: Floats, settled: Bools, floor: Floats
) -> OccupancySolution:
    """max of the minimum over the groups that are not settled; the settled ones keep their floor."""
    if not (np.isfinite(rewards).all() and np.isfinite(offset).all()):
        raise PrefbenchError("a reward is not finite, so there is no exact optimum: check the rewards.")
    found = _solve(process, rewards, offset, settled, floor)
    # The policy's own occupancy obeys the flow to the last digit, which a solver's need not.
    rough = np.zeros((process.horizon, *process.next_state.shape))
    rough[:, process.legal] = found.x[:-1].reshape(process.horizon, -1)
    occupancy = occupancy_of(process, markov_policy(process, rough))
    values = group_values(process, occupancy, rewards) + offset
    value = float(values[~settled].min())
    multipliers = np.maximum(-found.ineqlin.marginals, 0.0)
    multipliers = multipliers / multipliers[~settled].sum()
    bound = best_response(process, rewards @ multipliers)[0] + float(
        multipliers @ offset - multipliers[settled] @ floor[settled]
    )
    gap = bound - value
    if not abs(gap) <= CERTIFICATE:
        raise PrefbenchError(
            f"the optimum over occupancy measures was not reached: its duality gap is {gap:.2g}, above "
            f"{CERTIFICATE:.0e}; bring the rewards to a common scale."
        )
    return OccupancySolution(value, values, occupancy, multipliers, max(0.0, gap))


def _solve(process: Process, rewards: Floats, offset: Floats, settled: Bools, floor: Floats) -> Any:
    """SciPy's result; unknowns are d_t of the legal pairs (s, a), step after step, and at the end z."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack, kron

    source, _ = np.nonzero(process.legal)
    target = process.next_state[process.legal]
    states, pairs, steps = len(process.next_state), len(source), process.horizon
    each = np.arange(pairs)
    leaving = csr_array((np.ones(pairs), (source, each)), shape=(states, pairs))
    entering = csr_array((np.ones(pairs), (target, each)), shape=(states, pairs))
    flow = kron(eye_array(steps), leaving) - kron(eye_array(steps, k=-1), entering)
    begin = np.zeros(steps * states)
    begin[process.start] = 1
    gains = (process.weights[:, None, None] * rewards[target]).reshape(steps * pairs, -1)
    goal = np.zeros(steps * pairs + 1)
    goal[-1] = -1
    found = linprog(
        goal,
        A_ub=np.column_stack([-gains.T, ~settled]),
        b_ub=np.where(settled, offset - floor, offset),
        A_eq=hstack([flow, csr_array((steps * states, 1))], format="csr"),
        b_eq=begin,
        bounds=[(0, None)] * (steps * pairs) + [(None, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": NOTHING, "dual_feasibility_tolerance": NOTHING},
    )
    if not found.success:
        raise PrefbenchError(f"the linear program of occupancy measures was not solved: {found.message}")
    return found
