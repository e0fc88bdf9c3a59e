"""Comparisons as text for a document or another program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from prefbench.boards.choose import chosen_columns
from prefbench.boards.compare import Comparison, comparison_rows
from prefbench.boards.csv_file import to_csv
from prefbench.boards.matrix import Matrix, duels_frame, matrix_heading, matrix_tables
from prefbench.boards.tabular import Document, document, paragraph
from prefbench.stats.covered import said_of
from prefbench.text import visible

if TYPE_CHECKING:
    import pandas as pd

Text = Document | Literal["csv"]


def comparison_table(
    comparison: Comparison, columns: Sequence[str] | None = None
) -> tuple[str, list[str], list[list[str]]]:
    """A comparison as title, header and cells, of these columns or of all.

    Raises:
        UserError: there is no such column.
    """
    title, header, rows = comparison_rows(comparison)
    if columns is None:
        return title, header, rows
    chosen = chosen_columns(columns, header)
    return title, chosen, [[row[header.index(name)] for name in chosen] for row in rows]


def comparison_text(comparison: Comparison, fmt: Text, columns: Sequence[str] | None = None) -> str:
    """A comparison as text that ends without a newline; as CSV with all digits.

    Raises:
        UserError: there is no such column.
    """
    if fmt == "csv":
        import pandas as pd

        frame = pd.DataFrame([vars(measure) for measure in comparison.measures])
        return _csv(frame if columns is None else frame[chosen_columns(columns, list(frame.columns))])
    title, header, rows = comparison_table(comparison, columns)
    return document(header, rows, fmt, [title, *_few(len(comparison.seeds))])


def matrix_text(matrix: Matrix, fmt: Text) -> str:
    """All duels as text that ends without a newline: a table for each group; as CSV a row for each duel."""
    if fmt == "csv":
        return _csv(duels_frame(matrix))
    parts = [paragraph(matrix_heading(matrix), fmt)]
    for group, header, rows in matrix_tables(matrix):
        parts += [paragraph(f"{group}:", fmt), document(header, rows, fmt)]
    return "\n\n".join([*parts, *(paragraph(line, fmt) for line in _few(len(matrix.seeds)))])


def _few(seeds: int) -> list[str]:
    said = said_of(seeds)
    return [said] if said else []


def _csv(frame: pd.DataFrame) -> str:
    return visible(to_csv(frame).rstrip("\n"), keep="\n")
