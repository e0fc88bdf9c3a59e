"""Printing that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from prefbench.text import one_line


def warn(message: str) -> None:
    """A warning as one line on standard error."""
    print(f"prefbench: warning: {one_line(message)}", file=sys.stderr)


def speaker(quiet: bool, console: Any) -> Callable[[str], None]:
    """A function that prints where a console does, or nothing at all."""

    def say(text: str) -> None:
        if not quiet:
            print(text, file=console.file)

    return say


def print_json(value: Any) -> None:
    """JSON on standard output."""
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(title: str, header: list[str], rows: list[list[str]], names_break: bool = False) -> None:
    """A table on standard output, under its title; `names_break` as of `rows_table`."""
    from rich.console import Console

    from prefbench.report.tables import render, rows_table

    print(render(rows_table(title, header, rows, names_break), Console()))
