"""The figure of a board's frontiers for a paper, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prefbench.boards.frontier import Frontier
from prefbench.report.drawing import half, heading, legend, looks, new_figure, tidy, words, wrapped
from prefbench.report.figures import ratio_label
from prefbench.report.frontier_lines import PANELS, TICKS, ends_of, gains_of, lines_of, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_frontier(frontiers: Sequence[Frontier], aligners: Mapping[str, str], width: float) -> Figure:
    """Worst group, true utility and learned reward against KL, a line for each aligner through its strengths.

    Utility and reward have a scale each: a reward that was followed too far gains many times what there is
    to gain of the truth. A panel of what no run knows is left out. Panels are below each other in one column
    of text.

    Args:
        frontiers: of one board.
        aligners: all aligners of the folder with their roles, by which lines look alike in all figures.
        width: inches.
    """
    lines = lines_of(frontiers, aligners)
    panels = panels_of(lines) or ["worst_group"]
    down = width < 5
    shape = (len(panels), 1) if down else (1, len(panels))
    figure = new_figure(width, 1.75 * shape[0] + 1.1)
    low, high = ends_of(lines)
    ticks = _apart([nats for nats in TICKS if low <= nats <= high], 7 if down else 4)
    every = list(figure.subplots(*shape, squeeze=False, sharex=True).flat)
    for axes, quantity in zip(every, panels, strict=True):
        for line in lines:
            points = line.points(quantity)
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, linewidth=1.2, **looks(line.style, line.name))
        rate = quantity == "worst_group"
        half(axes, 0.5 if rate else 0.0)
        axes.set(xscale="log", ylabel=wrapped(PANELS[quantity], 1.5))
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, [f"{nats:g}" for nats in ticks])
        axes.minorticks_off()
        axes.set_ylim((0, 1) if rate else gains_of(lines, quantity))
        tidy(axes)
    for axes in every[-1:] if down else every:
        axes.set_xlabel("KL (nats per response)")
    said = "means over seeds of each run's own worst group"
    if len(panels) > 1:
        said += "; gains of the group or reward that gained least, in standard deviations of the reference's"
    first = frontiers[0].record
    label = f"{first.task}@{first.task_version}, {first.model}, {first.data}"
    heading(figure, words(f"{label}, {ratio_label(first.minority_ratio)}"), said)
    legend(figure, every)
    return figure


def _apart(ticks: Sequence[float], most: int) -> list[float]:
    """Ticks that do not run into each other: every one, or every second, third and so on."""
    return list(ticks[:: max(1, -(-len(ticks) // most))])
