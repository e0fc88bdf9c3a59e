"""Cells of tables that know their numbers: words in a terminal, and a picture beside them in a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from prefbench.text import one_line

Numbers = tuple[float, float, float]
"""An estimate and the ends of its interval."""
WIDTH, HEIGHT = 84, 12
"""Size of a picture, in pixels of a page that is not zoomed."""
_EDGE = 4.0


class IntervalCell(Text):
    """A cell about an estimate with its interval, on an axis that all cells of its column share."""

    def __init__(self, said: str, numbers: Numbers, axis: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__(one_line(said))
        self.numbers = numbers
        self.axis = axis

    def picture(self) -> str:
        """A dot with its interval as SVG, and a line at the axis' middle; empty where a number is unknown.

        It has the colour of the text around it, so that it can be seen on a dark page too.
        """
        if not all(map(math.isfinite, (*self.numbers, *self.axis))) or self.axis[0] >= self.axis[1]:
            return ""
        dot, low, high = (self._place(number) for number in self.numbers)
        middle = WIDTH / 2
        return (
            f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" '
            'stroke="currentColor">'
            f'<path d="M{_EDGE:g} 6H{WIDTH - _EDGE:g}M{middle:g} 0V{HEIGHT}" opacity=".3"/>'
            f'<path d="M{low:.1f} 6H{high:.1f}" stroke-width="2"/>'
            f'<circle cx="{dot:.1f}" cy="6" r="2.5" fill="currentColor"/></svg>'
        )

    def _place(self, number: float) -> float:
        """Place of a number in pixels; of one beyond the axis its end."""
        low, high = self.axis
        share = (min(max(number, low), high) - low) / (high - low)
        return _EDGE + share * (WIDTH - 2 * _EDGE)


def drawn(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    column: str,
    numbers: Sequence[Numbers],
    axis: tuple[float, float] = (0.0, 1.0),
) -> list[list[str | Text]]:
    """The rows with one column's cells as intervals."""
    place = list(header).index(column)
    return [
        [*row[:place], IntervalCell(row[place], each, axis), *row[place + 1 :]]
        for row, each in zip(rows, numbers, strict=True)
    ]
