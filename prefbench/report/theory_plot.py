"""The figure of a theory sweep: how the alignment gap moves, and how near the bounds come to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe and Ito's, told apart by colour-blind readers; without the yellow, which is lost on white."""
MARKERS = "osD^vPX"
GAP = "alignment gap of group u\n(reward in log odds)"


def save_figure(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write theory.png and theory.svg of `evaluate.theory_sweep.sweep`'s result; give back where.

    Points on lines are means over seeds, and over options beyond the first one swept; the KL weight or the
    minority ratio, where a panel does not show it, stays at the middle one of its values.
    """
    import matplotlib
    from matplotlib.figure import Figure

    swept = next((name for name in frame.columns if name.startswith("task.")), None)
    beta, ratio = _middle(frame["beta"]), _middle(frame["minority_ratio"])
    at_beta, at_ratio = frame[frame["beta"] == beta], frame[frame["minority_ratio"] == ratio]
    ratios = {f"{asked:g}": rows for asked, rows in at_beta.groupby("minority_ratio")}
    title = "minority ratio" if swept is None else swept.removeprefix("task.")

    with matplotlib.rc_context({"svg.hashsalt": "prefbench", "font.size": 9}):
        figure = Figure(figsize=(12, 8), layout="constrained")
        panels = figure.subplots(2, 2)
        by = "minority_ratio" if swept is None else swept
        _lines(panels[0, 0], ratios, by, "epsilon", "minority ratio")
        panels[0, 0].set(xscale="log", yscale="log", xlabel="diversity gap $\\epsilon$ (total variation)")
        panels[0, 0].set_title(f"against diversity, at KL weight {beta:g}")

        _lines(panels[0, 1], _by_value(at_beta, swept), "minority_ratio", "other_share", title)
        panels[0, 1].set(yscale="log", xlabel="$1 - \\eta_u$ (share of annotators outside group u)")
        panels[0, 1].set_title(f"against the others' share, at KL weight {beta:g}")

        _lines(panels[1, 0], _by_value(at_ratio, swept), "beta", "beta", title)
        panels[1, 0].set(xscale="log", yscale="log", xlabel="KL weight $\\beta$ (log odds per nat)")
        panels[1, 0].set_title(f"against the KL weight, at minority ratio {ratio:g}")

        _bounds(panels[1, 1], frame)
        for panel in panels.flat:
            _plain_ticks(panel)
        task, seeds = frame["task"].iloc[0], frame["seed"].nunique()
        figure.suptitle(f"{task}: the pooled reward's policy, means over {seeds} seed{'s' * (seeds > 1)}")
        files = [folder / "theory.png", folder / "theory.svg"]
        figure.savefig(files[0], dpi=150)
        figure.savefig(files[1], metadata={"Date": None})
    return files


def _middle(values: pd.Series[float]) -> float:
    known = sorted(values.unique())
    return float(known[len(known) // 2])


def _by_value(frame: pd.DataFrame, swept: str | None) -> dict[str, pd.DataFrame]:
    if swept is None:
        return {"": frame}
    return {
        "none" if value != value else str(value): rows for value, rows in frame.groupby(swept, dropna=False)
    }


def _lines(axes: Axes, groups: dict[str, pd.DataFrame], by: str, x: str, title: str) -> None:
    """A line for each group of rows through the means over seeds, one point for each value of `by`."""
    for index, (label, rows) in enumerate(groups.items()):
        x_values = 1 - rows["share"] if x == "other_share" else rows[x]
        points = (
            rows.assign(x=x_values)
            .groupby(by, sort=False, dropna=False)[["x", "gap"]]
            .mean()
            .sort_values("x")
        )
        axes.plot(
            points["x"],
            points["gap"],
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=4,
            linewidth=1.3,
            label=label,
        )
    axes.set_ylabel(GAP)
    axes.grid(alpha=0.25)
    if len(groups) > 1:
        axes.legend(title=title, fontsize=8, title_fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _bounds(axes: Axes, frame: pd.DataFrame) -> None:
    """Every instance's bounds on the gap against the gap itself."""
    shown = {
        "gap_ceiling": "upper bound (4)",
        "gap_bound_local": "lower bound (4), local",
        "gap_bound_chain": "lower bound (4), mismatch bounded",
        "theorem_1": "Theorem 1 as quoted",
    }
    for index, (column, label) in enumerate(shown.items()):
        axes.scatter(
            frame["gap_max" if column == "theorem_1" else "gap"],
            frame[column],
            s=9,
            alpha=0.5,
            color=COLOURS[index],
            marker=MARKERS[index],
            linewidths=0,
            label=label,
        )
    ends = [float(frame["gap"].min()), float(frame["gap_max"].max())]
    axes.plot(ends, ends, color="black", linewidth=1, label="equal")
    axes.set(
        xscale="log", yscale="log", xlabel="measured alignment gap (log odds)", ylabel="bound (log odds)"
    )
    axes.set_title("bounds against what they bound, every instance")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, markerscale=2, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def _plain_ticks(axes: Axes) -> None:
    """1, 2 and 5 in each decade, as decimal numbers, on logarithmic axes of two decades or less."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if axis.get_scale() == "log" and high < 100 * low:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
