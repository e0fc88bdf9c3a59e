"""Figures of a runs folder: what they show.

`collect` gathers a leaderboard with its records into settings, lines and cells; the static page
(`prefbench.report.page`) draws them in the reader's browser, `prefbench.report.plots` draws them with
matplotlib. Colours, markers and dashes are the same in both: `prefbench.report.styles`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench.boards.names import NOT_OF_SETTING, config_hash, tuning_of
from prefbench.boards.rows import Row, load_rows
from prefbench.boards.table import frame_of
from prefbench.record.files import HISTORY_FILE
from prefbench.record.schema import Record
from prefbench.registry import placed
from prefbench.report.history import read_history
from prefbench.report.styles import Style, aligner_of, styles_of

if TYPE_CHECKING:
    import pandas as pd

MEASURES = {
    "minority_win_rate": "minority win rate",
    "worst_group_win_rate": "worst group's win rate",
    "majority_win_rate": "majority win rate",
    "mean_win_rate": "mean win rate",
    "gap": "gap between groups",
}
READABLE_LINES = 6
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
class Line:
    """One aligner with its options: a line in every figure."""

    name: str
    needs: str
    """Fields that it needs in training, and sees of whoever is answered."""
    style: Style
    """Looks by its name, so that it looks alike in every setting."""


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
        """True if the leaderboard ranks it."""
        return bool(self.row["status"] == "ok")

    def interval(self, measure: str) -> tuple[float, float, float] | None:
        """Estimate, low and high; None where nothing could be averaged."""
        values = [self.row[f"{measure}{end}"] for end in ("", "_low", "_high")]
        return None if None in values else (values[0], values[1], values[2])


@dataclass
class FigureSetting:
    """The setting that one figure is about: a task@version with its options, a model and data."""

    label: str
    lines: list[Line] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """Ratios from an even split to the smallest minority."""
        return sorted({cell.ratio for cell in self.cells}, reverse=True)

    @property
    def first_shown(self) -> list[int]:
        """Indices of the lines that a figure starts with: one of each aligner before another of any."""
        if len(self.lines) <= READABLE_LINES:
            return list(range(len(self.lines)))
        before: dict[str, int] = {}
        places = []
        for i, line in enumerate(self.lines):
            aligner = aligner_of(line.name)
            before[aligner] = before.get(aligner, -1) + 1
            places.append((before[aligner], _preference(aligner), i))
        return sorted(i for *_, i in sorted(places)[:READABLE_LINES])


def ratio_label(ratio: float) -> str:
    """`4:1` where that is (nearly) so, else the share: `0.27`."""
    odds = (1 - ratio) / ratio
    whole = round(odds)
    return f"{whole}:1" if whole and abs(odds / whole - 1) < 0.01 else f"{ratio:.3g}"


def collect(runs_dir: Path) -> tuple[list[Row], pd.DataFrame, list[FigureSetting]]:
    """The rows of a runs folder, their leaderboard, and the rows with their runs by setting.

    Raises:
        UserError: if there is no folder or no record in it.
    """
    rows = load_rows(runs_dir)
    frame = frame_of(rows)
    return rows, frame, settings_of(frame, rows)


def settings_of(frame: pd.DataFrame, rows: Iterable[Row]) -> list[FigureSetting]:
    """The rows of a leaderboard with their runs by setting.

    Args:
        frame: `boards.table.frame_of` of the rows.
        rows: configurations over their seeds.
    """
    found = {}
    for row in rows:
        record = row.first
        key = (f"{record.task}@{record.task_version}", record.aligner, config_hash(record.spec))
        found[key] = {seed: (row.folders[seed], row.records[seed]) for seed in row.records}
    return _settings(
        [
            (plain, found[plain["task"], plain["aligner"], plain["config_hash"]])
            for plain in _plain_rows(frame)
        ]
    )


def _plain_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as Python values, None for what is missing."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]


def _settings(rows: Sequence[tuple[dict[str, Any], dict[int, tuple[Path, Record]]]]) -> list[FigureSetting]:
    by_key: dict[str, list[tuple[dict[str, Any], dict[int, tuple[Path, Record]], Record]]] = {}
    for row, runs in rows:
        record = runs[min(runs)][1]
        rest = {k: v for k, v in record.spec.items() if k not in _NOT_OF_SETTING}
        key = json.dumps([row["task"], row["numerics"], record.model, record.data, rest], sort_keys=True)
        by_key.setdefault(key, []).append((row, runs, record))

    labels = _setting_labels([members[0][2] for members in by_key.values()])
    names = {key: line_names([record for _, _, record in members]) for key, members in by_key.items()}
    aligners = {str(row["aligner"]): str(row["role"]) for row, _ in rows}
    styles = styles_of(aligners, [name for named in names.values() for name in named])
    settings = []
    for label, (key, members) in zip(labels, by_key.items(), strict=True):
        setting = FigureSetting(label)
        order = sorted(set(names[key]), key=lambda name: (_preference(aligner_of(name)), name))
        needs = {name: _told(row) for name, (row, _, _) in zip(names[key], members, strict=True)}
        setting.lines = [Line(name, needs[name], styles[name]) for name in order]
        setting.cells = [
            Cell(order.index(name), record.minority_ratio, row, runs)
            for name, (row, runs, record) in zip(names[key], members, strict=True)
        ]
        settings.append(setting)
    return settings


def _told(row: Mapping[str, Any]) -> str:
    """Needs of an aligner, and what its policy sees where it sees anything."""
    return f"{row['needs']}, sees {row['sees']}" if row["sees"] else str(row["needs"])


_NOT_OF_SETTING = NOT_OF_SETTING | {"minority_ratio"}


def _first() -> list[str]:
    """Names of the aligners that are shown first where they were run."""
    return [entry.name for entry in placed("aligner")]


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
    """Settings of each that not all of them have, as `a=1, b=2`."""
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


def _of_line(record: Record) -> dict[str, Any]:
    """Options of a record's aligner, and how they were tuned if they were."""
    tuned = {} if record.tuning is None else {"row.tuned": tuning_of(record)}
    return _options(record, "aligner") | tuned


def line_names(records: Sequence[Record]) -> list[str]:
    """The aligner, and the options in which two lines of one aligner differ."""
    names = [record.aligner for record in records]
    for aligner in set(names):
        same = [i for i, record in enumerate(records) if record.aligner == aligner]
        options = {json.dumps(_of_line(records[i]), sort_keys=True): i for i in same}
        if len(options) > 1:
            distinct = list(options)
            told = _what_differs([_of_line(records[options[text]]) for text in distinct])
            for i in same:
                text = json.dumps(_of_line(records[i]), sort_keys=True)
                names[i] = f"{aligner} ({told[distinct.index(text)]})"
    return names


def pareto_front(points: Mapping[int, tuple[float, float]]) -> list[int]:
    """The points that no other one beats in both coordinates, from left to right."""
    ordered = sorted(points, key=lambda i: (-points[i][0], -points[i][1]))
    front: list[int] = []
    for i in ordered:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front[::-1]


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
        histories = [read_history(folder / HISTORY_FILE) for folder, _ in cell.runs.values()]
        whole = [history for history in histories if history]
        if whole and len(whole) == len(histories):
            curves = _curves(whole)
            if curves:
                result[i] = curves
    return result


def _curves(histories: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Curve]:
    """Curves over the iterations that every seed reached."""
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
