"""Tables and texts as HTML, whatever a stranger's names hold."""

from __future__ import annotations

import html
from collections.abc import Iterable

from rich.console import RenderableType
from rich.table import Table


def escape(text: object) -> str:
    """Text for markup, also inside quotes; control characters and lone surrogates become a mark."""
    plain = "".join(c if c.isprintable() or c in " \n" else "\ufffd" for c in str(text))
    return html.escape(plain, quote=True)


def breakable(name: object) -> str:
    """A name for markup that may go on in the next line after an underscore."""
    return escape(name).replace("_", "_<wbr>")


def html_table(table: Table, sentences: Iterable[str] = ()) -> str:
    """A table for a notebook, with its title above and its caption and more sentences below."""
    header = "".join(f"<th>{escape(_plain(column.header))}</th>" for column in table.columns)
    rows = zip(*(column.cells for column in table.columns), strict=True)
    body = "".join(f"<tr>{''.join(f'<td>{escape(_plain(cell))}</td>' for cell in row)}</tr>" for row in rows)
    below = [*_plain(table.caption or "").splitlines(), *sentences]
    lines = "".join(f"<div>{escape(line)}</div>" for line in below)
    title = f"<div><b>{escape(_plain(table.title))}</b></div>" if table.title else ""
    return f"{title}<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>{lines}"


def _plain(cell: RenderableType) -> str:
    return str(cell)  # of rich's Text its words without their style
