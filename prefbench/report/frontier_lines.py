"""Content of the figures of frontiers, drawn for a paper or on the page: panels, lines and their looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prefbench.boards.frontier import QUANTITIES, Frontier, Point, Quantity
from prefbench.record.schema import Record
from prefbench.report.figures import line_names
from prefbench.report.styles import Style, styles_of

PANELS: Mapping[Quantity, str] = {
    "worst_group": "worst group's win rate",
    "utility": "true utility gained",
    "proxy": "learned reward gained",
}
"""Quantities of a frontier with the titles of their axes. The last two are in standard deviations over
reference responses, of the group or the reward that gained least."""
TICKS = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""KL in nats that axes may name."""
LEAST_KL = 1e-3
"""Nats below which a policy is the reference, which a logarithmic axis has no place for."""
MOST = 1e9
"""Nats, or standard deviations, beyond which no axis goes: a stranger's record may hold any number."""


@dataclass(frozen=True)
class FrontierLine:
    """One frontier and how it looks."""

    frontier: Frontier
    name: str
    style: Style

    def points(self, quantity: Quantity) -> list[Point]:
        """Means over seeds, the smallest KL first, without the reference itself and what no axis holds."""
        means = self.frontier.means(quantity)
        return [(x, y) for x, y in means if LEAST_KL <= x < MOST and abs(y) < MOST]


def lines_of(frontiers: Sequence[Frontier], aligners: Mapping[str, str]) -> list[FrontierLine]:
    """Lines of the frontiers of a board; those without training come last.

    Args:
        frontiers: of one board.
        aligners: all aligners of the folder with their roles (`boards.ranks.roles`), so that each looks as in
            other figures.
    """
    names = line_names([_without(found.record, found.option) for found in frontiers])
    styles = styles_of(aligners, names)
    lines = [FrontierLine(found, name, styles[name]) for found, name in zip(frontiers, names, strict=True)]
    return sorted(lines, key=lambda line: not line.frontier.trained)


def panels_of(lines: Sequence[FrontierLine]) -> list[Quantity]:
    """The quantities that some line has."""
    return [name for name in QUANTITIES if any(line.points(name) for line in lines)]


def ends_of(lines: Sequence[FrontierLine]) -> tuple[float, float]:
    """The least and the most KL that axes have room for, nats."""
    known = [x for line in lines for x, _ in line.points("worst_group")]
    return (min(known) / 1.2, max(known) * 1.2) if known else (0.1, 10.0)


def gains_of(lines: Sequence[FrontierLine], quantity: Quantity) -> tuple[float, float]:
    """The least and the most that was gained of a quantity, with nothing gained among them and some room."""
    known = [0.0, *(y for line in lines for _, y in line.points(quantity))]
    room = 0.06 * ((max(known) - min(known)) or 1.0)
    return min(known) - room, max(known) + room


def _without(record: Record, option: str) -> Record:
    """The record as if it had no such option of its aligner: what its frontier's runs have in common."""
    options = {k: v for k, v in record.spec.get("aligner_options", {}).items() if k != option}
    return record.model_copy(update={"spec": {**record.spec, "aligner_options": options}})
