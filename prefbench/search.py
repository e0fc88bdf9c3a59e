"""Search distributions: what an option is drawn from when aligners are tuned.

They are declared beside the options' defaults, in `Options.search`, and drawn from by `prefbench tune`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefbench.errors import UserError

if TYPE_CHECKING:
    import numpy as np

LANGUAGE = frozenset({"causal_lm"})
"""Backbones on which options of gradient steps play a part; worlds are solved without any."""
LISTED = frozenset({"finite"})
"""Backbones whose responses can be listed, for options that play no part where they are sampled."""
DIGITS = 3
"""Significant digits of a drawn number: no more are told, and no more are meant."""


@dataclass(frozen=True)
class LogUniform:
    """Numbers whose logarithm is uniform, as of a rate or a strength (`scipy.stats.loguniform`).

    Raises:
        UserError: the bounds are not positive and in order.
    """

    low: float
    high: float
    backbones: frozenset[str] | None = None
    """Backbones on which the option plays a part; None for all. On others it keeps its default."""
    times: str | None = None
    """Option of the model that a drawn number multiplies, as the model's own learning rate; None for none."""

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise UserError(f"{self} draws nothing: its bounds have to be positive and in order; mend them.")

    def draw(self, rng: np.random.Generator) -> float:
        """A number, rounded to three significant digits and never beyond the bounds."""
        from scipy.stats import loguniform

        drawn = float(loguniform(self.low, self.high).rvs(random_state=rng))
        return min(max(_rounded(drawn), self.low), self.high)

    def given(self, drawn: float, model_options: Mapping[str, Any]) -> float:
        """The option's value that a drawn number stands for, with these options of the model.

        Raises:
            UserError: the model has no such option to multiply.
        """
        if self.times is None:
            return drawn
        base = model_options.get(self.times)
        if not isinstance(base, int | float):
            raise UserError(
                f"the model has no option '{self.times}' that a searched rate could multiply: name one "
                "that it has."
            )
        return _rounded(drawn * base)

    @property
    def ends(self) -> tuple[float, ...]:
        """The smallest and the largest number."""
        return self.low, self.high

    def __str__(self) -> str:
        """The distribution for a reader."""
        times = f" times model.{self.times}" if self.times else ""
        return f"log-uniform from {self.low:g} to {self.high:g}{times}"


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely as the others.

    Raises:
        UserError: there is nothing to choose between.
    """

    values: tuple[Any, ...]
    backbones: frozenset[str] | None = None
    """Backbones on which the option plays a part; None for all. On others it keeps its default."""

    def __post_init__(self) -> None:
        if len(set(self.values)) < 2:
            raise UserError(f"a choice among {list(self.values)} is none: give it two values or more.")

    def draw(self, rng: np.random.Generator) -> Any:
        """One of the values."""
        return self.values[int(rng.integers(len(self.values)))]

    def given(self, drawn: Any, model_options: Mapping[str, Any]) -> Any:
        """The option's value that a drawn one stands for: itself."""
        return drawn

    @property
    def ends(self) -> tuple[Any, ...]:
        """Every value."""
        return self.values

    def __str__(self) -> str:
        """The distribution for a reader."""
        return f"one of {', '.join(map(str, self.values))}"


Distribution = LogUniform | Choice
Search = Mapping[str, Distribution | None]
"""From options to what they are drawn from; None for one that a class inherits and does not search."""


def merged(searches: Iterable[Search]) -> dict[str, Distribution]:
    """The declarations of a class and of those that it inherits from, these first, as one space."""
    found: dict[str, Distribution | None] = {}
    for search in searches:
        found |= search
    return {name: drawn for name, drawn in found.items() if drawn is not None}


def decades(drawn: Distribution) -> float:
    """Powers of ten between the smallest and the largest value; 0 of what is no range of positive numbers."""
    numbers = [end for end in drawn.ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(numbers) < len(drawn.ends) or min(numbers) <= 0:
        return 0.0
    return math.log10(max(numbers) / min(numbers))


def spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    """Numbers from `low` to `high`, both among them, in equal ratios, to three significant digits."""
    ratio = (high / low) ** (1 / (count - 1))
    inner = (_rounded(low * ratio**index) for index in range(1, count - 1))
    return (low, *inner, high)


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
