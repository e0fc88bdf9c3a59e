"""Utilities of the text alone by the names that people write in files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prefbench.errors import UserError
from prefbench.problem.utilities.content import Conciseness, Coverage, Relevance
from prefbench.problem.utilities.protocol import Utility
from prefbench.problem.utilities.readability import Readability
from prefbench.problem.utilities.sentiment import VaderSum, Warmth
from prefbench.registry import suggest

# What silence earns lies below all else, in each one's own unit.
UTILITIES: Mapping[str, Callable[[], Utility]] = {
    "conciseness": lambda: Conciseness(empty=-10_000.0),
    "coverage": lambda: Coverage(empty=-1.0),
    "readability": lambda: Readability(empty=-1_000.0),
    "relevance": lambda: Relevance(empty=-1.0),
    "sentiment": lambda: VaderSum(empty=-1_000.0),
    "warmth": lambda: Warmth(empty=-1_000.0),
}
"""Few words; many different content words; easy reading (Flesch); the prompt's own content words taken up;
words of praise, summed; and such words for their number."""


def utility_named(name: str) -> Utility:
    """The utility of that name.

    Raises:
        UserError: there is none.
    """
    if name not in UTILITIES:
        raise UserError(f"no utility is called '{name}'.{suggest(name, UTILITIES)}")
    return UTILITIES[name]()
