"""The figure of what a user's pairs are worth: from the best single policy to every group's own optimum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prefbench.evaluate.context_curve import over_worlds
from prefbench.evaluate.room import NO_ROOM
from prefbench.report.theory_plot import COLOURS, MARKERS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = 4
"""Panels in a row, at most."""
WORST = "worst group's V\n(sd of utility, less KL charge)"


def save_figure(frame: pd.DataFrame, folder: Path, formats: tuple[str, ...] = ("png", "svg")) -> list[Path]:
    """Write personal.png and personal.svg of `evaluate.context_curve.curves`' result; give back where.

    A panel for each value of the column `task`, means over its seeds; bars are two standard errors of the
    simulation to either side.
    """
    import matplotlib
    from matplotlib.figure import Figure

    tasks = frame["task"].unique().tolist()
    columns = min(COLUMNS, len(tasks))
    height = -(-len(tasks) // columns)
    with matplotlib.rc_context({"svg.hashsalt": "prefbench", "font.size": 9}):
        figure = Figure(
            figsize=(max(6.4, 3.3 * columns), 0.6 + (3.8 if columns == 1 else 2.7) * height),
            layout="constrained",
        )
        panels = figure.subplots(height, columns, squeeze=False).ravel()
        for panel, task in zip(panels, tasks, strict=False):
            room = _panel(panel, frame[frame["task"] == task])
            panel.set_title(task if room > NO_ROOM else f"{task}: no room")
        for panel in panels[len(tasks) :]:
            panel.set_axis_off()
        for panel in panels[::columns]:
            panel.set_ylabel(WORST)
        drawn, names = panels[0].get_legend_handles_labels()
        figure.legend(drawn, names, loc="outside lower center", ncols=3 if columns > 1 else 2, fontsize=8)
        files = [folder / f"personal.{kind}" for kind in formats]
        for file in files:
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files


def _panel(axes: Axes, frame: pd.DataFrame) -> float:
    """One world's two priors between the two ends; back comes the room between these."""
    table = over_worlds(frame)
    minority = frame["minority_ratio"].iloc[0]
    place = np.arange(len(table))
    none, own = table["value"].iloc[0], table["value"].iloc[-1]
    axes.axhspan(none, own, color="black", alpha=0.06, linewidth=0, label="room of personal policies")
    for index, (name, label) in enumerate(
        {
            "value": "best of all methods (least favourable prior)",
            "shares_value": f"best for the mean (prior = shares, minority {minority:g})",
        }.items()
    ):
        axes.errorbar(
            place,
            table[name],
            yerr=2 * table[f"{name}_se"],
            color=COLOURS[index],
            marker=MARKERS[index],
            markersize=4,
            linewidth=1.3,
            capsize=2,
            label=label,
        )
    axes.axhline(none, color="black", linewidth=0.8, linestyle=":", label="best single policy")
    axes.axhline(own, color="black", linewidth=0.8, linestyle="--", label="every group's own optimum")
    axes.set_xticks(place, ["limit" if np.isinf(n) else f"{n:.0f}" for n in table["pairs"]])
    axes.set_xlabel("labelled pairs of the user")
    axes.grid(alpha=0.25)
    return float(own - none)
