"""Parts that figures drawn with matplotlib have in common: looks of lines, axes, legends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefbench.report.figures import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "down": "v",
    "plus": "P",
    "cross": "X",
}


def looks(style: Style, label: str) -> dict[str, Any]:
    """Arguments of the plot method of axes, for a line of this style."""
    return {
        "color": style.colour,
        "marker": _MARKERS[style.marker],
        "linestyle": (0, style.dash) if style.dash else "-",
        "markersize": 5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "label": label,
    }


def new_figure(width: float, height: float) -> Figure:
    """A figure that pyplot does not know, of this size in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Axes) -> None:
    """A faint grid, and no more lines than two."""
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def legend(figure: Figure, axes: Axes) -> None:
    """One legend for the figure, below it: never over the data."""
    entries = {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if entries:
        columns = min(len(entries), 3 if figure.get_figwidth() < 8 else 6)
        figure.legend(
            entries.values(),
            entries.keys(),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=8,
        )
