"""docs/cli.md, docs/modules.md and sentences of docs/api.md: `python docs/scripts/reference.py`.

The command line is what typer knows of it; of a public module or name the page has its first sentence,
and the site what its docstrings say. `tests/docs/test_written_pages.py` compares the pages with what
this would write now.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import prefbench as pb
from prefbench.cli.entry import program
from prefbench.cli.examples import START, examples

DOCS = Path(__file__).parents[1]
NAME = re.compile(r"^### pb\.(\w+)\n\n[^\n]+$", re.MULTILINE)
WRITTEN = "<!-- written by docs/scripts/reference.py -->"
CLI_HEAD = f"""# Command line

{WRITTEN}

`--help` after any command prints the same. Exit codes are in [running.md](running.md#exit-codes),
options of tasks, aligners and models (`--set`) in `prefbench show NAME`. A shell completes commands, options
and names with a line that [`prefbench completion`](#prefbench-completion) shows.
"""
MODULES_HEAD = f"""# Public modules

{WRITTEN}

Modules that tasks, aligners and scripts may import from, beside [the public face](api.md):
`pb.PUBLIC_MODULES`. They are kept from version to version; everything else may move.
"""


def commands() -> Iterator[tuple[str, Any, Any]]:
    """Every command: the words that call it, the command, and the context that its help is made in."""
    top = program()
    for name, command in top.commands.items():
        below = getattr(command, "commands", {})
        for words, leaf in {f"{name} {sub}": leaf for sub, leaf in below.items()}.items() or [
            (name, command)
        ]:
            with leaf.make_context(f"prefbench {words}", [], resilient_parsing=True) as context:
                yield words, leaf, context


def cell(text: str) -> str:
    """Text for a cell of a table: in one line, and of signs that Markdown reads only their look."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    parts[::2] = [re.sub(r"[\[*]", r"\\\g<0>", part).replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def paragraphs(help_text: str | None) -> str:
    """A docstring's paragraphs, each in one line."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(help_text or "").split("\n\n"))


def command_section(words: str, command: Any, context: Any) -> str:
    """A command's heading, its purpose and a row for each argument and option."""
    records = [found for each in command.params if (found := each.get_help_record(context))]
    rows = [f"| `{names.replace('|', '/')}` | {cell(meaning)} |" for names, meaning in records]
    table = "\n".join(["| argument or option | meaning |", "|---|---|", *rows])
    return f"## prefbench {words}\n\n{paragraphs(command.help)}\n\n{shell(words)}\n{table}\n"


def shell(words: str) -> str:
    """The examples of a command, to be typed."""
    lines = "\n".join(examples()[words])
    return f"```sh\n{lines}\n```\n"


def cli_page() -> str:
    """docs/cli.md."""
    return "\n".join([CLI_HEAD, shell(START), *(command_section(*each) for each in commands())])


def first_paragraph(thing: object) -> str:
    """What a docstring says first, in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def module_section(name: str) -> str:
    """A module's heading, and what it is; the site has its docstrings there."""
    return f"## {name}\n\n{first_paragraph(import_module(name))}\n"


def modules_page() -> str:
    """docs/modules.md."""
    return "\n".join([MODULES_HEAD, *map(module_section, pb.PUBLIC_MODULES)])


def api_page(text: str) -> str:
    """docs/api.md with what each name of the face says of itself today."""
    return NAME.sub(lambda name: f"### pb.{name[1]}\n\n{first_paragraph(getattr(pb, name[1]))}", text)


def main() -> None:
    """Write the pages."""
    api = DOCS / "api.md"
    api.write_text(api_page(api.read_text(encoding="utf-8")), encoding="utf-8")
    (DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
    (DOCS / "modules.md").write_text(modules_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
