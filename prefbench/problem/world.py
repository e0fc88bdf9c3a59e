"""Worlds in which every response can be listed, so that every expectation is a finite sum.

A world has states (what a prompt is about) and, in each, the same number of responses. Several prompts may
be about one state: prompts are what the splits keep apart, states are what is computed on.
"""

from __future__ import annotations

import functools
import hashlib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from prefbench.arrays import Floats, Ints
from prefbench.errors import UserError
from prefbench.problem.utilities.protocol import Utility
from prefbench.text import text_digest

if TYPE_CHECKING:
    import pandas as pd

    from prefbench.problem.process import Process


# Options that worlds have in common.
Annotators = Annotated[int, Field(ge=2, description="Annotators in all.")]
PairsPerAnnotator = Annotated[int, Field(ge=1, description="Pairs that each of them labels.")]
Temperature = Annotated[
    float, Field(ge=0, description="Label noise, in standard deviations of the group's utility.")
]
Beta = Annotated[float, Field(description="KL weight of the exact solutions that a run is held against.")]


@dataclass(frozen=True)
class World:
    """S states with R responses each, d features of a response, and G groups.

    Raises:
        UserError: there is nothing to choose or nothing to disagree about.
    """

    state: Mapping[str, int]
    """Every prompt of every split, and the state that it is about."""
    responses: tuple[tuple[str, ...], ...]
    """[S, R] the text of each response; different within a state."""
    features: Floats
    """[S, R, d] psi(y, x): what linear rewards and policies see."""
    utilities: Floats
    """[S, R, G] u_g(x, y), in the groups' own units."""
    reference: Floats
    """[S, R] pi_ref(y | x), positive."""
    beta: float
    """Weight of the KL charge in the exact solutions that a run is held against, in normalised utility
    (standard deviations over reference responses) per nat."""
    process: Process | None = None
    """The decision process whose trajectories the responses are, where they are that."""
    _column: tuple[dict[str, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        states, choices, _ = self.features.shape
        shapes = {self.utilities.shape[:2], self.reference.shape, (len(self.responses), choices)}
        if shapes != {(states, choices)}:
            raise ValueError(f"features {self.features.shape} and {shapes} do not fit")
        if not self.beta > 0:
            raise UserError(
                f"task.beta={self.beta:g}: an exact optimum needs a positive KL weight; set it above 0."
            )
        if choices < 2:
            raise UserError("a world with one response leaves nothing to choose: give it two or more.")
        if not (np.isfinite(self.features).all() and np.isfinite(self.utilities).all()):
            raise UserError("a feature or a utility of this world is not a finite number: mend it.")
        if (self.reference <= 0).any() or not np.allclose(self.reference.sum(axis=1), 1):
            raise ValueError("reference probabilities must be positive and sum to one in each state")
        columns = tuple({text: i for i, text in enumerate(row)} for row in self.responses)
        if any(len(column) != choices for column in columns):
            raise ValueError("two responses of one state have the same text")
        object.__setattr__(self, "_column", columns)
        self._check_conflict()

    def _check_conflict(self) -> None:
        # The choice between responses depends on a utility only up to a shift in each state and a scale.
        shown = self.utilities - (self.utilities * self.reference[..., None]).sum(axis=1, keepdims=True)
        spread = np.sqrt((shown**2).mean(axis=(0, 1)))
        if (spread < 1e-12).any():
            raise UserError("a group is indifferent among all responses: give it something to want.")
        shown = shown / spread
        if np.abs(shown - shown[..., :1]).max() < 1e-9:
            raise UserError(
                "all groups of this world want the same: there is nothing to disagree about; let one differ."
            )

    @functools.cached_property
    def digest(self) -> str:
        """Names everything in this world that can move a number."""
        texts = [
            *self.state,
            *map(str, self.state.values()),
            *(text for row in self.responses for text in row),
        ]
        state = hashlib.sha256(text_digest(texts).encode())
        for array in (self.features, self.utilities, self.reference):
            state.update(repr(array.shape).encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()[:32]

    def rows(self, prompts: Sequence[str]) -> Ints:
        """The state of each prompt, [n].

        Raises:
            UserError: a prompt is not of this world.
        """
        try:
            return np.fromiter(map(self.state.__getitem__, prompts), np.int64, len(prompts))
        except KeyError as error:
            raise UserError(f"{error.args[0]!r:.80} is no prompt of this world.") from None

    def columns(self, rows: Ints, responses: Sequence[str]) -> Ints:
        """The response of its state that each text is, as an index [n].

        Raises:
            UserError: a text is no response of its state.
        """
        if len(rows) != len(responses):
            raise ValueError(f"{len(responses)} responses of {len(rows)} states")
        indices = map(self._column.__getitem__, rows.tolist())
        try:
            return np.fromiter(map(operator.getitem, indices, responses), np.int64, len(responses))
        except KeyError as error:
            raise UserError(f"{error.args[0]!r:.80} is no response of this world.") from None

    def listed(self, prompts: Sequence[str]) -> pd.DataFrame:
        """Every response to the states that the prompts are about, state by state.

        Columns `state`, `state_weight` (share of the prompts), `response`, `reference` (its probability) and
        `utility/0`, `utility/1`, ... by group.
        """
        import pandas as pd

        rows, counts = np.unique(self.rows(prompts), return_counts=True)
        choices = self.reference.shape[1]
        frame = {
            "state": np.repeat(rows, choices),
            "state_weight": np.repeat(counts / len(prompts), choices),
            "response": [text for row in rows for text in self.responses[row]],
            "reference": self.reference[rows].ravel(),
        }
        for index, utility in enumerate(np.moveaxis(self.utilities[rows], 2, 0)):
            frame[f"utility/{index}"] = utility.ravel()
        return pd.DataFrame(frame)


@dataclass(frozen=True)
class TableUtility(Utility):
    """One group's utility in a world, looked up."""

    world: World = field(repr=False)
    group: int
    label: str
    unit: str

    @property
    def name(self) -> str:
        """The kind and the world's digest, which holds everything that can move a number."""
        return f"{self.label}@{self.world.digest}/{self.group}"

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Floats:
        """Utility of each response, [n]."""
        rows = self.world.rows(prompts)
        return np.asarray(self.world.utilities[rows, self.world.columns(rows, responses), self.group])
