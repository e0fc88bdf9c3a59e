"""The backbone of worlds that can be listed: policies and rewards are tables, and every fit is exact.

Rewards are linear in the world's features or have one parameter per state and response, and so have policies:
pi(y|x) ~ pi_ref(y|x) exp(theta . psi(x, y)). Then a pair's difference of log-ratios is theta . (psi+ -
psi-): the normaliser cancels, so that Bradley-Terry rewards and the DPO family are both convex fits. What PPO
approaches by sampling has a closed form here (`learn/exact.py`); `model.optimiser=ppo` samples all the same.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from prefbench.arrays import Floats, Ints
from prefbench.backbone.finite.pairwise import PairsInWorld, fit, members_of
from prefbench.backbone.finite.policies import FinitePolicy, FiniteReward
from prefbench.errors import Diverged, PrefbenchError, UserError
from prefbench.learn import exact
from prefbench.learn.game import Game
from prefbench.learn.interface import (
    ExpectationRequest,
    OptimiseRequest,
    Pairs,
    PairwiseRequest,
    Policy,
    Reward,
    RewardFunction,
    RewardRequest,
    Rewards,
    SoftTokensRequest,
    called_with,
)
from prefbench.learn.options import kl_coefficient
from prefbench.learn.pairwise import DPO, labelled
from prefbench.learn.rewards import fit_linear
from prefbench.learn.selection import BestOfPolicy
from prefbench.learn.simple_policies import ExtremeLengthPolicy, load_simple_policy
from prefbench.problem.world import World
from prefbench.text import count_words

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.backbone.options import FiniteOptions
    from prefbench.store.stages import Store, Work


class Finite:
    """The backbone: a world, its reference policy, and exact fits."""

    notes = ()
    """Nothing goes otherwise than it was meant to."""

    def __init__(
        self, world: World, options: FiniteOptions, store: Store, work: Work, temperature: float
    ) -> None:
        """Make a world's reference policy the one to align.

        Args:
            world: responses, features, utilities and the reference policy.
            options: what is fitted, and how.
            store: where stages are kept.
            work: where progress and checkpoints go.
            temperature: label noise, in standard deviations of a group's utility.
        """
        self.world = world
        self.temperature = temperature
        # DPO's reward is in log odds of a label, u / (temperature spread), and regret charges for KL in
        # spreads. Labels without noise have no odds: then there is nothing to match.
        self.dpo_beta = world.beta / temperature if temperature > 0 else 0.1
        # IPO drives a margin to (p - 1/2) / beta, which near a coin's odds is a quarter of them.
        self.ipo_beta = self.dpo_beta / 4
        self.kl_coefficient = world.beta
        self.options = options
        self.store = store
        self.work = work
        self.digest = world.digest
        strengths = {"kl_coefficient": self.kl_coefficient, "dpo_beta": self.dpo_beta}
        self.training: Mapping[str, Any] = {**options.model_dump(), **strengths}
        self.reference = FinitePolicy(world, np.log(world.reference))

    def at(self, work: Work) -> Finite:
        """This backbone with its progress and checkpoints going to `work`."""
        other = copy.copy(self)
        other.work = work
        return other

    def cached(self, name: str, key: Mapping[str, Any], compute: Callable[[Work], None]) -> Path:
        """The folder of a stage; see `prefbench.store.stages.Store.stage`."""
        return self.store.stage(name, key, compute)

    def say(self, message: str) -> None:
        """Tell a sentence to whoever watches the run."""
        self.store.reporter.note(message)

    def tokens(self, responses: Sequence[str]) -> None:
        """None: a response of a world is one thing."""

    def places(self, pairs: Pairs) -> tuple[Ints, Ints]:
        """Chosen and rejected responses as positions in a flattened [S, R] table, [pairs] each."""
        rows = self.world.rows(pairs.prompts)
        start = rows * self.world.reference.shape[1]
        return (
            start + self.world.columns(rows, pairs.chosen),
            start + self.world.columns(rows, pairs.rejected),
        )

    def design(self, kind: str) -> Any:
        """Matrix that parameters multiply: the features [S R, d], or the identity for a table of values."""
        if kind == "linear":
            return self.world.features.reshape(-1, self.world.features.shape[2])
        from scipy.sparse import identity

        return identity(self.world.reference.size, format="csr")

    def features(
        self, prompts: Sequence[str], responses: Sequence[str], reward: Reward | None = None
    ) -> Floats:
        """The world's features of responses, [n, d]; the same for every reward."""
        rows = self.world.rows(prompts)
        return self.world.features[rows, self.world.columns(rows, responses)]

    @called_with(RewardRequest)
    def fit_reward(self, request: RewardRequest) -> Reward:
        """The maximum-likelihood Bradley-Terry reward; convex, so neither seed nor start matters.

        With `group_step` the one with the smallest largest mean loss of a group.
        """
        pairs, design = request.pairs, self.design(self.options.reward)
        chosen, rejected = self.places(pairs)
        if request.group_step is None:
            difference = design[chosen] - design[rejected]
            found = fit_linear(difference, self.options.penalty, pairs.weights, pairs.strength, precise=True)
        else:
            asked = PairsInWorld(design, chosen, rejected, self.world.reference)
            loss = labelled(DPO(1.0), pairs)  # Bradley-Terry's, pair by pair
            found = fit(asked, members_of(pairs), loss, self.options.penalty / len(pairs))
        return FiniteReward(self.world, (design @ found).reshape(self.world.reference.shape))

    def load_reward(self, path: Path) -> Reward:
        """Read back what `FiniteReward.save` wrote."""
        return FiniteReward(self.world, self._table(path, "reward"))

    def _table(self, path: Path, name: str) -> Floats:
        """A table of this world's shape from a safetensors file.

        Raises:
            UserError: there is none, or it holds NaN.
        """
        try:
            table = load_file(path)[name]
        except (FileNotFoundError, KeyError, SafetensorError):
            raise UserError(
                f"'{path}' holds no table '{name}': it is missing or damaged; remove its folder and run "
                "again."
            ) from None
        if table.shape != self.world.reference.shape:
            raise UserError(
                f"'{path}' holds a table {list(table.shape)}, but the task's world has "
                f"{list(self.world.reference.shape)} states and responses: it belongs to another "
                "task; name a policy of this one."
            )
        if np.isnan(table).any() or (table == np.inf).any():
            raise UserError(
                f"'{path}' holds values that are NaN or infinite: it is damaged; remove its folder and run "
                "again."
            )
        return table

    @called_with(SoftTokensRequest)
    def fit_soft_tokens(self, request: SoftTokensRequest) -> None:
        """None: the prompts of a world have no tokens."""

    def game(self, prompts: Sequence[str], rewards: RewardFunction, beta: float) -> Game:
        """Rewards of every response, with the prompts' states weighted as often as they occur.

        Raises:
            Diverged: a reward is not finite.
        """
        states = len(self.world.responses)
        table = self._tabulate(rewards)
        if not np.isfinite(table).all():
            raise Diverged("a reward is not finite: check the reward model.")
        weights = np.bincount(self.world.rows(prompts), minlength=states) / len(prompts)
        return Game(table, self.world.reference, weights, beta)

    def _tabulate(self, rewards: RewardFunction) -> Floats:
        """Rewards of every response of every state, [S, R, K]."""
        if isinstance(rewards, Rewards) and all(isinstance(m, FiniteReward) for m in rewards.models):
            raw = np.stack([model.table for model in rewards.models], axis=2)  # type: ignore[attr-defined]
            return np.asarray((raw - rewards.shift) / rewards.scale)
        prompts, responses = self._everything
        shape = self.world.reference.shape
        return np.asarray(rewards(prompts, responses), dtype=np.float64).reshape(*shape, -1)

    @functools.cached_property
    def _everything(self) -> tuple[list[str], list[str]]:
        asked = {state: prompt for prompt, state in reversed(list(self.world.state.items()))}
        texts = self.world.responses
        # A state that no prompt is about has nothing to be scored with; none is left over by a task.
        prompts = [asked[state] for state, row in enumerate(texts) for _ in row]
        return prompts, [text for row in texts for text in row]

    @called_with(OptimiseRequest)
    def optimise(self, request: OptimiseRequest) -> Policy:
        """The policy with the highest welfare, in closed form or, if asked for, by PPO."""
        beta = kl_coefficient(request.options.kl_coefficient, self.kl_coefficient)
        if not beta > 0:
            raise UserError(
                f"aligner.kl_coefficient={beta:g}: where responses are listed the optimum is exact and needs "
                "a positive one; set it above 0, or leave it out."
            )
        game = self.game(request.prompts, request.rewards, beta)
        if self.options.optimiser == "ppo":
            from prefbench.backbone.finite.ppo import train  # brings torch, which exact fits do without

            return FinitePolicy(self.world, train(self.world, game.rewards, request, self.options, self.work))
        return FinitePolicy(self.world, exact.optimum(game, request.welfare).logprob)

    @called_with(PairwiseRequest)
    def fit_pairwise(self, request: PairwiseRequest) -> Policy:
        """The policy that minimises a pairwise loss, or with `group_step` the worst group's mean loss."""
        pairs = request.pairs
        asked = PairsInWorld(self.design(self.options.policy), *self.places(pairs), self.world.reference)
        if request.group_step is None:
            members = members_of(replace(pairs, group=None))
        else:
            members = members_of(pairs)
        # The penalty is on beta theta, the implicit reward's parameters, as it is on a reward's.
        beta = request.options.beta or self.dpo_beta
        penalty = self.options.penalty * beta**2 / len(pairs)
        theta = fit(asked, members, labelled(request.loss, pairs), penalty)
        table = np.log(self.world.reference) + (asked.design @ theta).reshape(self.world.reference.shape)
        return FinitePolicy(self.world, _normalised(table))

    @called_with(ExpectationRequest)
    def expect(self, request: ExpectationRequest) -> Floats:
        """Mean of a function [n, K] over prompts and the policy's responses, in closed form, [K]."""
        game = self.game(request.prompts, request.function, 1.0)
        return game.expected(_log(self._known(request.policy)))

    def average(self, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
        """The policy with averaged parameters: for softmax policies the log-linear mixture."""
        return self.log_linear(policies, weights)

    def log_linear(self, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
        """pi ~ prod_k pi_k ** w_k."""
        # A factor of weight zero says nothing, not even where it is impossible.
        used = [(policy, weight) for policy, weight in zip(policies, weights, strict=True) if weight]
        logs = [_log(self._known(policy)) for policy, _ in used]
        weights = [weight for _, weight in used]
        return FinitePolicy(
            self.world, _normalised(np.tensordot(np.asarray(weights), np.stack(logs), axes=1))
        )

    def load_policy(self, folder: Path) -> Policy:
        """Read back a policy of any kind that this backbone makes."""
        simple = load_simple_policy(folder, self)
        if simple is not None:
            return simple
        path = folder / "policy.safetensors"
        table = self._table(path, "logprob")
        if not np.allclose(np.exp(table).sum(axis=1), 1.0, atol=1e-6):
            raise UserError(
                f"'{path}' holds probabilities that do not sum to one: it is damaged; remove its folder and "
                "run again."
            )
        return FinitePolicy(self.world, table)

    def probabilities(self, policy: Policy) -> Floats | None:
        """pi(y | x) of every response of every state, [S, R]; None where they are not known."""
        if isinstance(policy, FinitePolicy):
            return np.exp(policy.table)
        if isinstance(policy, ExtremeLengthPolicy | BestOfPolicy):
            base = self.probabilities(policy.base)
            return None if base is None else _selected(base, self._scores(policy), policy.candidates)
        logprob = policy.logprob(*self._everything)
        return None if logprob is None else np.exp(logprob).reshape(self.world.reference.shape)

    def _known(self, policy: Policy) -> Floats:
        found = self.probabilities(policy)
        if found is None:
            raise PrefbenchError(f"{type(policy).__name__} has no probabilities to compute with.")
        return found

    def distribution(self, policy: Policy, prompts: Sequence[str]) -> pd.DataFrame | None:
        """Every response to the prompts' states with its probabilities and utilities."""
        probability = self.probabilities(policy)
        if probability is None:
            return None
        frame = self.world.listed(prompts)
        frame.insert(4, "policy", probability[np.unique(self.world.rows(prompts))].ravel())
        return frame

    def _scores(self, policy: ExtremeLengthPolicy | BestOfPolicy) -> Floats:
        """Scores of which a policy selects the largest, [S, R]."""
        if isinstance(policy, BestOfPolicy):
            scores = policy.criterion.score(*self._everything)
            return np.asarray(scores, dtype=np.float64).reshape(self.world.reference.shape)
        sign = 1.0 if policy.which == "longest" else -1.0
        return np.array([[sign * count_words(text) for text in row] for row in self.world.responses])


def _selected(base: Floats, score: Floats, n: int) -> Floats:
    """Chances of the best of n draws, [S, R]; equals have it in proportion to base."""
    below = (base[:, None, :] * (score[:, None, :] < score[:, :, None])).sum(axis=2)
    equal = (base[:, None, :] * (score[:, None, :] == score[:, :, None])).sum(axis=2)
    return np.asarray(base / equal * ((below + equal) ** n - below**n))


def _log(probability: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probability))


def _normalised(logits: Floats) -> Floats:
    from scipy.special import logsumexp

    return np.asarray(logits - logsumexp(logits, axis=1, keepdims=True))
