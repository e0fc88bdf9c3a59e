"""Figures of one setting, a task with its options, a model and data, for a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefbench.report.drawing import (
    SMALL,
    grid_of,
    half,
    heading,
    legend,
    looks,
    name_beside,
    new_figure,
    tidy,
    words,
)
from prefbench.report.figures import Cell, FigureSetting, Line, pareto_front, ratio_label, training_curves
from prefbench.report.styles import GREYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = "means over runs with 95% t intervals over seeds (of one seed: over its prompts)"
NAMES = 1.4
"""Inches that names of aligners may take beside bars."""
Draw = Callable[[FigureSetting, Sequence[Cell], float], "Figure | None"]


def _look(line: Line) -> dict[str, Any]:
    return looks(line.style, line.name)


def _panels(
    setting: FigureSetting, cells: Sequence[Cell], width: float, height: float
) -> tuple[Figure, list[tuple[float, Axes]]]:
    """A panel for each ratio that has something to show, each of this height in inches."""
    ratios = [ratio for ratio in setting.ratios if any(cell.ratio == ratio for cell in cells)]
    rows, columns = grid_of(width, len(ratios))
    figure = new_figure(width, height * rows + 0.8)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for spare in grid.flat[len(ratios) :]:
        spare.set_visible(False)
    panels = list(zip(ratios, grid.flat, strict=False))
    for ratio, axes in panels:
        axes.set_title(ratio_label(ratio) if len(ratios) > 1 else f"majority : minority {ratio_label(ratio)}")
        tidy(axes)
    beside = "; panels: majority : minority" if len(ratios) > 1 else ""
    heading(figure, words(setting.label), CAPTION + beside)
    return figure, panels


def _named(
    figure: Figure, panels: Sequence[tuple[float, Axes]], setting: FigureSetting, lines: Sequence[int]
) -> None:
    """A row for each line with its name on the left, and rates from 0 to 1."""
    columns = grid_of(figure.get_figwidth(), len(panels))[1]
    for i, (_, axes) in enumerate(panels):
        axes.set(xlim=(0, 1))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks(range(len(lines)), [name_beside(setting.lines[line].name, NAMES) for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.tick_params(left=i % columns == 0)


def _rows(setting: FigureSetting, lines: Sequence[int]) -> float:
    """Inches that a row for each line takes, whose name may have several lines of text."""
    most = max(name_beside(setting.lines[line].name, NAMES).count("\n") for line in lines)
    return (0.15 + 0.12 * most) * len(lines)


def _square(setting: FigureSetting, width: float) -> float:
    """The height of a panel for each ratio that is about as high as wide, inches."""
    return min(2.6, width / grid_of(width, len(setting.ratios))[1])


def _axis_names(figure: Figure, panels: Sequence[tuple[float, Axes]], x: str, y: str) -> None:
    """Names of axes: of the horizontal one below each column of panels, of the other one for all of them."""
    columns = grid_of(figure.get_figwidth(), len(panels))[1]
    for i, (_, axes) in enumerate(panels):
        if i + columns >= len(panels):
            axes.set_xlabel(x)
    figure.supylabel(y, fontsize=SMALL)


def _headline(setting: FigureSetting, cells: Sequence[Cell], width: float) -> Figure | None:
    """The worst group of each aligner: learners from the best down, then what stands beside them."""
    order = _best_first(setting, cells)
    figure, panels = _panels(setting, cells, width, _rows(setting, order) + 0.45)
    for ratio, axes in panels:
        for cell in cells:
            values = cell.interval("worst_group_win_rate")
            if cell.ratio == ratio and values:
                line = setting.lines[cell.line]
                y, colour = order.index(cell.line), line.style.colour
                axes.hlines(y, values[1], values[2], color=colour, linewidth=1.2)
                face = {} if cell.complete else {"markerfacecolor": "white", "markeredgecolor": colour}
                axes.plot(values[0], y, **{**_look(line), "linestyle": "none", **face})
        axes.axvline(0.5, color="0.4", linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
    _named(figure, panels, setting, order)
    figure.supxlabel("worst group's win rate", fontsize=SMALL)
    return figure


def _best_first(setting: FigureSetting, cells: Sequence[Cell]) -> list[int]:
    """Lines by their mean worst group over ratios, learners first."""
    scores: dict[int, list[float]] = {}
    for cell in cells:
        values = cell.interval("worst_group_win_rate")
        scores.setdefault(cell.line, []).extend(values[:1] if values else ())

    def place(line: int) -> tuple[bool, float, str]:
        known = scores[line]
        beside = setting.lines[line].style.colour in GREYS.values()
        return beside, -sum(known) / len(known) if known else 0.0, setting.lines[line].name

    return sorted(scores, key=place)


def _shares(setting: FigureSetting, cells: Sequence[Cell], width: float) -> Figure | None:
    """The minority's win rate against its share, a line for each aligner; of one share nothing."""
    ratios = setting.ratios
    if len(ratios) < 2:
        return None
    figure = new_figure(width, 0.6 * width + 1.0)
    axes = figure.subplots()
    for i, line in enumerate(setting.lines):
        points = sorted(
            (cell.ratio, *values)
            for cell in cells
            if cell.line == i and (values := cell.interval("minority_win_rate"))
        )
        if not points:
            continue
        x, y, low, high = (list(column) for column in zip(*points, strict=True))
        axes.plot(x, y, linewidth=1.2, **_look(line))
        if len(points) > 1:
            axes.fill_between(x, low, high, color=line.style.colour, alpha=0.12, linewidth=0)
        else:
            axes.vlines(x, low, high, color=line.style.colour, linewidth=1)
    half(axes)
    axes.set(xscale="log", ylim=(0, 1), xlabel="majority : minority", ylabel="minority's win rate")
    axes.set_xticks(ratios, [ratio_label(ratio) for ratio in ratios])
    axes.minorticks_off()
    axes.set_xlim(max(ratios) * 1.06, min(ratios) / 1.06)
    heading(figure, words(setting.label), CAPTION)
    tidy(axes)
    legend(figure, axes)
    return figure


def _whiskers(axes: Axes, line: Line, x: Sequence[float], y: Sequence[float]) -> None:
    """A marker with an interval in each direction that has one; x and y are estimate, low and high."""
    axes.hlines(y[0], x[1], x[2], color=line.style.colour, linewidth=0.8, alpha=0.6)
    axes.vlines(x[0], y[1], y[2], color=line.style.colour, linewidth=0.8, alpha=0.6)
    axes.plot(x[0], y[0], **{**_look(line), "linestyle": "none"})


def _scatter(setting: FigureSetting, cells: Sequence[Cell], width: float) -> Figure:
    figure, panels = _panels(setting, cells, width, _square(setting, width))
    for ratio, axes in panels:
        here = [cell for cell in cells if cell.ratio == ratio]
        front: dict[int, tuple[float, float]] = {}
        for i, cell in enumerate(here):
            x, y = cell.interval("majority_win_rate"), cell.interval("minority_win_rate")
            if x and y:
                _whiskers(axes, setting.lines[cell.line], x, y)
                if cell.complete:
                    front[i] = (x[0], y[0])
        best = [front[i] for i in pareto_front(front)]
        if best:  # what some row reaches in both at once lies under these steps
            x_steps, y_steps = zip((0, best[0][1]), *best, (best[-1][0], 0), strict=True)
            axes.plot(x_steps, y_steps, color="0.4", linewidth=0.8, drawstyle="steps-pre", zorder=0)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.7, linestyle=(0, (1, 2)), zorder=0)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _axis_names(figure, panels, "majority's win rate", "minority's win rate")
    legend(figure, [axes for _, axes in panels])
    return figure


def _gap(setting: FigureSetting, cells: Sequence[Cell], width: float) -> Figure:
    order = sorted({cell.line for cell in cells})
    figure, panels = _panels(setting, cells, width, _rows(setting, order) + 0.45)
    for ratio, axes in panels:
        for cell in cells:
            values = cell.interval("gap")
            if cell.ratio == ratio and values:
                y, colour = order.index(cell.line), setting.lines[cell.line].style.colour
                hatch = None if cell.complete else "///"
                axes.barh(y, values[0], color=colour, alpha=0.75, height=0.66, hatch=hatch)
                axes.hlines(y, values[1], values[2], color="0.1", linewidth=0.9)
    _named(figure, panels, setting, order)
    figure.supxlabel("gap between groups", fontsize=SMALL)
    return figure


def _kl(setting: FigureSetting, cells: Sequence[Cell], width: float) -> Figure | None:
    known = [cell for cell in cells if cell.row["kl"] is not None]
    if not known:
        return None
    figure, panels = _panels(setting, known, width, _square(setting, width))
    for ratio, axes in panels:
        for cell in known:
            y = cell.interval("worst_group_win_rate")
            if cell.ratio == ratio and y:
                _whiskers(axes, setting.lines[cell.line], [cell.row["kl"]] * 3, y)
        axes.set(ylim=(-0.02, 1.02))
        half(axes)
    _axis_names(figure, panels, "KL (nats per response)", "worst group's win rate")
    legend(figure, [axes for _, axes in panels])
    return figure


def _training(setting: FigureSetting, cells: Sequence[Cell], width: float) -> Figure | None:
    """A panel for each quantity and ratio: quantities are columns in one column of text, else rows."""
    curves = training_curves(cells)
    quantities = [name for name in ("lowest reward", "KL") if any(name in found for found in curves.values())]
    if not quantities:
        return None
    ratios = [ratio for ratio in setting.ratios if any(cells[i].ratio == ratio for i in curves)]
    down = width < 5
    shape = (len(ratios), len(quantities)) if down else (len(quantities), len(ratios))
    figure = new_figure(width, 1.45 * shape[0] + 0.9)
    grid = figure.subplots(*shape, squeeze=False, sharey="col" if down else "row", sharex=True)
    for row, name in enumerate(quantities):
        for column, ratio in enumerate(ratios):
            axes = grid[column, row] if down else grid[row, column]
            for i, found in curves.items():
                if cells[i].ratio == ratio and name in found:
                    _trained(axes, setting.lines[cells[i].line], found[name])
            tidy(axes)
            axes.set_title(f"{name}, {ratio_label(ratio)}")
    for axes in grid[-1]:
        axes.set_xlabel("iteration")
    heading(figure, words(setting.label), "means over seeds, from the lowest to the highest seed")
    legend(figure, list(grid.flat))
    return figure


def _trained(axes: Axes, line: Line, curve: Any) -> None:
    every = max(1, len(curve.steps) // 5)
    axes.plot(curve.steps, curve.mean, linewidth=1.1, markevery=every, **_look(line))
    axes.fill_between(curve.steps, curve.low, curve.high, color=line.style.colour, alpha=0.12, linewidth=0)


DRAWN: Mapping[str, Draw] = {
    "headline": _headline,
    "shares": _shares,
    "scatter": _scatter,
    "gap": _gap,
    "kl": _kl,
    "training": _training,
}
"""Every figure of a setting by name; one that has nothing to show is none."""
WHOLE = ("headline",)
"""Figures with a row for each line, in which all of them are read."""
LACKS = {"shares": "one minority ratio", "kl": "no KL that is known", "training": "no training history"}
"""Things that may be missing for a figure though there are runs."""
