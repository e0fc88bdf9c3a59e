"""Examples in the help: lines to type, kept as data beside the commands."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from typer.core import TyperCommand, TyperGroup

START = "start"
"""Name of the lines with which the help of the whole program begins."""


@functools.cache
def examples() -> Mapping[str, tuple[str, ...]]:
    """Lines of `examples.toml` by a command's words, such as `leaderboard build`."""
    found = tomllib.loads((files("prefbench.cli") / "examples.toml").read_text(encoding="utf-8"))
    return {words: tuple(text.strip().splitlines()) for words, text in found.items()}


def write_lines(formatter: Any, heading: str, lines: tuple[str, ...]) -> None:
    """Write a section of help whose lines stay whole: a command that is cut in two cannot be typed."""
    with formatter.section(heading):
        for line in lines:
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class ExampleCommand(TyperCommand):
    """A command whose help ends with its examples."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write them."""
        lines = examples().get(ctx.command_path.partition(" ")[2])
        if lines:
            write_lines(formatter, "Examples", lines)


class WholeGroup(TyperGroup):
    """A group of commands whose help lists each with its whole sentence."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write them."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, _sentence(self.commands[name].help or "")) for name in self.list_commands(ctx)]
            )


def _sentence(text: str) -> str:
    """The first paragraph of a text, on one line."""
    return " ".join(text.partition("\n\n")[0].split())
