"""A language model as training loops, policies and rewards need it, whichever backbone holds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from prefbench.backbone.language.codec import Codec
from prefbench.backbone.language.memory import Limits
from prefbench.backbone.language.networks import Head, RewardModel
from prefbench.backbone.language.tokens import Batch
from prefbench.learn.interface import Policy

if TYPE_CHECKING:
    from prefbench.store.stages import Work


class Reference(Policy, Protocol):
    """A language model that answers prompts, and whose probabilities are known."""

    @property
    def model(self) -> Any:
        """The transformers model."""

    def logprob(self, prompts: Sequence[str], responses: Sequence[str]) -> np.ndarray:
        """log pi(response | prompt) in nats, [n]."""


class LanguageModel(Protocol):
    """A reference language model and what is trained from it."""

    @property
    def codec(self) -> Codec:
        """Text to its tokens and back."""

    @property
    def device(self) -> torch.device:
        """Device that tensors live on."""

    @property
    def limits(self) -> Limits:
        """Bounds on the rows and tokens that go through the model at once."""

    @property
    def work(self) -> Work:
        """Receiver of progress, and folder of checkpoints."""

    @property
    def width(self) -> int:
        """Size of the hidden state."""

    @property
    def policy_learning_rate(self) -> float:
        """Default of aligners that train the policy."""

    @property
    def kl_coefficient(self) -> float:
        """Default weight of the KL penalty of those that do it by PPO."""

    @property
    def reward_learning_rate(self) -> float:
        """Default of reward models."""

    @property
    def reward_head(self) -> Head:
        """Beginning of the head of a reward model that does not begin with another."""

    @property
    def adapted_digest(self) -> str | None:
        """Identifies the base that adapters belong to; None where every weight is trained."""

    @property
    def reference(self) -> Reference:
        """The reference policy."""

    def with_codec(self, codec: Codec) -> LanguageModel:
        """This backbone with another way from text to tokens."""

    def trainable_copy(self, seed: int) -> Any:
        """The model that training starts from; its weights are the reference's."""

    def new_reward(self, seed: int) -> RewardModel:
        """A reward model that starts as the reference with a random head."""

    def measure(
        self,
        prompts: Sequence[str],
        responses: Sequence[str],
        function: Callable[[Batch], torch.Tensor],
        *shape: int,
    ) -> np.ndarray:
        """A function of each response, float64 [n, *shape], computed in batches of similar length."""
