"""The figure of a head-to-head matrix: whose response each group prefers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from prefbench.boards.matrix import SURE, Matrix
from prefbench.report.drawing import SMALL, TINY, heading, name_beside, new_figure, words
from prefbench.report.figures import ratio_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = 1.4
"""Inches that names may take beside the cells."""


def draw_duels(matrix: Matrix, width: float) -> Figure:
    """A panel for each group: percent of prompts on which a row's response beats a column's.

    Args:
        matrix: from `boards.matrix.head_to_head`.
        width: inches.
    """
    size = len(matrix.policies)
    beside = max(1, min(len(matrix.groups), int(width / (NAMES + 0.24 * size))))
    down = math.ceil(len(matrix.groups) / beside)
    names = [f"{name_beside(name, NAMES - 0.2)}  {n + 1}" for n, name in enumerate(matrix.policies)]
    lines = 1 + max(name.count("\n") for name in names)
    cell = max(0.06 + 0.12 * lines, min(0.3, (width / beside - NAMES) / size))
    figure = new_figure(width, down * (cell * size + 0.45) + 0.75)
    grid = figure.subplots(down, beside, squeeze=False)
    for spare in grid.flat[len(matrix.groups) :]:
        spare.set_axis_off()
    for i, (group, axes) in enumerate(zip(matrix.groups, grid.flat, strict=False)):
        _panel(axes, matrix, group)
        axes.set_yticks(range(size), names if i % beside == 0 else [str(n + 1) for n in range(size)])
    label = ", ".join([matrix.task, matrix.model, matrix.data, ratio_label(matrix.minority_ratio)])
    heading(
        figure,
        words(label),
        "percent of prompts on which a row's response beats a column's, ties one half; "
        "* surely not one half (Holm)",
    )
    return figure


def _panel(axes: Axes, matrix: Matrix, group: str) -> None:
    size = len(matrix.policies)
    rates, sure = np.full((size, size), np.nan), np.zeros((size, size), dtype=bool)
    place = {name: i for i, name in enumerate(matrix.policies)}
    for duel in matrix.duels:
        if duel.group == group:
            i, j = place[duel.first], place[duel.second]
            rates[i, j], rates[j, i] = duel.win_rate, 1 - duel.win_rate
            sure[i, j] = sure[j, i] = duel.p_value < SURE
    axes.imshow(rates, vmin=0, vmax=1, cmap="RdBu", aspect="auto")
    for i, j in zip(*np.nonzero(~np.isnan(rates)), strict=True):
        ink = "white" if abs(rates[i, j] - 0.5) > 0.36 else "black"
        said = f"{100 * rates[i, j]:.0f}{'*' if sure[i, j] else ''}"
        axes.text(j, i, said, ha="center", va="center", fontsize=TINY, color=ink)
    axes.set_title(words(group), fontsize=SMALL)
    axes.set_xticks(range(size), [str(n + 1) for n in range(size)])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
