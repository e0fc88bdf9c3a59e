"""The figure of a board's frontiers for a paper, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefbench.boards.frontier import Frontier
from prefbench.report.drawing import legend, looks, new_figure, tidy
from prefbench.report.frontier_lines import PANELS, TICKS, ends_of, gains_of, lines_of, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_frontier(label: str, frontiers: Sequence[Frontier]) -> Figure:
    """Worst group, true utility and learned reward against KL, a line for each aligner through its strengths.

    Utility and reward have one scale, so that what was optimised is read beside what it stands for. A panel
    of what no run knows is left out.
    """
    lines = lines_of(frontiers)
    panels = panels_of(lines) or ["worst_group"]
    figure = new_figure(6.4 if len(panels) == 1 else 3.4 * len(panels), 4.4)
    low, high = ends_of(lines)
    ticks = [nats for nats in TICKS if low <= nats <= high]
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, quantity in zip(every, panels, strict=True):
        for line in lines:
            points = line.points(quantity)
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, linewidth=1.6, **looks(line.style, line.name))
        rate = quantity == "worst_group"
        axes.axhline(0.5 if rate else 0.0, color="0.4", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        axes.set(xscale="log", xlabel="KL (nats per response)", ylabel=PANELS[quantity])
        axes.set_xlim(low, high)
        axes.set_xticks(ticks, [f"{nats:g}" for nats in ticks])
        axes.minorticks_off()
        axes.set_ylim((0, 1) if rate else gains_of(lines))
        tidy(axes)
    said = "means over seeds of each run's own worst group"
    if len(panels) > 1:
        said += "; gains of the group or reward that gained least, in standard deviations of the reference's"
    figure.suptitle(f"{label}\n{said}", fontsize=8)
    legend(figure, every[0])
    return figure
