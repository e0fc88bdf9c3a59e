"""What an aligner may ask of a backbone. An aligner written against this runs on every backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from prefbench.learn.options import PairTrainingOptions, PPOOptions, RewardOptions

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from prefbench.learn.welfare import WelfareFunction
    from prefbench.store.stages import Work

RewardFunction = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""(prompts, responses), n of each, to float64 [n, groups]."""
PairwiseLoss = Callable[["torch.Tensor"], "torch.Tensor"]
"""Difference D of log-ratios [pairs] to losses [pairs]; see `learn/pairwise.py`."""


class Policy(Protocol):
    """Something that answers prompts."""

    def sample(self, prompts: Sequence[str], n: int, draw: np.random.SeedSequence) -> list[list[str]]:
        """`n` responses to each prompt, drawn by `draw` alone; row i does not depend on batching."""

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray | None:
        """log pi(response | prompt) in nats, [n]; None where the policy has no tractable probability."""

    def save(self, folder: Path) -> None:
        """Write the policy so that `Backbone.load_policy` reads it back (safetensors and JSON only)."""


class Reward(Protocol):
    """One fitted Bradley-Terry reward, defined up to shift and scale."""

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Reward of each response, float64 [n]."""

    def save(self, path: Path) -> None:
        """Write the weights to a safetensors file."""


@dataclass
class Rewards:
    """One reward per cluster or group, normalised, with what is known of how it was found."""

    models: list[Reward]
    names: list[str]
    shift: np.ndarray
    """[K] mean reward of reference responses."""
    scale: np.ndarray
    """[K] standard deviation of the reward over reference responses."""
    assignment: dict[int, int] | dict[str, int] | None = None
    """Annotator to cluster, where clusters were inferred; annotators by their ids, numbers or text."""
    em: dict[str, Any] | None = None
    """How expectation-maximisation went, for the record."""

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Normalised rewards [n, K]: zero mean and unit spread over reference responses."""
        raw = np.stack([model.score(prompts, responses) for model in self.models], axis=1)
        return np.asarray((raw - self.shift) / self.scale)

    def raw(self) -> Rewards:
        """The same rewards as they were fitted, neither centred nor scaled."""
        return replace(self, shift=np.zeros_like(self.shift), scale=np.ones_like(self.scale))


@dataclass
class Clusters:
    """Who was found to want the same."""

    assignment: dict[int, int] | dict[str, int]
    """Annotator to cluster; annotators by their ids, numbers or text."""
    em: dict[str, Any]
    """How expectation-maximisation went, for the record."""


@dataclass
class Aligned:
    """What an aligner may return instead of a bare policy, so that the record can say more."""

    policy: Policy
    rewards: Rewards | None = None
    clusters: Clusters | None = None
    """Of an aligner that finds clusters without a reward for each; else its rewards know them."""


@dataclass(frozen=True)
class Pairs:
    """Preference pairs as plain lists: `chosen[i]` was preferred to `rejected[i]` at `prompts[i]`."""

    prompts: Sequence[str]
    chosen: Sequence[str]
    rejected: Sequence[str]
    user_id: np.ndarray | None = None
    group: np.ndarray | None = None
    weights: np.ndarray | None = field(default=None)
    """How often each pair is drawn, relative to the others; None means equally."""

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: np.ndarray) -> Pairs:
        """The pairs at integer positions `rows`."""

        def take(values: Any) -> Any:
            return None if values is None else np.asarray(values, dtype=object)[rows]

        return Pairs(
            list(take(self.prompts)),
            list(take(self.chosen)),
            list(take(self.rejected)),
            None if self.user_id is None else self.user_id[rows],
            None if self.group is None else self.group[rows],
            None if self.weights is None else self.weights[rows],
        )


class Backbone(Protocol):
    """The model family that is aligned, with its reference policy and its training loops."""

    @property
    def reference(self) -> Policy:
        """The reference policy pi_ref."""

    digest: str
    """Identifies the reference's weights in stage keys."""
    training: Mapping[str, Any]
    """What else of the backbone its training loops depend on, as JSON values, for stage keys."""

    def features(self, prompts: Sequence[str], responses: Sequence[str], reward: Reward) -> np.ndarray:
        """What a fitted reward sees in responses before it scores them, float64 [n, d]."""

    def fit_reward(
        self, pairs: Pairs, options: RewardOptions, *, seed: int, name: str, start: Reward | None = None
    ) -> Reward:
        """Maximum-likelihood Bradley-Terry reward, from the reference or warm from `start`."""

    def load_reward(self, path: Path) -> Reward:
        """Read back what `Reward.save` wrote."""

    def optimise(
        self,
        prompts: Sequence[str],
        rewards: RewardFunction,
        welfare: WelfareFunction,
        options: PPOOptions,
        *,
        seed: int,
        names: Sequence[str],
    ) -> Policy:
        """A policy with high welfare of rewards, kept near the reference by a KL penalty."""

    def fit_pairwise(
        self,
        pairs: Pairs,
        loss: PairwiseLoss,
        options: PairTrainingOptions,
        *,
        seed: int,
        group_step: float | None = None,
        name: str = "policy",
    ) -> Policy:
        """A policy fitted directly to preference pairs (the DPO family).

        With `group_step` it minimises the largest mean loss of a group: the step of the ascent on the
        groups' weights. An aligner that fits several policies gives each a name, for checkpoints.
        """

    def expect(
        self,
        policy: Policy,
        prompts: Sequence[str],
        function: RewardFunction,
        *,
        batch: int,
        seed: int,
        names: Sequence[str | int],
    ) -> np.ndarray:
        """Mean of a function [n, K] over prompts and the policy's responses, [K].

        Exact where responses can be listed, else over one response to each of `batch` prompts, all of it
        drawn by the named child of the seed.
        """

    def average(self, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
        """The policy whose parameters are the weighted average of those of trained policies."""

    def log_linear(self, policies: Sequence[Policy], weights: Sequence[float]) -> Policy:
        """pi ~ prod_k pi_k ** w_k, for a language model token by token."""

    def load_policy(self, folder: Path) -> Policy:
        """Read back what `Policy.save` wrote."""

    def distribution(self, policy: Policy, prompts: Sequence[str]) -> pd.DataFrame | None:
        """Every response to these prompts with its probabilities and utilities (`evaluate/regret.py`).

        None where responses cannot be listed or the policy's probabilities are not known.
        """

    def at(self, work: Work) -> Backbone:
        """This backbone with its progress and checkpoints going to `work`."""

    def cached(self, name: str, key: Mapping[str, Any], compute: Callable[[Work], None]) -> Path:
        """The folder of a stage of the runs folder; see `prefbench.store.stages.Store.stage`."""
