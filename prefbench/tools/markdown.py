"""Parts of the cards that lie in exported folders: tables, and texts of others that Markdown leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefbench.text import one_line


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; its cells are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(text: str) -> str:
    """Text of others as one line that Markdown leaves alone."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in one_line(text))


def code(text: str) -> str:
    """Text of others as one line in backticks."""
    return "`" + one_line(text).replace("`", "'").replace("|", "\\|") + "`"


def shown(value: Any) -> Any:
    """An option's value; of a path only its last part, as the rest is the exporter's own."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
