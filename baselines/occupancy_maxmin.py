"""Maxmin over occupancy measures: MaxMin-RLHF's objective as general-utility reinforcement learning."""

from __future__ import annotations

import numpy as np

import prefbench as pb
from prefbench.backbone.finite.backbone import Finite
from prefbench.backbone.finite.policies import FinitePolicy
from prefbench.learn.em import fit_mixture
from prefbench.learn.occupancy import leximin_occupancy, markov_policy, maxmin_occupancy
from prefbench.learn.options import EMOptions
from prefbench.learn.rewards import pairs_of
from prefbench.problem.process import Process

EXACT = 1e-6
"""Largest error, in standard deviations of a reward, of writing it as a sum of rewards of states."""


class OccupancyOptions(EMOptions):
    """Clusters of annotators by EM and a linear program on their rewards."""

    leximin: bool = False
    """Choice, among all optima, of the one whose next worst cluster, and so on, is as well off as can be."""


@pb.aligner("occupancy_maxmin", needs={"user_id"}, backbones={"finite"})
def occupancy_maxmin(view: pb.View, backbone: pb.Backbone, options: OccupancyOptions) -> pb.Aligned:
    """A reward per cluster of annotators by EM, then the best walk for the worst off, with no KL charge."""
    assert isinstance(backbone, Finite)
    process = backbone.world.process
    if process is None:
        raise pb.UserError(
            "aligner 'occupancy_maxmin' needs a task of states and moves, such as gridworld_two_group: name "
            "one."
        )
    train, held_out = (pairs_of(view.preferences[split]) for split in ("train", "validation"))
    rewards = fit_mixture(backbone, train, options, view.seed, held_out)
    table = backbone.game(view.prompts, rewards, 1.0).rewards[0]
    optimum = leximin_occupancy if options.leximin else maxmin_occupancy
    found = optimum(process, state_rewards(process, table))
    logprob = process.log_probability(markov_policy(process, found.occupancy))
    return pb.Aligned(FinitePolicy(backbone.world, logprob[None]), rewards)


def state_rewards(process: Process, table: np.ndarray) -> np.ndarray:
    """Rewards of states [S, K] that add up, over discounted visits, to rewards of trajectories [R, K].

    Visits sum to the same number on every trajectory, so that a constant needs no term of its own.

    Raises:
        UserError: the rewards are no such sums.
    """
    found = np.linalg.lstsq(process.visits, table, rcond=None)[0]
    if np.abs(process.visits @ found - table).max() > EXACT:
        raise pb.UserError("aligner 'occupancy_maxmin' needs rewards of states: set model.reward=linear.")
    return np.asarray(found)
