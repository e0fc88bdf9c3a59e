"""Texts as HTML, whatever a stranger's names hold."""

from __future__ import annotations

import html


def escape(text: object) -> str:
    """Text for markup, also inside quotes; control characters and lone surrogates become a mark."""
    plain = "".join(c if c.isprintable() or c in " \n" else "\ufffd" for c in str(text))
    return html.escape(plain, quote=True)


def breakable(name: object) -> str:
    """A name for markup that may go on in the next line after an underscore."""
    return escape(name).replace("_", "_<wbr>")
