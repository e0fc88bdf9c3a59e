"""Hook of MkDocs: lines of the site break where a reader would break them.

An option and an interval stay whole, a long name in a table may go on after one of its parts, and a command
that is longer than the page is wide goes on in lines of its own. What it marks is styled by docs/site.css.
"""

from __future__ import annotations

import re
from typing import Any

INLINE = re.compile(r"(?<!</span>)<code>([^<]*)</code>")
BLOCK = re.compile(r'(<div class="language-sh highlight"><pre><span></span><code>)(.*?)\n</code>', re.DOTALL)
OPTION = re.compile(r"(?<![\w./-])--?\w[\w-]*")
HYPHENED = re.compile(r"(?<!\S)(?=\S{2,30}(?!\S))\S*-\S*")
CELL = re.compile(r"<td((?: style=\"[^\"]*\")?)>(.*?)</td>", re.DOTALL)
LONG = 60
"""Characters of a cell that are many."""
NAME = 12
"""Characters of a name that may be broken between its parts where a table has no room for more."""
INTERVAL = re.compile(r"\[[\d.,+% -]+\]|(?:±|&lt;) [\d.]+")


def on_page_content(html: str, **_: Any) -> str:
    """The page's text with its marks."""
    html = INLINE.sub(lambda code: f"<code>{HYPHENED.sub(_whole, code[1])}</code>", html)
    return CELL.sub(_cell, BLOCK.sub(_commands, html))


def _whole(word: re.Match[str]) -> str:
    return f'<span class="whole">{word[0]}</span>'


def _commands(block: re.Match[str]) -> str:
    """A block of commands, a line each."""
    lines = OPTION.sub(_whole, block[2]).split("\n")
    return block[1] + "".join(f'<span class="command">{line}</span>\n' for line in lines) + "</code>"


def _cell(cell: re.Match[str]) -> str:
    """A cell of a table; a full one is not to get narrow."""
    kind = ' class="long"' if len(cell[2]) >= LONG else ""
    return f"<td{kind}{cell[1]}>{INTERVAL.sub(_whole, INLINE.sub(_name, cell[2]))}</td>"


def _name(code: re.Match[str]) -> str:
    parts = re.sub("([_/=])", r"\1<wbr>", code[1]) if len(code[1]) > NAME else code[1]
    return f"<code>{parts}</code>"
