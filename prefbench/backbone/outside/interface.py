"""Requests for policies from outside, and what their kinds give back.

`@pb.policy("NAME")` registers a function `(request, options) -> Policy | Outside` for `--policy NAME:SOURCE`.
It is called once the problem stands and before any model is loaded or trained, so that whatever is wrong with
the source ends the run within a second, as a `UserError` of one line. What costs much is left to the policy's
first `sample`: samples that are stored are not drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prefbench.learn.interface import Backbone, Policy
from prefbench.problem.problem import Problem
from prefbench.store.stages import Store


@dataclass(frozen=True)
class PolicyRequest:
    """A policy that is wanted."""

    source: str
    """Text behind the colon of `--policy KIND:SOURCE`."""
    problem: Problem
    """The problem; the policy will answer its `measured` prompts."""
    samples: int
    """Responses to each prompt that will be asked for."""
    store: Store
    """Stages of the runs folder, and who is told how it goes."""
    section: str = "policy"
    """Section of the options that `--set` gives the policy, as messages call it."""
    samples_option: str = "--set evaluate.samples"
    """Option that says how many responses are asked for, likewise."""


Usage = Callable[[Sequence[str], int, np.random.SeedSequence], Mapping[str, Any] | None]
"""Prompts, samples of each and the draw, as `Policy.sample` was given them, to what the answers took: the
fields of `record.schema_outside.UsageRecord`; None where that is not known any more."""


@dataclass(frozen=True)
class Outside:
    """A policy from outside with more to say: a kind may return it in place of a bare policy."""

    policy: Policy
    identity: Mapping[str, Any] = field(default_factory=dict)
    """All that its answers depend on beside its options, its code and the content of the source where that is
    a file or a folder, as JSON values: the model that a server serves, the commit of a hub id."""
    instructed: bool = True
    """True if it can be asked with a group's instruction before the prompt."""
    no_kl: str = "its log-probabilities are not known"
    """Reason why there is no divergence from the reference, where `logprob` gives None."""
    notes: Sequence[str] = ()
    """Remarks for a reader of the record."""
    writer: str | None = None
    """Name that the source itself gives to who answered."""
    meet: Callable[[Backbone], None] | None = None
    """Called with the reference's backbone before the policy is asked."""
    usage: Usage | None = None
    """Cost of the answers, where somebody counts it."""

    @classmethod
    def of(cls, made: Policy | Outside) -> Outside:
        """A kind's return value, with as much around it as it said."""
        return made if isinstance(made, Outside) else cls(made)
