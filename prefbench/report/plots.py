"""Figures of a runs folder for a paper, drawn with matplotlib."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefbench.boards.frontier import by_board, frontiers_of
from prefbench.boards.rows import load_rows
from prefbench.boards.table import frame_of
from prefbench.errors import UserError
from prefbench.registry import suggest
from prefbench.report.drawing import legend, looks, new_figure, tidy
from prefbench.report.figures import (
    Cell,
    FigureSetting,
    Line,
    pareto_front,
    ratio_label,
    settings_of,
    style,
    training_curves,
)
from prefbench.report.frontier_plot import draw_frontier
from prefbench.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = "means over runs with 95% t intervals over seeds (of one seed: over its prompts)"


def save_figures(
    runs_dir: Path,
    out: Path,
    fmt: Literal["png", "svg", "pdf"] = "png",
    aligners: Sequence[str] | None = None,
) -> list[Path]:
    """Draw the figures of every setting in a runs folder; the same runs give the same SVG, byte for byte.

    Args:
        runs_dir: the runs.
        out: a folder, made if it is not there.
        fmt: of the files.
        aligners: which to draw; a readable choice if left out.

    Returns:
        The files: headline, scatter, gap, kl, training where histories are known, and frontier where an
        aligner was run with several strengths.

    Raises:
        UserError: if there is no run, nothing that can be drawn, or an aligner that was not run.
    """
    runs_dir = Path(runs_dir)
    rows = load_rows(runs_dir)
    settings = settings_of(frame_of(rows), rows)
    _check_aligners(settings, aligners or [])
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with _fixed():
        slugs = _slugs([setting.label for setting in settings])
        for setting, slug in zip(settings, slugs, strict=True):
            cells = _cells(setting, aligners)
            for name, draw in DRAWN.items() if cells else ():
                figure = draw(setting, cells)
                if figure is not None:
                    files.append(folder / f"{name}{slug}.{fmt}")
                    _save(figure, files[-1], fmt)
        curves = by_board(frontiers_of(rows), aligners)
        for slug, (label, found) in zip(_slugs(list(curves)), curves.items(), strict=True):
            files.append(folder / f"frontier{slug}.{fmt}")
            _save(draw_frontier(label, found), files[-1], fmt)
    if not files:
        raise UserError(f"nothing in '{runs_dir}' can be drawn: no aligner there has a whole set of runs.")
    return files


def draw_figure(settings: Sequence[FigureSetting], name: str, path: Path | None = None) -> Figure:
    """One figure of one setting, as `save_figures` draws it.

    Args:
        settings: from `settings_of`.
        name: headline, scatter, gap, kl or training.
        path: a PNG, SVG or PDF file to write, if any.

    Returns:
        The figure, which a notebook shows.

    Raises:
        UserError: there is no such figure or kind of file, several settings, or nothing to draw.
    """
    if name not in DRAWN:
        raise UserError(f"no figure '{name}': there are {', '.join(DRAWN)}.")
    fmt = "" if path is None else path.suffix.removeprefix(".").lower()
    if path is not None and fmt not in _STAMPS:
        raise UserError(f"'{path}' is no {', '.join(_STAMPS)} file: name it so.")
    if len(settings) > 1:
        labels = "; ".join(one_line(setting.label) for setting in settings[:4])
        raise UserError(
            f"a figure has one task, model and data, and these are {len(settings)} ({labels}"
            f"{'; ...' if len(settings) > 4 else ''}): choose runs of one."
        )
    with _fixed():
        cells = _cells(settings[0], None) if settings else []
        figure = DRAWN[name](settings[0], cells) if cells else None
        if figure is None:
            lacks = _LACKS[name] if cells else "no whole set of runs"
            raise UserError(f"figure '{name}' cannot be drawn: there is {lacks}.")
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(figure, path, fmt)
    figure._repr_png_ = partial(_png, figure)  # type: ignore[attr-defined]
    return figure


def _png(figure: Figure) -> bytes:
    """The picture that a notebook shows of a figure that pyplot does not know."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _fixed() -> AbstractContextManager[None]:
    """Settings of matplotlib under which the same runs give the same figures."""
    import matplotlib

    # Names of aligners and tasks may hold a $, which is no formula.
    fixed: dict[Any, Any] = {"svg.hashsalt": "prefbench", "font.size": 9, "text.parse_math": False}
    return matplotlib.rc_context(fixed)


_LACKS = {"kl": "no KL that is known", "training": "no training history"}
"""Things that may be missing for a figure though there are runs."""
_STAMPS = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Kinds of files, and what is left out of each that would differ from day to day."""


def _save(figure: Figure, path: Path, fmt: str) -> None:
    figure.savefig(path, dpi=200, metadata=_STAMPS[fmt])


def _cells(setting: FigureSetting, aligners: Sequence[str] | None) -> list[Cell]:
    """The cells of a setting that are shown and can be drawn."""
    shown = _shown(setting, aligners)
    return [cell for cell in setting.cells if cell.line in shown and cell.interval("gap")]


def _check_aligners(settings: Sequence[FigureSetting], aligners: Sequence[str]) -> None:
    known = sorted({cell.row["aligner"] for setting in settings for cell in setting.cells})
    for name in aligners:
        if name not in known:
            raise UserError(f"no run of an aligner '{name}'.{suggest(name, known)}")


def _shown(setting: FigureSetting, aligners: Sequence[str] | None) -> set[int]:
    if not aligners:
        return set(setting.first_shown)
    return {cell.line for cell in setting.cells if cell.row["aligner"] in aligners}


def _slugs(labels: Sequence[str]) -> list[str]:
    """Ends of file names: none for a single setting, else what names it, made unique."""
    if len(labels) == 1:
        return [""]
    plain = [f"-{re.sub(r'[^A-Za-z0-9]+', '_', label).strip('_')[:60]}" for label in labels]
    return [name if plain.count(name) == 1 else f"{name}-{i + 1}" for i, name in enumerate(plain)]


def _look(line: Line) -> dict[str, Any]:
    return looks(style(line.style), line.name)


def _headline(setting: FigureSetting, cells: Sequence[Cell]) -> Figure:
    figure = new_figure(6.4, 4.4)
    axes = figure.subplots()
    ratios = setting.ratios
    for i, line in enumerate(setting.lines):
        points = sorted(
            (cell.ratio, *values)
            for cell in cells
            if cell.line == i and (values := cell.interval("minority_win_rate"))
        )
        if not points:
            continue
        x, y, low, high = (list(column) for column in zip(*points, strict=True))
        axes.plot(x, y, linewidth=1.6, **_look(line))
        if len(points) > 1:
            axes.fill_between(x, low, high, color=style(line.style).colour, alpha=0.13, linewidth=0)
        else:
            axes.vlines(x, low, high, color=style(line.style).colour, linewidth=1)
    axes.axhline(0.5, color="0.4", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    axes.set(xscale="log", ylim=(0, 1), xlabel="majority : minority", ylabel="minority win rate")
    axes.set_xticks(ratios, [ratio_label(ratio) for ratio in ratios])
    axes.minorticks_off()
    axes.set_xlim(max(ratios) * 1.06, min(ratios) / 1.06)
    axes.set_title(f"{setting.label}\n{CAPTION}", fontsize=8)
    tidy(axes)
    legend(figure, axes)
    return figure


def _panels(
    setting: FigureSetting, cells: Sequence[Cell], height: float
) -> tuple[Figure, list[tuple[float, Axes]]]:
    """A panel for each ratio that has something to show."""
    ratios = [ratio for ratio in setting.ratios if any(cell.ratio == ratio for cell in cells)]
    columns = min(len(ratios), 4)
    rows = math.ceil(len(ratios) / columns)
    figure = new_figure(max(4.4, 2.9 * columns), height * rows + 0.7)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for spare in grid.flat[len(ratios) :]:
        spare.set_visible(False)
    panels = list(zip(ratios, grid.flat, strict=False))
    for ratio, axes in panels:
        axes.set_title(ratio_label(ratio), fontsize=9)
        tidy(axes)
    figure.suptitle(f"{setting.label}\n{CAPTION}", fontsize=8)
    return figure, panels


def _whiskers(axes: Axes, line: Line, x: Sequence[float], y: Sequence[float]) -> None:
    """A marker with an interval in each direction that has one; x and y are estimate, low and high."""
    axes.hlines(y[0], x[1], x[2], color=style(line.style).colour, linewidth=1, alpha=0.6)
    axes.vlines(x[0], y[1], y[2], color=style(line.style).colour, linewidth=1, alpha=0.6)
    axes.plot(x[0], y[0], **{**_look(line), "linestyle": "none"})


def _scatter(setting: FigureSetting, cells: Sequence[Cell]) -> Figure:
    figure, panels = _panels(setting, cells, 2.9)
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
            axes.plot(x_steps, y_steps, color="0.4", linewidth=0.9, drawstyle="steps-pre", zorder=0)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="majority win rate")
    panels[0][1].set_ylabel("minority win rate")
    legend(figure, _fullest(panels))
    return figure


def _fullest(panels: Sequence[tuple[float, Axes]]) -> Axes:
    return max((axes for _, axes in panels), key=lambda axes: len(axes.get_legend_handles_labels()[1]))


def _gap(setting: FigureSetting, cells: Sequence[Cell]) -> Figure:
    names = [line for i, line in enumerate(setting.lines) if any(cell.line == i for cell in cells)]
    figure, panels = _panels(setting, cells, 0.25 * len(names) + 0.8)
    for ratio, axes in panels:
        for cell in cells:
            values = cell.interval("gap")
            if cell.ratio == ratio and values:
                line = setting.lines[cell.line]
                y, colour = names.index(line), style(line.style).colour
                hatch = None if cell.complete else "///"
                axes.barh(y, values[0], color=colour, alpha=0.75, height=0.66, hatch=hatch)
                axes.hlines(y, values[1], values[2], color="0.1", linewidth=1.1)
        axes.set(xlim=(0, 1), xlabel="gap")
        axes.set_yticks(range(len(names)), [line.name for line in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
    return figure


def _kl(setting: FigureSetting, cells: Sequence[Cell]) -> Figure | None:
    known = [cell for cell in cells if cell.row["kl"] is not None]
    if not known:
        return None
    figure, panels = _panels(setting, known, 2.6)
    for ratio, axes in panels:
        for cell in known:
            y = cell.interval("worst_group_win_rate")
            if cell.ratio == ratio and y:
                _whiskers(axes, setting.lines[cell.line], [cell.row["kl"]] * 3, y)
        axes.set(ylim=(-0.02, 1.02), xlabel="KL (nats per response)")
        axes.axhline(0.5, color="0.4", linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)
    panels[0][1].set_ylabel("worst group's win rate")
    legend(figure, _fullest(panels))
    return figure


def _training(setting: FigureSetting, cells: Sequence[Cell]) -> Figure | None:
    """A row for each quantity, a column for each ratio."""
    curves = training_curves(cells)
    if not curves:
        return None
    ratios = [ratio for ratio in setting.ratios if any(cells[i].ratio == ratio for i in curves)]
    quantities = [name for name in ("lowest reward", "KL") if any(name in found for found in curves.values())]
    if not quantities:
        return None
    figure = new_figure(max(4.4, 2.9 * len(ratios)), 2.3 * len(quantities) + 0.7)
    grid = figure.subplots(len(quantities), len(ratios), squeeze=False, sharey="row", sharex=True)
    for row, name in enumerate(quantities):
        for column, ratio in enumerate(ratios):
            axes = grid[row, column]
            for i, found in curves.items():
                if cells[i].ratio == ratio and name in found:
                    line, curve = setting.lines[cells[i].line], found[name]
                    axes.plot(
                        curve.steps,
                        curve.mean,
                        linewidth=1.4,
                        markevery=max(1, len(curve.steps) // 5),
                        **_look(line),
                    )
                    axes.fill_between(
                        curve.steps,
                        curve.low,
                        curve.high,
                        color=style(line.style).colour,
                        alpha=0.13,
                        linewidth=0,
                    )
            tidy(axes)
            if row == 0:
                axes.set_title(ratio_label(ratio), fontsize=9)
        grid[row, 0].set_ylabel(name)
    for axes in grid[-1]:
        axes.set_xlabel("iteration")
    figure.suptitle(f"{setting.label}\nmeans over seeds, from the lowest to the highest seed", fontsize=8)
    legend(figure, _fullest([(0.0, axes) for axes in grid.flat]))
    return figure


DRAWN: Mapping[str, Callable[[FigureSetting, Sequence[Cell]], Figure | None]] = {
    "headline": _headline,
    "scatter": _scatter,
    "gap": _gap,
    "kl": _kl,
    "training": _training,
}
"""Every figure by name; one that has nothing to show is none."""
