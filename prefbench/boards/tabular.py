"""Tables as part of a document: Markdown, LaTeX with booktabs, HTML. Names in them may be a stranger's."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from html import escape
from typing import Literal, get_args

from tabulate import DataRow, Line, TableFormat, tabulate

from prefbench.errors import UserError
from prefbench.text import one_line

Document = Literal["markdown", "latex", "html"]
Format = Literal["table", "markdown", "latex", "csv", "html"]
"""Formats of boards and comparisons: a table for a terminal, three for documents, and all figures as CSV."""
_PLAIN = r"[+-]?[0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,3})?"
_BOUNDS = rf"\[{_PLAIN}, {_PLAIN}\]"
_FIGURE = re.compile(
    rf"(?P<value>{_PLAIN})(?: (?P<interval>{_BOUNDS}))?(?=[ *]|$)|(?P<alone>{_BOUNDS})(?= |$)|(?=$)"
)
"""A figure at the start of a cell, its interval, or both: `0.72 [0.65, 0.79]`."""
PACKAGES = r"% needs \usepackage{booktabs} and \usepackage[T1]{fontenc}"
_LATEX = str.maketrans(
    {
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "'": r"\textquotesingle{}",
        "`": r"\textasciigrave{}",
    }
)


def check_format(fmt: str) -> None:
    """Refuse a format that there is not.

    Raises:
        UserError: it is none of `Format`.
    """
    known = get_args(Format)
    if fmt not in known:
        raise UserError(f"unknown format '{fmt}': choose one of {', '.join(known)}.")


def heading(text: str, fmt: Document) -> str:
    """A line above tables; in LaTeX a comment."""
    if fmt == "html":
        return f"<h3>{escape(one_line(text))}</h3>"
    return f"{'###' if fmt == 'markdown' else '%'} {one_line(text)}"


def paragraph(text: str, fmt: Document) -> str:
    """A sentence or more beside a table; in LaTeX a comment."""
    if fmt == "html":
        return f"<p>{escape(one_line(text))}</p>"
    return one_line(text) if fmt == "markdown" else f"% {one_line(text)}"


def document(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    fmt: Document,
    notes: Sequence[str] = (),
    bold: Collection[tuple[int, int]] = (),
) -> str:
    """A table and its notes as part of a document, without a newline at the end.

    Args:
        header: of the columns.
        rows: cells as they read; figures begin a cell, as `0.72 [0.65, 0.79] name`.
        fmt: in LaTeX notes are comments, and the table is a `tabular` that needs the package booktabs.
        notes: sentences beneath the table.
        bold: places, row and column, of figures that stand out; in LaTeX and HTML only.
    """
    columns = list(zip(*rows, strict=True))
    numbers = [any(cells) and all(map(_is_figure, cells)) for cells in columns]
    clean = [[one_line(cell) for cell in row] for row in rows]
    said = [paragraph(note, fmt) for note in notes]
    if fmt == "markdown":
        cells = [[cell.replace("|", "\\|") for cell in row] for row in clean]
        heads = [one_line(name).replace("|", "\\|") for name in header]
        return "\n\n".join([tabulate(cells, headers=heads, tablefmt="github", disable_numparse=True), *said])
    write = _in_latex if fmt == "latex" else _in_html
    cells = [[write(cell, (i, j) in bold) for j, cell in enumerate(row)] for i, row in enumerate(clean)]
    heads = [write(one_line(name), False) for name in header]
    form = _booktabs(numbers) if fmt == "latex" else "unsafehtml"
    align = ["right" if number else "left" for number in numbers]
    table = tabulate(cells, headers=heads, tablefmt=form, disable_numparse=True, colalign=align)
    if fmt == "latex":
        return "\n".join([PACKAGES, table, *said])
    return "\n".join([str(table), *said])


def _parted(cell: str) -> tuple[str, str, str]:
    """The figure that a cell begins with, its interval and the rest, each of which may be empty."""
    found = _FIGURE.match(cell)
    if found is None:
        return "", "", cell
    return found["value"] or "", found["interval"] or found["alone"] or "", cell[found.end() :]


def _is_figure(cell: str) -> bool:
    return _parted(cell)[2] in ("", "*")


def _in_latex(cell: str, bold: bool) -> str:
    """A cell in LaTeX: its figure in mathematics, everything else as it is spelt."""
    value, interval, rest = _parted(cell)
    said = rest.translate(_LATEX)
    if not value and not interval:
        # After the end of a row a bracket is an argument of it, and so is a star.
        return f"{{}}{said}" if said.startswith(("[", "*")) else said
    shown = f"\\mathbf{{{_in_mathematics(value)}}}" if bold and value else _in_mathematics(value)
    between = r"\," if value and interval else ""
    return f"${shown}{between}{interval}${said}"


def _in_mathematics(value: str) -> str:
    whole, _, power = value.replace(",", "{,}").partition("e")
    return f"{whole} \\times 10^{{{int(power)}}}" if power else whole


def _in_html(cell: str, bold: bool) -> str:
    value, _, _ = _parted(cell)
    return f"<b>{escape(value)}</b>{escape(cell[len(value) :])}" if bold and value else escape(cell)


def _booktabs(numbers: Sequence[bool]) -> TableFormat:
    """Booktabs for cells that are LaTeX already; tabulate's own escapes what they hold."""
    columns = "".join("r" if number else "l" for number in numbers)
    row = DataRow("", " & ", r" \\")
    return TableFormat(
        lineabove=Line(f"\\begin{{tabular}}{{{columns}}}\n\\toprule", "", "", ""),
        linebelowheader=Line(r"\midrule", "", "", ""),
        linebetweenrows=None,
        linebelow=Line("\\bottomrule\n\\end{tabular}", "", "", ""),
        headerrow=row,
        datarow=row,
        padding=0,
        with_header_hide=None,
    )
