"""Deterministic decision processes small enough that every trajectory can be listed."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from prefbench.arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class Process:
    """S states, A moves, H steps, no chance but the policy's own.

    A world built on a process has one state, and its responses are the trajectories, in the order of
    `trajectories`.

    Raises:
        ValueError: the parts do not fit.
    """

    next_state: Ints
    """[S, A] where a move leads; -1 where it is not legal."""
    horizon: int
    """H, moves in a trajectory."""
    discount: float
    """gamma: the state reached by move t = 0, ..., H - 1 counts gamma ** t."""
    start: int = 0
    """The state before the first move, which is not counted as visited."""

    def __post_init__(self) -> None:
        states = len(self.next_state)
        if self.next_state.ndim != 2 or not (
            (self.next_state >= -1).all() and (self.next_state < states).all()
        ):
            raise ValueError("next_state must be [S, A], with -1 or a state in each place")
        if not self.legal.any(axis=1).all():
            raise ValueError("a state without a legal move ends the process before its horizon")
        if self.horizon < 1 or not 0 < self.discount <= 1 or not 0 <= self.start < states:
            raise ValueError("horizon must be positive, discount in (0, 1], and start a state")

    @functools.cached_property
    def legal(self) -> Bools:
        """[S, A] whether a move can be made."""
        return np.asarray(self.next_state >= 0)

    @functools.cached_property
    def weights(self) -> Floats:
        """[H] gamma ** t."""
        return np.asarray(self.discount ** np.arange(self.horizon))

    @property
    def count(self) -> int:
        """R, the number of trajectories; quick where listing them would not be."""
        onward = np.ones(len(self.next_state), dtype=object)  # Python's integers cannot overflow
        for _ in range(self.horizon):
            onward = np.where(self.legal, onward[self.next_state], 0).sum(axis=1)
        return int(onward[self.start])

    @functools.cached_property
    def trajectories(self) -> tuple[Ints, Ints]:
        """Every trajectory in lexicographic order of its moves: `actions` [R, H] and `states` [R, H + 1]."""
        actions = np.empty((1, 0), dtype=np.int64)
        states = np.full((1, 1), self.start, dtype=np.int64)
        for _ in range(self.horizon):
            parent, move = np.nonzero(self.legal[states[:, -1]])
            arrived = self.next_state[states[parent, -1], move]
            actions = np.column_stack([actions[parent], move])
            states = np.column_stack([states[parent], arrived])
        return actions, states

    @property
    def actions(self) -> Ints:
        """[R, H] the moves of each trajectory."""
        return self.trajectories[0]

    @property
    def states(self) -> Ints:
        """[R, H + 1] the states of each trajectory, the start first."""
        return self.trajectories[1]

    @functools.cached_property
    def visits(self) -> Floats:
        """[R, S] discounted visits: the state after move t counts gamma ** t.

        Rows sum to the same number, so a constant can be added to a reward of states without changing
        what is preferred.
        """
        states = self.states
        result = np.zeros((len(states), len(self.next_state)))
        for step, weight in enumerate(self.weights):
            result[np.arange(len(states)), states[:, step + 1]] += weight
        return result

    @property
    def uniform_policy(self) -> Floats:
        """[H, S, A] each legal move of a state with the same probability."""
        policy = self.legal / self.legal.sum(axis=1, keepdims=True)
        return np.repeat(policy[None], self.horizon, axis=0)

    def log_probability(self, policy: Floats) -> Floats:
        """Log-probability of each trajectory under a Markov policy, in nats, [R].

        Args:
            policy: [H, S, A] probability of each move at each step in each state.

        Returns:
            -inf for a trajectory with a move that the policy never makes.
        """
        chosen = policy[np.arange(self.horizon), self.states[:, :-1], self.actions]
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(chosen).sum(axis=1))
