"""The room of personal policies: how much knowing the groups of people could be worth to the worst off."""

from __future__ import annotations

from typing import NamedTuple

NO_ROOM = 1e-7
"""A room up to this, in standard deviations of utility, is rounding."""


class Room(NamedTuple):
    """The ends between which personal policies lie, values V of the worst group (docs/personal.md)."""

    single: float
    """Value that the best single policy gives it: the maxmin optimum."""
    own: float
    """Value that it has where every group has its own optimum."""

    @property
    def size(self) -> float:
        """The room itself; zero where it is rounding."""
        size = self.own - self.single
        return size if size > NO_ROOM else 0.0

    @property
    def sentence(self) -> str:
        """The room in words."""
        if not self.size:
            return (
                f"Room: 0. The best single policy already gives the worst group {self.single:.2f}, all that "
                "its own optimum does: here nothing can be shown of personal policies."
            )
        return (
            f"Room: {self.size:.2f}. The worst group has {self.single:.2f} of the best single policy, and "
            f"{self.own:.2f} where every group has its own optimum."
        )
