"""Looks of aligners: a colour, a marker and a dash for each name, the same on the page and in figures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prefbench.registry import placed

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by colour-blind readers; without the yellow, which is lost on white."""
GREYS = {"floor": "#8C8C8C", "ceiling": "#595959", "gold": "#595959"}
"""Colours of what stands beside the learners, by its role on a board."""
PALETTE = (*COLOURS, *dict.fromkeys(GREYS.values()))
"""Every colour that a line may have."""
MARKERS = ("circle", "square", "triangle", "diamond", "down", "plus", "cross")
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 3), (2, 3), (9, 3, 2, 3))
"""Solid for the first seven lines, then other dashes: no two of 28 lines look alike."""


@dataclass(frozen=True)
class Style:
    """Looks of a line: the same everywhere."""

    colour: str
    marker: str
    dash: tuple[float, ...]


def styles_of(aligners: Mapping[str, str], lines: Iterable[str] = ()) -> dict[str, Style]:
    """The looks of all aligners of a folder, and of the lines that have options beside an aligner's name.

    An aligner asks for the colour of its name: those that are shown first have one each, others that of a
    digest. Where it is taken the next free one is given; where all are, colours come again with other
    markers and dashes. So looks follow from the names alone, and are the same in every figure of them.

    Args:
        aligners: the role on a board (`boards.ranks.roles`) of each aligner, by its name.
        lines: names of lines, each an aligner, or one with options in brackets (`figures.line_names`). The
            first of an aligner's lines has the aligner's own looks.
    """
    first = [entry.name for entry in placed("aligner", None)]
    place = {name: first.index(name) if name in first else len(first) for name in aligners}
    looks = _Looks()
    found: dict[str, Style] = {}
    for name in sorted(aligners, key=lambda name: (place[name], name)):
        wanted = place[name] if name in first else _digits(name)
        found[name] = looks.new(wanted, GREYS.get(aligners[name]))
    drawn: set[str] = set()
    for line in sorted(set(lines)):
        name = line if line in aligners else aligner_of(line)
        if name in drawn:
            wanted = place[name] if name in first else _digits(name)
            found[line] = looks.new(wanted, GREYS.get(aligners[name]))
        else:
            found[line] = found[name]
            drawn.add(name)
    return found


def aligner_of(line: str) -> str:
    """The aligner of a line's name, without its options."""
    return line.partition(" (")[0]


def _digits(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


class _Looks:
    """Looks that are not given yet."""

    def __init__(self) -> None:
        self._taken: list[int] = []
        self._beside: list[str] = []

    def new(self, wanted: int, grey: str | None) -> Style:
        """Looks that nobody has: this grey, or the wanted place of `COLOURS` or the next free one."""
        if grey is not None:
            index = self._beside.count(grey)
            self._beside.append(grey)
            return _in_grey(grey, index)
        lap = len(self._taken) // len(COLOURS)
        free = [place for place in range(len(COLOURS)) if self._taken.count(place) == lap]
        place = min(free, key=lambda place: (place - wanted) % len(COLOURS))
        self._taken.append(place)
        return Style(COLOURS[place], MARKERS[(place + lap) % len(MARKERS)], DASHES[lap % len(DASHES)])


def _in_grey(grey: str, index: int) -> Style:
    """Looks of the n-th line of a grey, which is never solid."""
    dashes, lap = DASHES[1:], index // len(MARKERS)
    return Style(grey, MARKERS[-1 - index % len(MARKERS)], dashes[(index + lap) % len(dashes)])
