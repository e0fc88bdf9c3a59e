"""Parts that figures drawn with matplotlib have in common: sizes, looks of lines, titles, axes, legends."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal

from prefbench.report.styles import Style
from prefbench.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Width = Literal["column", "page"]
WIDTHS: dict[Width, float] = {"column": 3.3, "page": 6.9}
"""Inches of one column of text and of a page of two, as most conferences print them."""
SMALL, TINY = 7, 6
"""Points of ticks, legends and titles, and of what stands in cells."""
_MARKERS = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "down": "v",
    "plus": "P",
    "cross": "X",
}


def fixed() -> AbstractContextManager[None]:
    """Settings of matplotlib under which the same runs give the same figures, to be read at their size."""
    import matplotlib

    # Names of aligners and tasks may hold a $, which is no formula.
    settings: dict[Any, Any] = {
        "svg.hashsalt": "prefbench",
        "text.parse_math": False,
        "font.size": 8,
        "axes.titlesize": SMALL,
        "axes.labelsize": SMALL,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "legend.fontsize": SMALL,
    }
    return matplotlib.rc_context(settings)


def looks(style: Style, label: str) -> dict[str, Any]:
    """Arguments of the plot method of axes, for a line of this style."""
    return {
        "color": style.colour,
        "marker": _MARKERS[style.marker],
        "linestyle": (0, style.dash) if style.dash else "-",
        "markersize": 4,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
        "label": label,
    }


def new_figure(width: float, height: float) -> Figure:
    """A figure that pyplot does not know, of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def words(label: str) -> str:
    """A label of a setting in words, `task.unseen_annotators=8` as `unseen annotators 8`, versions spelt."""
    plain = re.sub(r"\b(?:task|model|evaluate)\.(\w+)=", r"\1 ", one_line(label))
    return re.sub(r"@(\d+)", r" version \1", plain.replace("_", " "))


def wrapped(text: str, inches: float, points: float = SMALL) -> str:
    """A text in lines that fit into a width; a letter is taken to be 0.56 of its size wide."""
    lines = textwrap.wrap(one_line(text), max(6, int(inches * 72 / (0.56 * points))))
    return "\n".join(lines)


def name_beside(name: str, inches: float) -> str:
    """The name of a line beside its row, in lines that break before brackets and after commas."""
    parts = one_line(name).replace("aligner.", "").replace("(", "(\x00").split("\x00")
    parts = [f"{'(' if i else ''}{part.removesuffix('(')}".strip() for i, part in enumerate(parts)]
    if text_width(" ".join(parts)) <= inches:
        return " ".join(parts)
    return "\n".join(wrapped(part, inches, 6) for part in parts)


def heading(figure: Figure, *parts: str) -> None:
    """The title of a figure, each part on lines of its own."""
    room = figure.get_figwidth() - 0.1
    figure.suptitle("\n".join(wrapped(part, room) for part in parts), fontsize=SMALL)


def tidy(axes: Axes) -> None:
    """A faint grid, and no more lines than two."""
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def half(axes: Axes, value: float = 0.5) -> None:
    """A dotted line where a policy is the reference."""
    axes.axhline(value, color="0.4", linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)


def legend(figure: Figure, axes: Axes | Sequence[Axes]) -> None:
    """One legend for the figure, below it and no wider: never over the data."""
    every = axes if isinstance(axes, Sequence) else [axes]
    entries = {
        label: handle
        for each in every
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True)
    }
    if not entries:
        return
    room = figure.get_figwidth() - 0.1
    labels = [wrapped(label, room - _HANDLE) for label in entries]
    widths = [_HANDLE + max(map(text_width, label.splitlines())) for label in labels]
    columns = next(n for n in range(min(6, len(labels)), 0, -1) if n == 1 or _in_columns(widths, n) <= room)
    figure.legend(
        list(entries.values()),
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=SMALL,
        columnspacing=1.0,
        handlelength=2.0,
    )


_HANDLE = 0.4
"""Inches of a legend's sample of a line, and of the gaps around it."""


def _in_columns(widths: Sequence[float], columns: int) -> float:
    """The width of a legend of so many columns, the first ones of which have one entry more."""
    rows, more = divmod(len(widths), columns)
    total, start = 0.0, 0
    for column in range(columns):
        end = start + rows + (column < more)
        total += max(widths[start:end])
        start = end
    return total


def text_width(text: str, points: float = SMALL) -> float:
    """The width of a line of text in inches."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=points).get_extents().width) / 72 if text.strip() else 0.0


def grid_of(figure_width: float, panels: int) -> tuple[int, int]:
    """Rows and columns of panels: two beside each other in one column of text, four on a page."""
    columns = min(panels, 2 if figure_width < 5 else 4)
    return math.ceil(panels / columns), columns
