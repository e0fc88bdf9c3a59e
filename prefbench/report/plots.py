"""What the figures of a runs folder show, and the same figures for a paper.

`collect` gathers a leaderboard with its records into settings, lines and cells; the static page
(`prefbench.report.page`) draws them in the reader's browser, `save_figures` draws them with
matplotlib. Colours, markers and dashes are the same in both: `style`.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefbench.errors import UserError
from prefbench.files import read_json
from prefbench.record.record import HISTORY_FILE, Record, find_records
from prefbench.registry import placed, suggest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by colour-blind readers; without the yellow, which is lost on white."""
MARKERS = ("circle", "square", "triangle", "diamond", "down", "plus", "cross")
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 3), (2, 3), (9, 3, 2, 3))
"""Solid for the first seven lines, then other dashes: no two of 28 lines look alike."""
MEASURES = {
    "minority_win_rate": "minority win rate",
    "worst_group_win_rate": "worst group's win rate",
    "majority_win_rate": "majority win rate",
    "mean_win_rate": "mean win rate",
    "gap": "gap between groups",
}
READABLE = 6
"""Lines that a figure shows before anybody asks for more."""
CURVES = {
    "lowest reward": "lowest of the rewards (reference policy 0, in its standard deviations)",
    "highest reward": "highest of the rewards (reference policy 0, in its standard deviations)",
    "KL": "KL from the reference policy (nats per response)",
    "tokens": "tokens per response",
}
"""Quantities of a training curve. Which cluster is which may differ between seeds, the lowest does not."""
CURVE_POINTS = 60


@dataclass(frozen=True)
class Style:
    """How a line looks: the same everywhere."""

    colour: str
    marker: str
    dash: tuple[float, ...]


def style(index: int) -> Style:
    """Of the line with that number; colour, marker and dash move at different paces."""
    lap = index // len(COLOURS)
    return Style(
        COLOURS[index % len(COLOURS)],
        MARKERS[(index + lap) % len(MARKERS)],
        DASHES[lap % len(DASHES)],
    )


@dataclass(frozen=True)
class Line:
    """One aligner with its options: a line in every figure."""

    name: str
    needs: str
    style: int
    """Number for `style`; by name, so that a line looks alike in every setting."""


@dataclass
class Cell:
    """One row of the leaderboard with its runs: a line at one minority ratio."""

    line: int
    """Index into the setting's lines."""
    ratio: float
    row: Mapping[str, Any]
    """The leaderboard's row, missing values None."""
    runs: dict[int, tuple[Path, Record]]
    """Folder and record by seed."""

    @property
    def complete(self) -> bool:
        """Whether the leaderboard ranks it."""
        return bool(self.row["status"] == "ok")

    def interval(self, measure: str) -> tuple[float, float, float] | None:
        """Estimate, low and high; None where nothing could be averaged."""
        values = [self.row[f"{measure}{end}"] for end in ("", "_low", "_high")]
        return None if None in values else (values[0], values[1], values[2])


@dataclass
class Setting:
    """What may be drawn in one figure: a task@version with its options, a model and data."""

    label: str
    lines: list[Line] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """From an even split to the smallest minority."""
        return sorted({cell.ratio for cell in self.cells}, reverse=True)

    @property
    def first_shown(self) -> list[int]:
        """Indices of the lines that a figure starts with."""
        if len(self.lines) <= READABLE:
            return list(range(len(self.lines)))
        known = [i for name in _first() for i, line in enumerate(self.lines) if line.name == name]
        rest = [i for i in range(len(self.lines)) if i not in known]
        return sorted([*known, *rest][:READABLE])


def ratio_label(ratio: float) -> str:
    """`4:1` where that is (nearly) so, else the share: `0.27`."""
    odds = (1 - ratio) / ratio
    whole = round(odds)
    return f"{whole}:1" if whole and abs(odds / whole - 1) < 0.01 else f"{ratio:.3g}"


# ------------------------------------------------------------------------------------------ gathering


def collect(runs_dir: Path) -> tuple[pd.DataFrame, list[Setting]]:
    """The leaderboard of a runs folder, and its rows with their runs by setting.

    Raises:
        UserError: if there is no folder or no record in it.
    """
    from prefbench.boards.leaderboard import build, config_hash

    frame = build(runs_dir)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `build` has said which records it left out
        found = find_records(runs_dir)
    runs: dict[tuple[str, str, str], dict[int, tuple[Path, Record]]] = {}
    for folder, record in found:
        key = (f"{record.task}@{record.task_version}", record.aligner, config_hash(record.spec))
        known = runs.setdefault(key, {}).get(record.seed)
        if known is None or record.provenance.started >= known[1].provenance.started:
            runs[key][record.seed] = (folder, record)
    rows = []
    for row in _plain_rows(frame):
        key = (row["task"], row["aligner"], row["config_hash"])
        kept = {int(seed) for seed in row["seeds"].split()}
        own = {seed: run for seed, run in runs.get(key, {}).items() if seed in kept}
        if own:
            rows.append((row, own))
    return frame, _settings(rows)


def _plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as Python values, None for what is missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]


def _settings(rows: Sequence[tuple[dict[str, Any], dict[int, tuple[Path, Record]]]]) -> list[Setting]:
    by_key: dict[str, list[tuple[dict[str, Any], dict[int, tuple[Path, Record]], Record]]] = {}
    for row, runs in rows:
        record = runs[min(runs)][1]
        rest = {k: v for k, v in record.spec.items() if k not in _NOT_OF_SETTING}
        key = json.dumps([row["task"], row["numerics"], record.model, record.data, rest], sort_keys=True)
        by_key.setdefault(key, []).append((row, runs, record))

    labels = _setting_labels([members[0][2] for members in by_key.values()])
    names = {key: _line_names([record for _, _, record in members]) for key, members in by_key.items()}
    known = sorted({name for named in names.values() for name in named})
    styles = {name: i for i, name in enumerate(sorted(known, key=lambda name: (_preference(name), name)))}
    settings = []
    for label, (key, members) in zip(labels, by_key.items(), strict=True):
        setting = Setting(label)
        order = sorted(set(names[key]), key=lambda name: styles[name])
        needs = {name: str(row["needs"]) for name, (row, _, _) in zip(names[key], members, strict=True)}
        setting.lines = [Line(name, needs[name], styles[name]) for name in order]
        setting.cells = [
            Cell(order.index(name), record.minority_ratio, row, runs)
            for name, (row, runs, record) in zip(names[key], members, strict=True)
        ]
        settings.append(setting)
    return settings


_NOT_OF_SETTING = ("aligner", "aligner_options", "seed", "minority_ratio")


def _first() -> list[str]:
    """Names of the aligners that are shown first where they were run."""
    return [entry.name for entry in placed()]


def _preference(name: str) -> int:
    first = _first()
    return first.index(name) if name in first else len(first)


def _options(record: Record, *kinds: str) -> dict[str, Any]:
    """Options of the specification as `task.noise: 2`; a stranger's specification may hold anything."""
    found = {}
    for kind in kinds:
        options = record.spec.get(f"{kind}_options")
        for name, value in options.items() if isinstance(options, dict) else ():
            found[f"{kind}.{name}"] = value
    return found


def _what_differs(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each has that not all of them have, as `a=1, b=2`."""
    names = sorted({name for one in options for name in one})
    missing = object()
    varies = [
        name
        for name in names
        if any(one.get(name, missing) != options[0].get(name, missing) for one in options)
    ]
    return [
        ", ".join(f"{name.partition('.')[2]}={json.dumps(one[name])}" for name in varies if name in one)
        for one in options
    ]


def _setting_labels(records: Sequence[Record]) -> list[str]:
    """`task@1, model, data`, and the options or numerics in which two of that name differ."""
    plain = [f"{r.task}@{r.task_version}, {r.model}, {r.data}" for r in records]
    labels = list(plain)
    for name in {name for name in plain if plain.count(name) > 1}:
        same = [i for i, other in enumerate(plain) if other == name]
        told = _what_differs(
            [
                _options(records[i], "task", "model", "evaluate") | {"made by.numerics": records[i].numerics}
                for i in same
            ]
        )
        for i, difference in zip(same, told, strict=True):
            labels[i] = f"{name} ({difference})" if difference else name
    return labels


def _line_names(records: Sequence[Record]) -> list[str]:
    """The aligner, and the options in which two lines of one aligner differ."""
    names = [record.aligner for record in records]
    for aligner in set(names):
        same = [i for i, record in enumerate(records) if record.aligner == aligner]
        options = {json.dumps(_options(records[i], "aligner"), sort_keys=True): i for i in same}
        if len(options) > 1:
            distinct = list(options)
            told = _what_differs([_options(records[options[text]], "aligner") for text in distinct])
            for i in same:
                text = json.dumps(_options(records[i], "aligner"), sort_keys=True)
                names[i] = f"{aligner} ({told[distinct.index(text)]})"
    return names


def pareto_front(points: Mapping[int, tuple[float, float]]) -> list[int]:
    """Which points no other one beats in both coordinates, from left to right."""
    ordered = sorted(points, key=lambda i: (-points[i][0], -points[i][1]))
    front: list[int] = []
    for i in ordered:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front[::-1]


# ------------------------------------------------------------------------------------ training curves


@dataclass(frozen=True)
class Curve:
    """One quantity of a line's training, over its seeds."""

    steps: list[int]
    mean: list[float]
    low: list[float]
    """The smallest over seeds."""
    high: list[float]
    """The largest over seeds."""


def training_curves(cells: Iterable[Cell]) -> dict[int, dict[str, Curve]]:
    """Curves by index of the cell, then by a key of `CURVES`.

    A cell has them only if every one of its runs has history.json beside its record.
    """
    result = {}
    for i, cell in enumerate(cells):
        histories = [_read_history(folder / HISTORY_FILE) for folder, _ in cell.runs.values()]
        whole = [history for history in histories if history]
        if whole and len(whole) == len(histories):
            curves = _curves(whole)
            if curves:
                result[i] = curves
    return result


def _read_history(path: Path) -> list[dict[str, float]] | None:
    """Rows of finite numbers; None where there is no such file or it holds something else."""
    try:
        rows = read_json(path, within=path.parent)
    except (OSError, ValueError):
        return None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return None
    return [
        {
            str(key): float(value)
            for key, value in row.items()
            if isinstance(value, int | float) and abs(value) < 1e12  # false for NaN, too
        }
        for row in rows
    ]


def _curves(histories: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Curve]:
    """Over the iterations that every seed reached."""
    length = min(map(len, histories))
    steps = range(0, length, max(1, math.ceil(length / CURVE_POINTS)))
    found = {}
    for name in CURVES:
        values = [[_quantity(name, history[step]) for history in histories] for step in steps]
        known = [[value for value in row if value is not None] for row in values]
        if len(known) > 1 and all(len(row) == len(histories) for row in known):
            mean = [math.fsum(row) / len(row) for row in known]
            found[name] = Curve(
                [step + 1 for step in steps], mean, [min(row) for row in known], [max(row) for row in known]
            )
    return found


def _quantity(name: str, row: Mapping[str, float]) -> float | None:
    rewards = [value for key, value in row.items() if key.startswith("reward/")]
    if name.endswith("reward"):
        return (min(rewards) if name.startswith("lowest") else max(rewards)) if rewards else None
    return row.get({"KL": "kl"}.get(name, name))


# --------------------------------------------------------------------------------------- for a paper

_MATPLOTLIB_MARKERS = {
    "circle": "o",
    "square": "s",
    "triangle": "^",
    "diamond": "D",
    "down": "v",
    "plus": "P",
    "cross": "X",
}
CAPTION = "means over seeds with 95% intervals over seeds and prompts"


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
        The files: headline, scatter, gap, kl and, where training histories are known, training.

    Raises:
        UserError: if there is no run, nothing that can be drawn, or an aligner that was not run.
    """
    import matplotlib

    runs_dir = Path(runs_dir)
    _, settings = collect(runs_dir)
    _check_aligners(settings, aligners or [])
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    # Names of aligners and tasks may hold a $, which is no formula.
    fixed: dict[Any, Any] = {"svg.hashsalt": "prefbench", "font.size": 9, "text.parse_math": False}
    stamp = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[fmt]
    with matplotlib.rc_context(fixed):
        slugs = _slugs([setting.label for setting in settings])
        for setting, slug in zip(settings, slugs, strict=True):
            shown = _shown(setting, aligners)
            cells = [cell for cell in setting.cells if cell.line in shown and cell.interval("gap")]
            if not cells:
                continue
            drawn = {
                "headline": _headline(setting, cells),
                "scatter": _scatter(setting, cells),
                "gap": _gap(setting, cells),
                "kl": _kl(setting, cells),
                "training": _training(setting, cells, runs_dir),
            }
            for name, figure in drawn.items():
                if figure is not None:
                    file = folder / f"{name}{slug}.{fmt}"
                    figure.savefig(file, dpi=200, metadata=stamp)
                    files.append(file)
    if not files:
        raise UserError(f"nothing in '{runs_dir}' can be drawn: no aligner there has a whole set of runs.")
    return files


def _check_aligners(settings: Sequence[Setting], aligners: Sequence[str]) -> None:
    known = sorted({cell.row["aligner"] for setting in settings for cell in setting.cells})
    for name in aligners:
        if name not in known:
            raise UserError(f"no run of an aligner '{name}'.{suggest(name, known)}")


def _shown(setting: Setting, aligners: Sequence[str] | None) -> set[int]:
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
    look = style(line.style)
    return {
        "color": look.colour,
        "marker": _MATPLOTLIB_MARKERS[look.marker],
        "linestyle": (0, look.dash) if look.dash else "-",
        "markersize": 5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
        "label": line.name,
    }


def _new(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _tidy(axes: Axes) -> None:
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, axes: Axes) -> None:
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


def _headline(setting: Setting, cells: Sequence[Cell]) -> Figure:
    figure = _new(6.4, 4.4)
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
    _tidy(axes)
    _legend(figure, axes)
    return figure


def _panels(
    setting: Setting, cells: Sequence[Cell], height: float
) -> tuple[Figure, list[tuple[float, Axes]]]:
    """A panel for each ratio that has something to show."""
    ratios = [ratio for ratio in setting.ratios if any(cell.ratio == ratio for cell in cells)]
    columns = min(len(ratios), 4)
    rows = math.ceil(len(ratios) / columns)
    figure = _new(max(4.4, 2.9 * columns), height * rows + 0.7)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for spare in grid.flat[len(ratios) :]:
        spare.set_visible(False)
    panels = list(zip(ratios, grid.flat, strict=False))
    for ratio, axes in panels:
        axes.set_title(ratio_label(ratio), fontsize=9)
        _tidy(axes)
    figure.suptitle(f"{setting.label}\n{CAPTION}", fontsize=8)
    return figure, panels


def _whiskers(axes: Axes, line: Line, x: Sequence[float], y: Sequence[float]) -> None:
    """A marker with an interval in each direction that has one; x and y are estimate, low and high."""
    axes.hlines(y[0], x[1], x[2], color=style(line.style).colour, linewidth=1, alpha=0.6)
    axes.vlines(x[0], y[1], y[2], color=style(line.style).colour, linewidth=1, alpha=0.6)
    axes.plot(x[0], y[0], **{**_look(line), "linestyle": "none"})


def _scatter(setting: Setting, cells: Sequence[Cell]) -> Figure:
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
    _legend(figure, _fullest(panels))
    return figure


def _fullest(panels: Sequence[tuple[float, Axes]]) -> Axes:
    return max((axes for _, axes in panels), key=lambda axes: len(axes.get_legend_handles_labels()[1]))


def _gap(setting: Setting, cells: Sequence[Cell]) -> Figure:
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


def _kl(setting: Setting, cells: Sequence[Cell]) -> Figure | None:
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
    _legend(figure, _fullest(panels))
    return figure


def _training(setting: Setting, cells: Sequence[Cell], runs_dir: Path) -> Figure | None:
    """A row for each quantity, a column for each ratio."""
    curves = training_curves(cells)
    if not curves:
        return None
    ratios = [ratio for ratio in setting.ratios if any(cells[i].ratio == ratio for i in curves)]
    quantities = [name for name in ("lowest reward", "KL") if any(name in found for found in curves.values())]
    if not quantities:
        return None
    figure = _new(max(4.4, 2.9 * len(ratios)), 2.3 * len(quantities) + 0.7)
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
            _tidy(axes)
            if row == 0:
                axes.set_title(ratio_label(ratio), fontsize=9)
        grid[row, 0].set_ylabel(name)
    for axes in grid[-1]:
        axes.set_xlabel("iteration")
    figure.suptitle(f"{setting.label}\nmeans over seeds, from the lowest to the highest seed", fontsize=8)
    _legend(figure, _fullest([(0.0, axes) for axes in grid.flat]))
    return figure
