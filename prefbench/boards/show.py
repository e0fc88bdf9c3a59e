"""The leaderboard for a reader."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from prefbench.boards.beyond import BEYOND_SHOWN, shown_beyond
from prefbench.boards.columns import METRICS, PROMPTED, is_old
from prefbench.boards.csv_file import to_csv
from prefbench.boards.outside import OUTSIDE_NOTE
from prefbench.errors import UserError
from prefbench.record.near_reference import near_reference
from prefbench.stats.covered import said_of_all
from prefbench.text import one_line, visible

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
_WRAPPED = {"aligner": 32, "status": 32}
"""Columns whose cells may take several lines, and their widest word before it is broken."""


def show(
    frame: pd.DataFrame,
    fmt: Literal["rich", "markdown", "csv"] = "rich",
    console: Console | None = None,
) -> str:
    """The leaderboard for a reader, as text that ends without a newline.

    Args:
        frame: from `build` or `read_csv`.
        fmt: `rich` for a terminal (coloured if standard output is one), `markdown` for a page, `csv` for
            all columns. Intervals look like `0.78 [0.74, 0.82]`.
        console: whose width and colours a `rich` one has; standard output's if left out.

    Raises:
        UserError: if the format is unknown.
    """
    if fmt == "csv":
        return visible(to_csv(frame).rstrip("\n"), keep="\n")
    if fmt not in ("rich", "markdown"):
        raise UserError(f"unknown format '{fmt}': choose rich, markdown or csv.")
    header, rows = shown_rows(frame)
    said = notes(frame)
    if fmt == "markdown":
        clean = [[one_line(cell).replace("|", "\\|") for cell in row] for row in rows]
        table = tabulate(clean, headers=header, tablefmt="github", disable_numparse=True)
        return "\n\n".join([table, *said])

    wide = console or Console()
    lines = [line for note in said for line in textwrap.wrap(note, wide.width)]
    return "\n".join([_rich_table(header, rows, wide), *lines])


def shown_rows(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Names of the columns of `SHOWN` that some row fills, and their cells row by row."""
    rows = [[visible(cell, keep="\n") for cell in _shown(row)] for row in frame.to_dict("records")]
    kept = [i for i, name in enumerate(SHOWN) if name not in _WHERE_KNOWN or any(row[i] for row in rows)]
    return [SHOWN[i] for i in kept], [[row[i] for i in kept] for row in rows]


def notes(frame: pd.DataFrame) -> list[str]:
    """Sentences on how to read ranks and intervals of a leaderboard."""
    said = []
    if is_old(frame):
        said.append(
            "an older file: its worst group is the smallest of means over seeds, its intervals are a "
            "bootstrap's that covers too little, and it is not ranked: build it anew from its runs"
        )
    elif frame["rank"].notna().any():
        by_regret = frame["rank"].notna() & frame["egalitarian_regret"].notna()
        figure = "egalitarian regret where it is known, else " if by_regret.any() else ""
        said.append(
            f"rank 2 [1, 4]: second by {figure}worst group, and no rank from 1 to 4 can be ruled out, for "
            "all learners of a board at once (95%); floors, ceilings and gold are not ranked"
        )
    if (frame["role"] == "outside").any():
        said.append(OUTSIDE_NOTE)
    measured = frame.loc[frame["worst_group_win_rate"].notna(), "n_seeds"]
    few = "" if is_old(frame) else said_of_all(int(n) for n in measured)
    return [*said, *([few] if few else [])]


def _rich_table(header: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> str:
    """The rows as a table that fits the terminal, columns left out rather than cells broken."""
    # What all rows agree on is said once, above, and leaves room for what differs.
    sayable = (*range(1, 5), header.index("status"))
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
    for name in _EXPENDABLE:
        if sum(width + 2 for width in widths.values()) + 2 <= console.width:
            break
        if name in header and widths.pop(header.index(name), None) is not None:
            left_out.append(name)

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    if same:
        table.title = Text(", ".join(f"{header[i]} {rows[0][i]}" for i in same))
    if left_out:
        table.caption = Text(f"too narrow for {', '.join(left_out)}: see the markdown or csv format")
        table.caption_justify = "left"
    for i, width in widths.items():
        wrapped = header[i] in _WRAPPED
        table.add_column(header[i], min_width=width, no_wrap=not wrapped, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in widths))
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


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
