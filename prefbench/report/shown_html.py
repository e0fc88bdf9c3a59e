"""Tables and sentences as a block of HTML, for a notebook: no script, nothing that is fetched."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table

from prefbench.report.cells import IntervalCell
from prefbench.report.markup import escape

STYLE = (
    ".pb-shown{line-height:1.4}"
    ".pb-shown .pb-wide{overflow-x:auto}"
    ".pb-shown table{border-collapse:collapse;margin:.3em 0;font-variant-numeric:tabular-nums}"
    ".pb-shown th,.pb-shown td{text-align:left;padding:.15em .9em .15em 0;vertical-align:top;min-width:0;"
    "border:0;background:none;color:inherit;font-size:inherit}"
    ".pb-shown th{white-space:pre-line;vertical-align:bottom;font-weight:bold}"
    ".pb-shown thead th{border-bottom:1px solid rgba(128,128,128,.6)}"
    ".pb-shown td:not(.pb-long){white-space:nowrap}"
    ".pb-shown .pb-title{margin-top:.7em;font-weight:bold}"
    ".pb-shown svg{vertical-align:middle;margin-right:.5em;max-width:none}"
    ".pb-shown .pb-below{opacity:.8;font-size:.92em}"
    ".pb-shown .pb-said{margin-top:.3em}"
    ".pb-shown.pb-bad{border-left:4px solid #d9822b;padding-left:.7em}"
)
"""Colours are the page's own, by which a block can be read on a light page and on a dark one."""
WHOLE_CHARACTERS = 32
"""Longest cell that is never broken into lines; a table that gets too wide scrolls by itself."""


def html_block(
    tables: Sequence[Table], sentences: Sequence[str], above: Sequence[str] = (), *, good: bool = True
) -> str:
    """Tables one below the other, with sentences above and below them.

    Args:
        tables: whatever their cells hold becomes text; the title of each stands above it, its caption below.
        sentences: lines below all of them.
        above: lines above.
        good: false puts a coloured bar beside the block, for what did not end well.
    """
    kind = "pb-shown" if good else "pb-shown pb-bad"
    body = "".join(map(_html_table, tables))
    return (
        f'<div class="{kind}"><style>{STYLE}</style>{_lines(above, "pb-said")}{body}'
        f"{_lines(sentences, 'pb-said')}</div>"
    )


def _html_table(table: Table) -> str:
    header = "".join(f"<th>{_cell(column.header)}</th>" for column in table.columns)
    rows = zip(*(column.cells for column in table.columns), strict=True)
    body = "".join(f"<tr>{''.join(map(_data, row))}</tr>" for row in rows)
    title = _lines([str(table.title)], "pb-title") if table.title else ""
    whole = f'<table class="pb-table"><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>'
    below = _lines(str(table.caption or "").splitlines(), "pb-below")
    return f'{title}<div class="pb-wide">{whole}</div>{below}'


def _data(cell: RenderableType) -> str:
    picture = cell.picture() if isinstance(cell, IntervalCell) else ""
    long = ' class="pb-long"' if not picture and len(str(cell)) > WHOLE_CHARACTERS else ""
    return f"<td{long}>{picture}{_cell(cell)}</td>"


def _cell(cell: RenderableType) -> str:
    return escape(cell)  # of rich's Text its words without their style


def _lines(lines: Sequence[str], kind: str) -> str:
    if not lines:
        return ""
    return f'<div class="{kind}">{"".join(f"<div>{escape(line)}</div>" for line in lines)}</div>'
