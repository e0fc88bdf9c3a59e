"""The leaderboard for a reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from prefbench.boards.beyond import BEYOND_SHOWN, shown_beyond
from prefbench.boards.columns import METRICS, PROMPTED
from prefbench.boards.csv_file import to_csv
from prefbench.errors import UserError
from prefbench.record.near_reference import near_reference
from prefbench.text import one_line, visible

if TYPE_CHECKING:
    import pandas as pd

SHOWN = (
    *("rank", "task", "model", "data", "ratio", "aligner", "needs", "seeds"),
    *("worst group", "minority", "majority", "mean", "gap", "worst, told", "KL", "words"),
    *BEYOND_SHOWN,
    "status",
)

_EXPENDABLE = (
    *("log p/token", "relevant", "distinct", "words", "mean", "KL", "kept", "gap", "data", "model"),
    *("majority", "seeds", "non-words", "worst, told", "minority"),
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
    rows = shown_rows(frame)
    if fmt == "markdown":
        said = [i for i, name in enumerate(SHOWN) if name not in BEYOND_SHOWN or any(row[i] for row in rows)]
        clean = [[one_line(row[i]).replace("|", "\\|") for i in said] for row in rows]
        heads = [SHOWN[i] for i in said]
        return tabulate(clean, headers=heads, tablefmt="github", disable_numparse=True)

    return _rich_table(rows, console or Console())


def shown_rows(frame: pd.DataFrame) -> list[list[str]]:
    """The cells of `SHOWN`, row by row."""
    return [[visible(cell, keep="\n") for cell in _shown(row)] for row in frame.to_dict("records")]


def _rich_table(rows: Sequence[Sequence[str]], console: Console) -> str:
    """The rows as a table that fits the terminal, columns left out rather than cells broken."""
    # What all rows agree on is said once, above, and leaves room for what differs.
    sayable = (*range(1, 5), SHOWN.index("status"))
    same = [i for i in sayable if len({row[i] for row in rows}) == 1]
    widths = {}
    for i, name in enumerate(SHOWN):
        cells = [name, *(row[i] for row in rows)]
        whole = [word for cell in cells for word in cell.split()] if name in _WRAPPED else cells
        if i not in same and not (name in BEYOND_SHOWN and not any(row[i] for row in rows)):
            widths[i] = max(map(cell_len, whole))
            if name in _WRAPPED:  # a long list of options must not push the results out
                widths[i] = min(widths[i], _WRAPPED[name])
    left_out = []
    for name in _EXPENDABLE:
        if sum(width + 2 for width in widths.values()) + 2 <= console.width:
            break
        if widths.pop(SHOWN.index(name), None) is not None:
            left_out.append(name)

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    if same:
        table.title = Text(", ".join(f"{SHOWN[i]} {rows[0][i]}" for i in same))
    if left_out:
        table.caption = Text(f"too narrow for {', '.join(left_out)}: see the markdown or csv format")
        table.caption_justify = "left"
    for i, width in widths.items():
        wrapped = SHOWN[i] in _WRAPPED
        table.add_column(SHOWN[i], min_width=width, no_wrap=not wrapped, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[i]) for i in widths))
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def _shown(row: Mapping[Any, Any]) -> list[str]:
    import pandas as pd

    def number(name: str, digits: int) -> str:
        return "" if pd.isna(row[name]) else f"{row[name]:.{digits}f}"

    def interval(metric: str) -> str:
        if pd.isna(row[metric]):
            return ""
        return f"{number(metric, 2)} [{number(f'{metric}_low', 2)}, {number(f'{metric}_high', 2)}]"

    aligner = f"{row['aligner']} ({row['variant']})" if row["variant"] else str(row["aligner"])
    near = near_reference(row["kl"])
    if near is not None:
        aligner += f" [{near}]"
    worst = interval("worst_group_win_rate")
    return [
        "" if pd.isna(row["tie_rank"]) else str(row["tie_rank"]),
        str(row["task"]),
        str(row["model"]),
        str(row["data"]),
        f"{row['minority_ratio']:g}",
        aligner,
        str(row["needs"]),
        str(row["n_seeds"]),
        f"{worst} {row['worst_group']}" if worst else "",
        *(interval(metric) for metric in (*METRICS[1:], PROMPTED)),
        number("kl", 2),
        number("mean_length", 1),
        *shown_beyond(row),
        str(row["status"]),
    ]
