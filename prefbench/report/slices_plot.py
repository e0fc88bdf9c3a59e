"""The figure of an aligner's options: a score against each of them, one panel an option."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefbench.report.drawing import grid_of, heading, new_figure, tidy, words, wrapped
from prefbench.report.figures import Cell, FigureSetting, ratio_label
from prefbench.report.styles import Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST = 3
"""Configurations of which there have to be so many."""


@dataclass(frozen=True)
class Configuration:
    """One configuration of an aligner and what it scored."""

    options: Mapping[str, Any]
    score: float
    low: float | None = None
    high: float | None = None
    chosen: bool = False
    whole: bool = True
    """False of one that was given up early, and so scored on fewer seeds."""


@dataclass(frozen=True)
class Slices:
    """All configurations of an aligner in one setting."""

    aligner: str
    label: str
    measure: str
    """Name of the score, larger being better."""
    style: Style
    configurations: tuple[Configuration, ...]

    def varied(self) -> list[str]:
        """Options that have two values or more among them."""
        names = dict.fromkeys(name for each in self.configurations for name in each.options)
        return [name for name in names if len(_values(self.configurations, name)) > 1]


def slices_of(settings: Iterable[FigureSetting], aligners: Iterable[str] | None = None) -> list[Slices]:
    """The slices of aligners that were run with several options, at each minority ratio."""
    found = []
    wanted = set(aligners or ())
    for setting in settings:
        cells: dict[tuple[str, float], list[Cell]] = {}
        for cell in setting.cells:
            if not wanted or cell.row["aligner"] in wanted:
                cells.setdefault((str(cell.row["aligner"]), cell.ratio), []).append(cell)
        for (aligner, ratio), same in cells.items():
            tried = [each for each in map(_configuration, same) if each is not None]
            if len(tried) < FEWEST:
                continue
            style = setting.lines[min(cell.line for cell in same)].style
            label = f"{setting.label}, {ratio_label(ratio)}"
            slices = Slices(aligner, label, "worst group's win rate", style, tuple(tried))
            if slices.varied():
                found.append(slices)
    return found


def _configuration(cell: Cell) -> Configuration | None:
    values = cell.interval("worst_group_win_rate")
    if values is None:
        return None
    options = cell.runs[min(cell.runs)][1].spec.get("aligner_options", {})
    return Configuration(options, *values)


def draw_slices(slices: Slices, width: float) -> Figure:
    """A panel for each option that was varied, a point for each configuration.

    What was chosen has a ring, and what was given up early is hollow.

    Args:
        slices: with an option that is varied.
        width: inches.
    """
    names = slices.varied()
    rows, columns = grid_of(width, len(names))
    figure = new_figure(width, 1.55 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for spare in grid.flat[len(names) :]:
        spare.set_visible(False)
    for name, axes in zip(names, grid.flat, strict=False):
        _panel(axes, slices, name, width / columns)
    for axes in grid[:, 0]:
        axes.set_ylabel(wrapped(slices.measure, 1.3))
    said = [
        *(["ring: chosen"] if any(each.chosen for each in slices.configurations) else []),
        *(["hollow: given up early"] if not all(each.whole for each in slices.configurations) else []),
    ]
    heading(figure, f"{words(slices.aligner)}: {words(slices.label)}", *filter(None, ["; ".join(said)]))
    return figure


def _panel(axes: Axes, slices: Slices, name: str, room: float) -> None:
    values = _values(slices.configurations, name)
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    drawn = [each for each in slices.configurations if name in each.options]
    x = [each.options[name] if numeric else values.index(each.options[name]) for each in drawn]
    for place, each in zip(x, drawn, strict=True):
        if each.low is not None and each.high is not None:
            axes.vlines(place, each.low, each.high, color=slices.style.colour, linewidth=0.8, alpha=0.6)
        if each.chosen:
            axes.plot(
                place, each.score, "o", markersize=8, markerfacecolor="none", color="0.2", clip_on=False
            )
        face = slices.style.colour if each.whole else "white"
        axes.plot(place, each.score, "o", color=slices.style.colour, markerfacecolor=face, markersize=3.5)
    if numeric:
        _number_axis(axes, values)
    else:
        share = (room - 0.6) / len(values)
        axes.set_xticks(range(len(values)), [_beneath(value, share) for value in values])
        axes.set_xlim(-0.5, len(values) - 0.5)
    axes.margins(y=0.1)
    axes.set_xlabel(wrapped(words(name), room - 0.3))
    tidy(axes)


def _beneath(value: Any, inches: float) -> str:
    """A value below its place, three lines of it at the most."""
    lines = wrapped(_said(value), inches, 9).splitlines()
    return "\n".join(lines if len(lines) <= 3 else [*lines[:2], "..."])


def _number_axis(axes: Axes, values: Sequence[int | float]) -> None:
    """A logarithmic axis where values go over more than a tenfold, with few ticks."""
    from matplotlib.ticker import MaxNLocator, NullFormatter

    low, high = min(values), max(values)
    if low > 0 and high / low > 10:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        ticks = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
        kept = ticks[:: max(1, math.ceil(len(ticks) / 4))] if len(ticks) > 1 else [low, high]
        axes.set_xticks(kept, [f"{tick:g}" for tick in kept])
    else:
        whole = all(isinstance(value, int) for value in values)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=whole))


def _values(configurations: Iterable[Configuration], name: str) -> list[Any]:
    """The different values of an option, smallest first where they have an order."""
    found: dict[str, Any] = {}
    for each in configurations:
        if name in each.options:
            found.setdefault(_said(each.options[name]), each.options[name])
    try:
        return sorted(found.values())
    except TypeError:
        return list(found.values())


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
