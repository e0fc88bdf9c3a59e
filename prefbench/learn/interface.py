"""The interface of a backbone to aligners. An aligner written against this runs on every backbone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np

from prefbench.errors import UserError
from prefbench.learn.options import PairTrainingOptions, PPOOptions, RewardOptions

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from prefbench.learn.game import Game
    from prefbench.learn.welfare import WelfareFunction
    from prefbench.store.stages import Work

RewardFunction = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""(prompts, responses), n of each, to float64 [n, groups]."""
PairwiseLoss = Callable[..., "torch.Tensor"]
"""Difference D of log-ratios [pairs] to losses [pairs]. Attributes say what else one is given: side columns
(`needs`), or both log-ratios in the place of D (`ratios`); see `learn/pairwise.py`."""


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
    """Report of expectation-maximisation, for the record."""
    held_out: list[tuple[float, int]] | None = None
    """Validation pairs that each orders as labelled, of how many; None where there are no such pairs. Of a
    label that is not certain a share counts."""
    stored: Sequence[tuple[Reward, Path]] = ()
    """Models that were read from files, with these, so that keeping them again takes no room."""

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """Normalised rewards [n, K]: zero mean and unit spread over reference responses."""
        raw = np.stack([model.score(prompts, responses) for model in self.models], axis=1)
        return np.asarray((raw - self.shift) / self.scale)

    def raw(self) -> Rewards:
        """The same rewards as they were fitted, neither centred nor scaled."""
        return replace(self, shift=np.zeros_like(self.shift), scale=np.ones_like(self.scale))


@dataclass
class Clusters:
    """Annotators who were found to want the same, by cluster."""

    assignment: dict[int, int] | dict[str, int]
    """Annotator to cluster; annotators by their ids, numbers or text."""
    em: dict[str, Any]
    """Report of expectation-maximisation, for the record."""


@dataclass(frozen=True)
class Context:
    """A person as a policy is told of her at deployment; None of what her aligner does not see."""

    pairs: Pairs | None = None
    """Pairs that she labelled, in the order in which she did; none of them is about a test prompt."""
    user_id: int | str | None = None
    """Her id in the labels; None of a person who is unseen."""
    group: str | None = None
    """Name of her group."""
    instruction: str | None = None
    """Text that asks outright for what she wants."""


@dataclass(frozen=True)
class Personal:
    """A policy for each person; a plain policy is the one that ignores whom it answers."""

    default: Policy
    """For whoever nothing is known of."""
    adapt: Callable[[Context], Policy]
    """The policy for the person that a context describes; the same for the same context, and for an empty one
    the default."""


@dataclass
class Aligned:
    """A policy with more to say: an aligner may return it in place of a bare policy, for the record."""

    policy: Policy | Personal
    rewards: Rewards | None = None
    clusters: Clusters | None = None
    """Clusters of an aligner that fits no reward for each of them; else its rewards know them."""
    notes: Sequence[str] = ()
    """Remarks for a reader of the record."""

    @classmethod
    def of(cls, made: Policy | Personal | Aligned) -> Aligned:
        """An aligner's return value, with as much around it as it said."""
        return made if isinstance(made, Aligned) else cls(made)

    @property
    def default(self) -> Policy:
        """The policy for whoever nothing is known of; a plain one is for everybody."""
        return self.policy.default if isinstance(self.policy, Personal) else self.policy


@dataclass(frozen=True)
class Pairs:
    """Preference pairs as plain lists: `chosen[i]` was preferred to `rejected[i]` at `prompts[i]`."""

    prompts: Sequence[str]
    chosen: Sequence[str]
    rejected: Sequence[str]
    user_id: np.ndarray | None = None
    group: np.ndarray | None = None
    weights: np.ndarray | None = field(default=None)
    """Weight of each pair's loss, relative to the others; None means equal."""
    strength: np.ndarray | None = None
    """[pairs] probability, or share of votes, that the chosen response is the better one: 1 is certain, 0.5 a
    tie; None means that all are certain."""
    side: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further numbers of each pair by name, float64 [pairs]; they go to losses that ask for them."""

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
            None if self.strength is None else self.strength[rows],
            {name: values[rows] for name, values in self.side.items()},
        )


@dataclass(frozen=True)
class RewardRequest:
    """A Bradley-Terry reward that is wanted: `Backbone.fit_reward` is called with these fields."""

    pairs: Pairs
    """Pairs that it is fitted to; with `group_step` they name their groups."""
    options: RewardOptions
    """Options of the fit: epochs, batch, learning rate; what is solved exactly looks at none of them."""
    _: KW_ONLY
    seed: int
    """Seed of a new head and of the order of pairs."""
    name: str
    """Name of its checkpoints; an aligner that fits several rewards gives each its own."""
    start: Reward | None = None
    """A reward of the same backbone to begin with; None for the reference with a new head."""
    adapts: bool = False
    """True to adapt `start` to the pairs of a few: a head is fitted to them first, then all weights at
    `reward_group_rate` of the learning rate (Kumar et al. 2022, arXiv 2202.10054)."""
    group_step: float | None = None
    """Step of the ascent on the groups' weights, which makes it minimise the largest mean loss of a group;
    None minimises the mean loss of all pairs."""
    held_out: Pairs | None = None
    """Pairs that choose between the weights of its training, if the options let them."""


@dataclass(frozen=True)
class OptimiseRequest:
    """A policy that is wanted for its welfare: `Backbone.optimise` is called with these fields.

    Raises:
        UserError: the rewards are a function and have no names.
    """

    rewards: RewardFunction
    """(prompts, responses) to rewards [n, groups], as `Rewards` are."""
    welfare: WelfareFunction
    """Makes one number of each response's rewards; any function of their matrix [n, groups]."""
    options: PPOOptions
    """The strength of the KL penalty, and how PPO goes about it."""
    _: KW_ONLY
    prompts: Sequence[str]
    """Responses to these count, each prompt as often as it occurs."""
    seed: int
    """The run's; iteration t of PPO uses only children of it that are named by t."""
    names: Sequence[str] = ()
    """Names of the rewards, for progress and the training history; `Rewards` bring their own."""
    held_out: Sequence[Pairs] = ()
    """Pairs that choose between the policies of its training, if the options let them: those of each group or
    cluster."""

    def __post_init__(self) -> None:
        if not self.names:
            if not isinstance(self.rewards, Rewards):
                raise UserError("backbone.optimise: name what the rewards function gives: names=['a', 'b'].")
            object.__setattr__(self, "names", tuple(self.rewards.names))


@dataclass(frozen=True)
class PairwiseRequest:
    """A policy that is wanted straight from pairs: `Backbone.fit_pairwise` is called with these fields."""

    pairs: Pairs
    """Pairs that it is fitted to; with `group_step` they name their groups."""
    loss: PairwiseLoss
    """Loss l of each pair's difference D of log-ratios; with strength Z it is Z l(D) + (1 - Z) l(-D)."""
    options: PairTrainingOptions
    """Options of the fit: beta, epochs, batch, learning rate."""
    _: KW_ONLY
    seed: int
    """Seed of the order of pairs and of new adapters."""
    group_step: float | None = None
    """Step of the ascent on the groups' weights, which makes it minimise the largest mean loss of a group;
    None minimises the mean loss of all pairs."""
    name: str = "policy"
    """Name of its checkpoints; an aligner that fits several policies gives each its own."""
    held_out: Pairs | None = None
    """Pairs that choose between the policies of its training, if the options let them; weighed and grouped as
    the others are."""


@dataclass(frozen=True)
class SoftTokensRequest:
    """Policies that soft tokens tell who asks: `Backbone.fit_soft_tokens` is called with these fields."""

    pairs: Pairs
    """Pairs that they are fitted to, with the ids of their annotators."""
    loss: PairwiseLoss
    """Settings as of `PairwiseRequest`."""
    options: PairTrainingOptions
    """Options of the fit: beta, epochs, batch, learning rate."""
    _: KW_ONLY
    tokens: int
    """Soft tokens before a prompt; without any there is one policy for everybody."""
    clusters: int
    """Tokens that all people share, of which each has a mean of her own; 0 gives each her own tokens."""
    user_weight: float
    """Weight of the loss with each annotator's tokens, from 0 to 1, beside that with everybody's."""
    seed: int
    """Seed of the order of pairs, of new adapters and of the first tokens."""
    name: str = "policy"
    """Name of its checkpoints."""
    held_out: Pairs | None = None
    """Pairs that choose between the weights of its training, if the options let them."""


@dataclass(frozen=True)
class ExpectationRequest:
    """A mean that is wanted of a policy: `Backbone.expect` is called with these fields."""

    policy: Policy
    """The policy whose responses count."""
    prompts: Sequence[str]
    """Prompts that they answer, each as often as it occurs."""
    function: RewardFunction
    """(prompts, responses) to the values [n, K] whose means are wanted."""
    _: KW_ONLY
    batch: int
    """Prompts with a response each, where responses have to be sampled."""
    seed: int
    """The run's; all that is sampled is drawn by a child of it."""
    names: Sequence[str | int]
    """Name of that child."""


Backboned = TypeVar("Backboned")
Fields = ParamSpec("Fields")
Request = TypeVar("Request")
Result = TypeVar("Result")


def called_with(
    request: Callable[Fields, Request],
) -> Callable[
    [Callable[[Backboned, Request], Result]],
    Callable[Concatenate[Backboned, Fields], Result],
]:
    """Let a method that takes a request be called with the request's fields, so that these stand once."""

    def decorated(
        method: Callable[[Backboned, Request], Result],
    ) -> Callable[Concatenate[Backboned, Fields], Result]:
        @functools.wraps(method)
        def call(self: Backboned, /, *args: Fields.args, **kwargs: Fields.kwargs) -> Result:
            return method(self, request(*args, **kwargs))

        fields = inspect.signature(request).parameters.values()
        this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        call.__signature__ = inspect.signature(method).replace(parameters=[this, *fields])  # type: ignore[attr-defined]
        return call

    return decorated


class Backbone(Protocol):
    """The model family that is aligned, with its reference policy and its training loops."""

    @property
    def reference(self) -> Policy:
        """The reference policy pi_ref."""

    digest: str
    """Identifies the reference's weights in stage keys."""
    training: Mapping[str, Any]
    """Other settings of the backbone that its training loops depend on, as JSON values, for stage keys."""

    dpo_beta: float
    """Beta of DPO, and of what is built on its loss, where an aligner's options name none."""
    ipo_beta: float
    """Beta of IPO where an aligner's options name none."""
    kl_coefficient: float
    """Coefficient of the KL penalty where an aligner's options name none."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for a run's record: where memory ran out, and what was made smaller."""

    def say(self, message: str) -> None:
        """Tell a sentence to whoever watches the run."""

    def tokens(self, responses: Sequence[str]) -> np.ndarray | None:
        """Length of responses in the model's tokens, with their end, [n]; None where it has no tokens."""

    def features(
        self, prompts: Sequence[str], responses: Sequence[str], reward: Reward | None = None
    ) -> np.ndarray:
        """Inputs of a fitted reward's head, or of one on the reference, for responses, float64 [n, d]."""

    @called_with(RewardRequest)
    def fit_reward(self, request: RewardRequest) -> Reward:
        """Maximum-likelihood Bradley-Terry reward."""

    def load_reward(self, path: Path) -> Reward:
        """Read back what `Reward.save` wrote."""

    @called_with(OptimiseRequest)
    def optimise(self, request: OptimiseRequest) -> Policy:
        """A policy with high welfare of rewards, kept near the reference by a KL penalty."""

    @called_with(PairwiseRequest)
    def fit_pairwise(self, request: PairwiseRequest) -> Policy:
        """A policy fitted directly to preference pairs (the DPO family)."""

    @called_with(SoftTokensRequest)
    def fit_soft_tokens(self, request: SoftTokensRequest) -> Callable[[int | str | None], Policy] | None:
        """Policies fitted to pairs, by their annotators' ids; that of None, or of any other id, is for all.

        None where responses are listed, and prompts have no tokens.
        """

    @called_with(ExpectationRequest)
    def expect(self, request: ExpectationRequest) -> np.ndarray:
        """Mean of a function over prompts and the policy's responses, [K]; exact where they can be listed."""

    def game(self, prompts: Sequence[str], rewards: RewardFunction, beta: float) -> Game | None:
        """Rewards of every response, prompts weighed as often as they occur; None where none is listed."""

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
