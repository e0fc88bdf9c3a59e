"""The leaderboard for a reader."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.boards.beyond import BEYOND_SHOWN, shown_beyond
from prefbench.boards.choose import chosen_columns
from prefbench.boards.columns import CROSS_FITTED, ENDS, METRICS, PROMPTED, PROMPTED_COLUMNS, RANKS, is_old
from prefbench.boards.csv_file import to_csv
from prefbench.boards.outside import OUTSIDE_NOTE
from prefbench.boards.ranks import RANKED, REGRET
from prefbench.boards.tabular import Format, check_format, document
from prefbench.record.near_reference import near_reference
from prefbench.stats.covered import said_of_all
from prefbench.text import visible

if TYPE_CHECKING:
    import pandas as pd

SHOWN = (
    *("rank", "task", "model", "data", "ratio", "aligner", "needs", "sees", "seeds"),
    *("worst group", "worst seed", "regret"),
    *("minority", "majority", "mean", "gap", "worst, told", "KL", "words"),
    *BEYOND_SHOWN,
    "status",
)
_WHERE_KNOWN = ("sees", "regret", "worst, told", *BEYOND_SHOWN)
"""Columns that only some tasks or aligners fill; left out where no row has them."""

_EXPENDABLE = (
    *("log p/token", "relevant", "distinct", "words", "mean", "KL", "kept", "gap", "data", "model"),
    *("majority", "worst seed", "seeds", "non-words", "worst, told", "minority", "regret"),
)
"""Columns that a narrow terminal does without, first to go first. The worst group always stays."""
_SAYABLE = ("task", "model", "data", "ratio", "status")
"""Columns that are said once where all rows agree."""
_OF_CSV = {
    "rank": RANKS,
    "ratio": ("minority_ratio",),
    "aligner": ("aligner", "variant"),
    "seeds": ("n_seeds", "seeds"),
    "worst group": (*(f"worst_group_win_rate{end}" for end in ENDS), "worst_group"),
    "worst seed": ("worst_seed",),
    "regret": tuple(f"egalitarian_regret{end}" for end in ENDS),
    **{name: tuple(f"{name}_win_rate{end}" for end in ENDS) for name in ("minority", "majority", "mean")},
    "gap": tuple(f"gap{end}" for end in ENDS),
    "worst, told": PROMPTED_COLUMNS,
    "KL": ("kl",),
    "words": ("mean_length", "reference_length"),
    **{name: tuple(filter(None, both)) for name, both in BEYOND_SHOWN.items()},
}
"""Columns of the CSV that each shown one is made of, where it is not one of its name."""
_WRAPPED = {"aligner": 32, "status": 32}
"""Columns whose cells may take several lines, and their widest word before it is broken."""


def show(
    frame: pd.DataFrame,
    fmt: Format = "table",
    console: Console | None = None,
    columns: Sequence[str] | None = None,
    rank_by: str | None = None,
) -> str:
    """The leaderboard for a reader, as text that ends without a newline.

    Args:
        frame: from `build` or `read_csv`.
        fmt: `table` for a terminal (coloured if standard output is one), `markdown`, `latex` or `html` for a
            document, `csv` for all columns and digits. Intervals look like `0.78 [0.74, 0.82]`.
        console: whose width and colours a `table` has; standard output's if left out.
        columns: of `SHOWN` or of the CSV, several in one with commas between them; a choice if left out.
        rank_by: the measure that the frame is ranked by, where it is not the board's own.

    Raises:
        UserError: there is no such format or column.
    """
    check_format(fmt)
    chosen = None if columns is None else chosen_columns(columns, [*SHOWN, *frame.columns])
    if fmt == "csv":
        part = frame if chosen is None else frame[_of_csv(chosen)]
        return visible(to_csv(part).rstrip("\n"), keep="\n")
    said = notes(frame, rank_by)
    if fmt == "markdown":
        return document(*shown_rows(frame, chosen), fmt, said)
    if fmt == "table":
        wide = console or Console()
        lines = [line for note in said for line in textwrap.wrap(note, wide.width)]
        return "\n".join([_rich_table(*shown_rows(frame, chosen), wide, chosen is None), *lines])
    header, rows = shown_rows(frame, chosen)
    if chosen is None:  # a page is no wider than a terminal
        header, rows, same = said_once(header, rows)
        said = [*([same] if same else []), *said]
    bold = _best(frame, header, rank_by)
    if bold:
        said.append("bold: surely the best of the learners of its board (95%)")
    return document(header, rows, fmt, said, bold)


def shown_rows(
    frame: pd.DataFrame, columns: Sequence[str] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Names of columns and their cells row by row: these, or those of `SHOWN` that some row fills."""
    plain = frame.to_dict("records")
    rows = [[visible(cell, keep="\n") for cell in _shown(row)] for row in plain]
    kept = [i for i, name in enumerate(SHOWN) if name not in _WHERE_KNOWN or any(row[i] for row in rows)]
    for row in rows:
        row[SHOWN.index("sees")] = row[SHOWN.index("sees")] or "nothing"
    if columns is None:
        return [SHOWN[i] for i in kept], [[row[i] for i in kept] for row in rows]
    named = [dict(zip(SHOWN, row, strict=True)) for row in rows]
    return [*columns], [
        [cells[name] if name in cells else _plain(whole[name]) for name in columns]
        for cells, whole in zip(named, plain, strict=True)
    ]


def _plain(value: Any) -> str:
    """A cell of the CSV for a reader: numbers that are not whole to three decimals."""
    import pandas as pd

    if pd.isna(value):
        return ""
    return f"{value:.3f}" if isinstance(value, float) else visible(value, keep="\n")


def _of_csv(columns: Sequence[str]) -> list[str]:
    """The columns of the CSV that have what these show."""
    return list(dict.fromkeys(name for column in columns for name in _OF_CSV.get(column, (column,))))


def said_once(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]], str]:
    """The columns of settings in which rows differ, and what all of them say in the others."""
    said = [i for i, name in enumerate(header) if name in _SAYABLE and len({row[i] for row in rows}) == 1]
    kept = [i for i in range(len(header)) if i not in said]
    same = ", ".join(f"{header[i]} {rows[0][i]}" for i in said)
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows], same


_RANKING = {
    RANKED: "worst group",
    "minority_win_rate": "minority",
    "majority_win_rate": "majority",
    "mean_win_rate": "mean",
    REGRET: "regret",
    CROSS_FITTED: CROSS_FITTED,
}
"""Columns that show the measures that may rank."""


def _best(frame: pd.DataFrame, header: Sequence[str], rank_by: str | None) -> set[tuple[int, int]]:
    """Places of the figures of learners of which every rank but the first is ruled out."""
    board = ["task", "model", "data", "minority_ratio", "numerics", "tuning"]
    found = set()
    for _, rows in frame.reset_index(drop=True).groupby(board, sort=False, dropna=False):
        by = rank_by or (REGRET if rows[REGRET].notna().all() else RANKED)
        best = rows.index[(rows["rank_high"] == 1).fillna(False)]
        found |= {(int(i), header.index(_RANKING[by])) for i in best if _RANKING[by] in header}
    return found


def notes(frame: pd.DataFrame, rank_by: str | None = None) -> list[str]:
    """Sentences on how to read ranks and intervals of a leaderboard, ranked by this or its own measure."""
    said = []
    if is_old(frame):
        said.append(
            "an older file: its worst group is the smallest of means over seeds, its intervals are a "
            "bootstrap's that covers too little, and it is not ranked: build it anew from its runs"
        )
    elif frame["rank"].notna().any():
        by_regret = frame["rank"].notna() & frame["egalitarian_regret"].notna()
        figure = "egalitarian regret where it is known, else " if by_regret.any() else ""
        measure = f"{figure}worst group" if rank_by is None else rank_by.replace("_", " ")
        said.append(
            f"a rank such as 2 [1, 4]: second by {measure}, and no rank from 1 to 4 can be ruled out, for "
            "all learners of a board at once (95%); floors, ceilings and gold are not ranked"
        )
    if (frame["role"] == "outside").any():
        said.append(OUTSIDE_NOTE)
    measured = frame.loc[frame["worst_group_win_rate"].notna(), "n_seeds"]
    few = "" if is_old(frame) else said_of_all(int(n) for n in measured)
    return [*said, *([few] if few else [])]


def _rich_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], console: Console, may_leave_out: bool
) -> str:
    """The rows as a table that fits the terminal, columns left out rather than cells broken."""
    # What all rows agree on is said once, above, and leaves room for what differs.
    sayable = [i for i, name in enumerate(header) if name in _SAYABLE] if may_leave_out else []
    same = [i for i in sayable if len({row[i] for row in rows}) == 1]
    widths = {}
    for i, name in enumerate(header):
        cells = [name, *(row[i] for row in rows)]
        whole = [word for cell in cells for word in cell.split()] if name in _WRAPPED else cells
        if i not in same:
            widths[i] = max(map(cell_len, whole))
            if name in _WRAPPED:  # a long list of options must not push the results out
                widths[i] = min(widths[i], _WRAPPED[name])
    left_out = []
    for name in _EXPENDABLE if may_leave_out else ():
        if _total(widths) <= console.width:
            break
        if name in header and widths.pop(header.index(name), None) is not None:
            left_out.append(name)

    worst = header.index("worst group") if may_leave_out else -1
    broken = may_leave_out and _total(widths) > console.width
    if broken:  # the group's name goes below its figures, and what is too much still is the task's to give
        widths[worst] = max(cell_len(half) for row in rows for half in _halves(row[worst]))
        task = header.index("task")
        if task in widths:
            widths[task] = max(widths[task] - max(_total(widths) - console.width, 0), 8)
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    if same:
        table.title = Text(", ".join(f"{header[i]} {rows[0][i]}" for i in same))
    if left_out:
        table.caption = Text(f"too narrow for {', '.join(left_out)}: see the markdown or csv format")
        table.caption_justify = "left"
    for i, width in widths.items():
        wrapped = header[i] in _WRAPPED or (broken and header[i] in ("task", "worst group"))
        table.add_column(header[i], min_width=width, no_wrap=not wrapped, overflow="fold")
    for row in rows:
        cells = ["\n".join(_halves(row[i])) if broken and i == worst else row[i] for i in widths]
        table.add_row(*map(Text, cells))
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _total(widths: Mapping[int, int]) -> int:
    """Characters of a line of columns so wide."""
    return sum(width + 2 for width in widths.values()) + 2


def _halves(cell: str) -> list[str]:
    """The worst group's figures and its name."""
    figures, bracket, name = cell.partition("] ")
    return [figures + bracket.rstrip(), name] if bracket else [cell]


def _shown(row: Mapping[Any, Any]) -> list[str]:
    import pandas as pd

    def number(name: str, digits: int) -> str:
        return "" if pd.isna(row[name]) else f"{row[name]:.{digits}f}"

    def interval(metric: str, digits: int = 2) -> str:
        bounds = [number(f"{metric}_{end}", digits) for end in ("low", "high")]
        return number(metric, digits) + (f" [{', '.join(bounds)}]" if all(bounds) else "")

    aligner = f"{row['aligner']} ({row['variant']})" if row["variant"] else str(row["aligner"])
    near = near_reference(row["kl"])
    if near is not None:
        aligner += f" [{near}]"
    worst = interval("worst_group_win_rate")
    if pd.isna(row["rank"]):  # complete and none of the learners, or nothing that could be ranked
        rank = row["role"] if row["status"] == "ok" and row["role"] != "learner" else ""
    else:
        rank = f"{row['rank']} [{row['rank_low']}, {row['rank_high']}]"
    return [
        rank,
        str(row["task"]),
        str(row["model"]),
        str(row["data"]),
        f"{row['minority_ratio']:g}",
        aligner,
        str(row["needs"]),
        str(row["sees"]),
        str(row["n_seeds"]),
        f"{worst} {row['worst_group']}" if worst else "",
        number("worst_seed", 2),
        interval("egalitarian_regret", 3),
        *(interval(metric) for metric in (*METRICS[1:], PROMPTED)),
        number("kl", 2),
        number("mean_length", 1),
        *shown_beyond(row),
        str(row["status"]),
    ]
