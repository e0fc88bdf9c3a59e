"""Experiments on a person's group: all that a policy may be told of her, with its chances under each group.

An experiment is a table of what may be told (here: contexts of n labelled pairs) and how likely each of them
is if the person is of group g (Blackwell 1951). It is listed where there are few contexts, and simulated
where there are many: as many are drawn from each group, and each stands for every group by its likelihood
ratio to the mixture of all groups' contexts (importance sampling from a mixture, Hesterberg 1995: a ratio is
at most the number of groups). So one set of contexts serves all groups, and what is computed on it is
itself a small experiment, in which everything that is said of experiments holds exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prefbench import seeds
from prefbench.arrays import Floats, Ints


@dataclass(frozen=True)
class Experiment:
    """C contexts and G groups."""

    loglik: Floats
    """[C, G] log of each context's likelihood under each group, up to a constant for each context."""
    chances: Floats
    """[C, G] probability of each context under each group; columns sum to one."""
    scale: Floats
    """[G] factor that chances have to exp(loglik), relative to other groups: one where contexts are listed,
    and but for chance where they are simulated."""
    drawn_from: Ints | None = None
    """[C] group that each context was drawn from, equally many from each; None where they are listed."""

    def standard_error(self, values: Floats, group_weights: Floats) -> float:
        """Standard error of sum_g w_g E_{C|g} values_g from the drawing of contexts; zero if listed.

        Args:
            values: [C, G] a number of each context for each group.
            group_weights: [G] w.
        """
        if self.drawn_from is None:
            return 0.0
        means = (self.chances * values).sum(axis=0)
        # A mean under importance weights that sum to one is a ratio: linearised, as the delta method has it.
        parts = (self.chances * (values - means)) @ group_weights
        within = [parts[self.drawn_from == group] for group in range(len(means))]
        return float(np.sqrt(sum(len(part) * part.var(ddof=1) for part in within)))


def listed(loglik: Floats) -> Experiment:
    """The experiment whose contexts are all there: exp(loglik) [C, G] sums to one for each group."""
    chances = np.exp(loglik)
    if not np.allclose(chances.sum(axis=0), 1, rtol=0, atol=1e-9):
        raise ValueError("the chances of all contexts do not sum to one under each group")
    return Experiment(loglik, chances, np.ones(loglik.shape[1]))


def nothing(groups: int) -> Experiment:
    """One context that everybody has: n = 0 pairs."""
    return listed(np.zeros((1, groups)))


def everything(groups: int) -> Experiment:
    """A context that tells the group: the limit of ever more pairs that tell the groups apart."""
    with np.errstate(divide="ignore"):
        return listed(np.log(np.eye(groups)))


def simulated(loglik: Floats) -> Experiment:
    """The experiment whose contexts were drawn, K from each group.

    Args:
        loglik: [G, K, G] likelihoods under each group (last axis) of contexts drawn from each (first axis).
    """
    groups, each, _ = loglik.shape
    flat = loglik.reshape(groups * each, groups)
    ratio = np.exp(flat - flat.max(axis=1, keepdims=True))
    ratio = ratio / ratio.mean(axis=1, keepdims=True)  # to the mixture that the contexts come of
    scale = 1 / ratio.mean(axis=0)
    return Experiment(flat, ratio * scale / len(flat), scale, np.repeat(np.arange(groups), each))


def log_likelihood(margins: Floats) -> Floats:
    """Log-likelihood of labelled pairs under Bradley-Terry, in nats.

    Args:
        margins: [..., n, G] reward of the chosen response less that of the rejected one, in log odds of a
            label, by each group's reward.

    Returns:
        [..., G] sums over the n pairs.
    """
    return np.asarray(-np.logaddexp(0, -margins).sum(axis=-2))


def draw_contexts(
    rewards: Floats, reference: Floats, weights: Floats, *, contexts: int, pairs: int, seed: int
) -> Floats:
    """Margins of simulated contexts: pairs of two reference responses, labelled by people of each group.

    The draws of a pair depend on its group and its place alone, so a longer context begins with the shorter.

    Args:
        rewards: [S, R, G] in log odds of a label.
        reference: [S, R] pi_ref(y | x), which both responses of a pair are drawn from.
        weights: [S] how often a pair asks about each state.
        contexts: K, drawn for each group.
        pairs: n, in each context.
        seed: the run's seed; the draws come from its children ("adaptive contexts", group, place).

    Returns:
        [G, K, n, G] chosen less rejected: for contexts of each group (first axis) by each reward (last).
    """
    groups = rewards.shape[2]
    cumulative = reference.cumsum(axis=1) / reference.sum(axis=1, keepdims=True)
    result = np.empty((groups, contexts, pairs, groups))
    for group in range(groups):
        for place in range(pairs):
            rng = seeds.rng(seed, "adaptive contexts", group, place)
            state = rng.choice(len(weights), contexts, p=weights)
            first, second = (
                (rng.random((contexts, 1)) >= cumulative[state]).sum(axis=1).clip(max=reference.shape[1] - 1)
                for _ in range(2)
            )
            margin = rewards[state, first] - rewards[state, second]
            kept = np.log(1 / rng.random(contexts) - 1) < margin[:, group]  # a logistic draw
            result[group, :, place] = np.where(kept[:, None], margin, -margin)
    return result
