"""The page's table: every row of the leaderboard, complete or not, which needs no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefbench.boards.columns import CROSS_FITTED, PROMPTED, RANKS
from prefbench.record.near_reference import near_reference
from prefbench.report.figures import ratio_label
from prefbench.report.markup import breakable, escape

if TYPE_CHECKING:
    import pandas as pd

FILTERS: list[dict[str, Any]] = [
    {"key": "task", "label": "Task"},
    {"key": "model", "label": "Model"},
    {"key": "data", "label": "Data"},
    {"key": "ratio", "label": "Split"},
    {"key": "aligner", "label": "Aligner"},
    {"key": "needs", "label": "Needs"},
    {"key": "status", "label": "Rows"},
]
TABLE_HOW = (
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


def table_markup(frame: pd.DataFrame) -> str:
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
        *([_th("sees", more=True)] if sees else []),
        _th("worst group"),
        *(_th(label, True, first=_first(name)) for name, label in rates.items()),
        *(_th(label, True, more=label != "KL") for label in _MORE.values()),
        _th("seeds", True, first="descending"),
        _th("prompts", True, first="descending", more=True),
        _th("status"),
        *(_th(name.replace("_", " "), number, more=True) for name, number in new.items()),
        *(_th(name, more=True) for name in shown),
        *(_th(name, more=True) for name in ("specification", "version", "date")),
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


def _th(label: str, number: bool = False, first: str = "ascending", more: bool = False) -> str:
    """A column's head; `more` marks one that the page's script folds away until all are asked for."""
    kind = ' class="number"' if number else ""
    fold = " data-more" if more else ""
    return f'<th scope="col"{kind} data-first="{first}"{fold}>{escape(label)}</th>'


def _first(name: str) -> str:
    """The order that a measure is sorted in first: from the best down."""
    return "ascending" if name == "gap" else "descending"


def _row(
    row: Mapping[str, Any], rates: Iterable[str], shown: Sequence[str], new: Mapping[str, bool], sees: bool
) -> str:
    whole = row["status"] == "ok"
    where = ", ".join(str(row[name]) for name in shown)
    tags = [where, row["variant"], near_reference(row["kl"])]
    variant = "".join(f' <span class="tag">{breakable(tag)}</span>' for tag in tags if tag)
    cells = [
        f'<th scope="row"><bdi>{breakable(row["aligner"])}</bdi>{variant}</th>',
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
