"""The static page of a runs folder: one HTML file, no server, no network.

Everything that comes from a run is untrusted, a model's responses first of all. Text in the markup
is escaped; what the page's script needs lies in a JSON block in which `<`, `>` and `&` are written
as escapes, so that no text can end the block; and a content security policy lets exactly the
page's own script and style run, by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefbench.boards.columns import CROSS_FITTED, PROMPTED, RANKS
from prefbench.boards.outside import OUTSIDE_NOTE
from prefbench.errors import UserError
from prefbench.record.near_reference import near_reference
from prefbench.record.schema import Record
from prefbench.report.figures import (
    CURVES,
    MEASURES,
    Cell,
    Curve,
    FigureSetting,
    Line,
    collect,
    ratio_label,
    training_curves,
)
from prefbench.report.markup import escape
from prefbench.report.page_frontier import frontier_section
from prefbench.report.page_people import people_section
from prefbench.report.page_reader import shelves
from prefbench.report.styles import PALETTE
from prefbench.stats.covered import said_of_all
from prefbench.store.files import write_atomically
from prefbench.text import one_line
from prefbench.version import __version__

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE = Path(__file__).parent / "page_files"
PROMPTS = 12


def write_page(runs_dir: Path, out: Path, prompts: int = PROMPTS) -> int:
    """Write the page of a runs folder; the same runs give the same bytes.

    Args:
        runs_dir: the runs.
        out: the HTML file.
        prompts: how many prompts of each setting, ratio and seed the reader has.

    Returns:
        The file's size in bytes.

    Raises:
        UserError: if there is no run.
    """
    text = page(Path(runs_dir), prompts)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    return len(text.encode())


def page(runs_dir: Path, prompts: int = PROMPTS) -> str:
    """The page as text."""
    if prompts < 0:
        raise UserError(f"{prompts} prompts cannot be shown: give 0 or more.")
    rows, frame, settings = collect(runs_dir)
    few = said_of_all(int(n) for n in frame.loc[frame["worst_group_win_rate"].notna(), "n_seeds"])
    data = {
        "measures": MEASURES,
        "curves": CURVES,
        "filters": _FILTERS,
        "few": few,
        "settings": [_setting(setting, runs_dir, prompts) for setting in settings],
    }
    frontier = frontier_section(rows)
    css, js = _template("page.css") + (_template("frontier.css") if frontier else ""), _template("page.js")
    dates = sorted(set(frame["date"]))
    n_runs = sum(len(cell.runs) for setting in settings for cell in setting.cells)
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    versions = sorted({word for text in frame["version"] for word in str(text).split()})
    tasks = sorted(set(frame["task"]))
    more = [*few[:1], *([OUTSIDE_NOTE] if (frame["role"] == "outside").any() else [])]
    parts = {
        "csp": escape(content_security_policy(css, js)),
        "title": escape(f"{', '.join(tasks[:3])}: who wins, and who is left behind"),
        "lede": "Groups of annotators want different things; each aligner below learned a policy from their "
        "labels, and every response was compared, group by group, with the reference policy's. "
        f"{n_runs} runs of {escape(', '.join(tasks[:8]))}, {escape(when)}.",
        "css": css,
        "js": js,
        "table_how": _TABLE_HOW + "".join(f" {escape(said[0].upper() + said[1:])}." for said in more),
        "frontier": frontier,
        "people": people_section(rows),
        "table": _table(frame),
        "data": embedded_json(data),
        "footer": f"Made by prefbench {escape(__version__)}; runs made with {escape(', '.join(versions))}. "
        "This file needs no network and asks for nothing.",
    }
    # One pass: a placeholder that stands in somebody's text is text.
    words = re.split(r"@@(\w+)@@", _template("page.html"))
    return "".join(parts[word] if i % 2 else word for i, word in enumerate(words))


def embedded_json(value: Any) -> str:
    """JSON for a script block: ASCII, without any character that markup has a meaning for."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def content_security_policy(css: str, js: str) -> str:
    """Nothing but this very style and script; no address is ever asked for anything."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{digest(js)}'; style-src 'sha256-{digest(css)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _template(name: str) -> str:
    return (TEMPLATE / name).read_text(encoding="utf-8")


_FILTERS: list[dict[str, Any]] = [
    {"key": "task", "label": "Task"},
    {"key": "model", "label": "Model"},
    {"key": "data", "label": "Data"},
    {"key": "ratio", "label": "Split"},
    {"key": "aligner", "label": "Aligner"},
    {"key": "needs", "label": "Needs"},
    {"key": "status", "label": "Rows"},
]
_TABLE_HOW = (
    "One row per aligner and split (majority : minority), over seeds. &ldquo;worst&rdquo; is the mean over "
    "runs of what each run&rsquo;s own worst group won, and the named group is the one that is worst in most "
    "runs. Within a task, model, data and split, learners are ranked by it (where regret is known, by "
    "egalitarian regret); in brackets stand the ranks that cannot be ruled out, for all learners at once "
    "(95%). Floors, ceilings and gold stand beside them, and incomplete rows have no rank. Brackets of rates "
    "are 95% t intervals over seeds, of one seed over its prompts; &ldquo;least seen&rdquo; is the smallest "
    "difference to another row with as many seeds and this spread that would be found. What an aligner needs "
    "to see decides whom it may be compared with."
)
_RATES = {
    "worst_group_win_rate": "worst",
    "minority_win_rate": "minority",
    "majority_win_rate": "majority",
    "mean_win_rate": "mean",
    "gap": "gap",
}
_MORE = {
    "kl": "KL",
    "mean_length": "words",
    "reference_length": "reference words",
    "empty_rate": "empty",
    "mde": "least seen",
}
_BARE = (CROSS_FITTED, "egalitarian_regret")
"""Columns that are shown without their intervals, for want of room."""
_ONCE = ("task", "model", "data")
"""Columns that a table with one value of each says once, above."""


def _table(frame: pd.DataFrame) -> str:
    """Every row of the leaderboard, complete or not, as a table that needs no script."""
    rows = [
        {str(key): value for key, value in row.items()}
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records")
    ]
    once = [name for name in _ONCE if len({row[name] for row in rows}) == 1]
    said = ", ".join(f"{name} {rows[0][name]}" for name in once)
    caption = f"All rows have {said}." if said else "Several tasks, models or data: each row says its own."
    shown = [name for name in _ONCE if name not in once]
    # A leaderboard may have learned new columns: they are shown as they come.
    told = PROMPTED in frame.columns and bool(frame[PROMPTED].notna().any())
    rates = _RATES | ({PROMPTED: "worst, told what is wanted"} if told else {})
    sees = any(row["sees"] for row in rows)
    known = {*_ONCE, *rates, *_MORE, *_PLAIN}
    known |= {f"{m}{end}" for m in (*rates, *_BARE) for end in ("_low", "_high", "_sd")}
    new = {
        str(name): any(isinstance(row[str(name)], float) for row in rows)
        for name in frame.columns
        if name not in known and any(row[str(name)] not in (None, "") for row in rows)
    }
    head = [
        '<th scope="col" class="name">aligner</th>',
        _th("rank", True),
        _th("split", True),
        _th("needs"),
        *([_th("sees")] if sees else []),
        _th("worst group"),
        *(_th(label, True, first=_first(name)) for name, label in rates.items()),
        *(_th(label, True) for label in _MORE.values()),
        _th("seeds", True, first="descending"),
        _th("prompts", True, first="descending"),
        _th("status"),
        *(_th(name.replace("_", " "), number) for name, number in new.items()),
        *(_th(name) for name in shown),
        _th("specification"),
        _th("version"),
        _th("date"),
    ]
    body = "\n".join(_row(row, rates, shown, new, sees) for row in rows)
    return (
        f"<table><caption>{escape(caption)}</caption>\n<thead><tr>{''.join(head)}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>"
    )


_PLAIN = (
    *("aligner", "variant", "needs", "sees", "role", *RANKS, "minority_ratio", "worst_group", "status"),
    *("n_seeds", "seeds", "n_prompts", "config_hash", "version", "date"),
)


def _th(label: str, number: bool = False, first: str = "ascending") -> str:
    kind = ' class="number"' if number else ""
    return f'<th scope="col"{kind} data-first="{first}">{escape(label)}</th>'


def _first(name: str) -> str:
    """The order that a measure is sorted in first: from the best down."""
    return "ascending" if name == "gap" else "descending"


def _row(
    row: Mapping[str, Any], rates: Iterable[str], shown: Sequence[str], new: Mapping[str, bool], sees: bool
) -> str:
    whole = row["status"] == "ok"
    tags = [row["variant"], near_reference(row["kl"])]
    variant = "".join(f' <span class="tag">{escape(tag)}</span>' for tag in tags if tag)
    cells = [
        f'<th scope="row"><bdi>{_breakable(row["aligner"])}</bdi>{variant}</th>',
        _rank(row),
        _td(row["minority_ratio"], ratio_label(row["minority_ratio"])),
        f"<td>{escape(row['needs'])}</td>",
        *([f"<td>{escape(row['sees'] or 'nothing')}</td>"] if sees else []),
        _words(row["worst_group"]),
        *(_interval(row, name) for name in rates),
        *(_td(row[name], "" if row[name] is None else f"{row[name]:.2f}") for name in _MORE),
        _td(row["n_seeds"], str(row["n_seeds"]), f"seeds {row['seeds']}"),
        _td(row["n_prompts"], "" if row["n_prompts"] is None else str(row["n_prompts"])),
        f'<td class="status wordy">{"complete" if whole else escape(row["status"])}</td>',
        *(_td(row[name], _brief(row[name])) if number else _words(row[name]) for name, number in new.items()),
        *(_words(row[name]) for name in shown),
        f"<td>{escape(row['config_hash'])}</td>",
        f"<td>{escape(row['version'])}</td>",
        f"<td>{escape(row['date'])}</td>",
    ]
    names = {
        "task": row["task"],
        "model": row["model"],
        "data": row["data"],
        "ratio": ratio_label(row["minority_ratio"]),
        "aligner": row["aligner"],
        "needs": row["needs"],
        "status": "complete" if whole else "incomplete",
    }
    attributes = "".join(f' data-{key}="{escape(value)}"' for key, value in names.items())
    kind = "" if whole else ' class="unranked"'
    return f"<tr{kind}{attributes}>{''.join(cells)}</tr>"


def _rank(row: Mapping[str, Any]) -> str:
    """The rank with its set; a floor or a ceiling is called that."""
    if row["rank"] is None:
        named = row["status"] == "ok" and row["role"] != "learner"
        return f'<td class="number" data-v="">{escape(row["role"] if named else "")}</td>'
    bounds = f'<span class="ci">[{row["rank_low"]}, {row["rank_high"]}]</span>'
    return f'<td class="number" data-v="{float(row["rank"])!r}">{row["rank"]} {bounds}</td>'


def _td(value: float | None, text: str, title: str = "") -> str:
    hint = f' title="{escape(title)}"' if title else ""
    number = "" if value is None else repr(float(value))
    return f'<td class="number" data-v="{number}"{hint}>{escape(text)}</td>'


def _breakable(name: str) -> str:
    """A name that may go on in the next line after an underscore."""
    return escape(name).replace("_", "_<wbr>")


def _brief(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _words(text: object) -> str:
    return f'<td class="wordy"><bdi>{escape("" if text is None else text)}</bdi></td>'


def _interval(row: Mapping[str, Any], name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return '<td class="number" data-v=""></td>'
    interval = f'<span class="ci">[{low:.2f}, {high:.2f}]</span>'
    return f'<td class="number" data-v="{float(value)!r}">{value:.2f} {interval}</td>'


def _setting(setting: FigureSetting, runs_dir: Path, prompts: int) -> dict[str, Any]:
    curves = training_curves(setting.cells)
    ratios = setting.ratios
    return {
        "label": one_line(setting.label),
        "ratios": [{"value": ratio, "label": ratio_label(ratio)} for ratio in ratios],
        "first": setting.first_shown,
        "lines": [_line(line) for line in setting.lines],
        "cells": [_cell(cell, ratios, curves.get(i, {})) for i, cell in enumerate(setting.cells)],
        "reader": [shelves(setting, ratio, prompts) for ratio in ratios],
    }


def _line(line: Line) -> dict[str, Any]:
    look = line.style
    return {
        "name": one_line(line.name),
        "needs": line.needs,
        "c": PALETTE.index(look.colour),
        "m": look.marker,
        "d": " ".join(f"{length:g}" for length in look.dash) or None,
    }


def _cell(cell: Cell, ratios: Sequence[float], curves: Mapping[str, Curve]) -> dict[str, Any]:
    row = cell.row
    return {
        "l": cell.line,
        "r": ratios.index(cell.ratio),
        "ok": cell.complete,
        "status": one_line(row["status"]),
        "rank": None if row["rank"] is None else [row[name] for name in RANKS],
        "role": row["role"],
        "seeds": row["n_seeds"],
        "prompts": row["n_prompts"],
        "mde": row["mde"],
        "worst": one_line(row["worst_group"] or ""),
        "kl": row["kl"],
        "near": near_reference(row["kl"]),
        "v": {name: cell.interval(name) for name in MEASURES},
        "groups": _groups([record for _, record in cell.runs.values()]),
        "curves": {
            name: {
                "steps": curve.steps,
                "mean": _rounded(curve.mean),
                "low": _rounded(curve.low),
                "high": _rounded(curve.high),
            }
            for name, curve in curves.items()
        },
    }


def _rounded(values: Iterable[float]) -> list[float]:
    """Four digits: more cannot be seen in a drawing, and they make most of the file."""
    return [float(f"{value:.4g}") for value in values]


def _groups(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each group over the seeds that ran."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for group in record.groups:
            found.setdefault(group.name, []).append(group)
    return [
        {
            "name": one_line(name),
            "unit": one_line(seeds[0].unit),
            "share": seeds[0].share,
            "minority": seeds[0].is_minority,
            "rate": _mean([one.win_rate for one in seeds]),
            "low": min(one.win_rate for one in seeds),
            "high": max(one.win_rate for one in seeds),
            "won": sum(one.wins for one in seeds),
            "tied": sum(one.ties for one in seeds),
            "lost": sum(one.losses for one in seeds),
            "utility": _mean([one.mean_utility for one in seeds]),
            "reference": _mean([one.reference_utility for one in seeds]),
            "accuracy": _mean([one.reward_accuracy for one in seeds]),
        }
        for name, seeds in found.items()
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values; None if one is missing: nothing is averaged over."""
    known = [value for value in values if value is not None]
    return float(f"{math.fsum(known) / len(known):.6g}") if len(known) == len(values) else None
