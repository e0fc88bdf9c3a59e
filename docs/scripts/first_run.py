"""The picture of README.md and the text of docs/reading.md: what README's first command prints.

    python docs/scripts/first_run.py          # draw and write both of the record in docs/first-run.json
    python docs/scripts/first_run.py RUN      # of a run's folder, whose record is kept in its place

`tests/docs/test_written_pages.py` compares both with what this would make now, and the record with the
command: after a change that moves results run README's first command again.
"""

from __future__ import annotations

import re
import sys
import textwrap
from html import escape
from pathlib import Path

from rich.console import Console

from prefbench.record.files import read_record
from prefbench.record.schema import Record
from prefbench.report.tables import render, result_table, verdict

DOCS = Path(__file__).parents[1]
KEPT = DOCS / "first-run.json"
PICTURE = DOCS / "images" / "first-run.svg"
PAGE = DOCS / "reading.md"
MARKED = re.compile(r"(?<=<!-- first run -->\n).*?(?=<!-- /first run -->)", re.DOTALL)
COLUMNS = 80
SIZE, ADVANCE, LINE = 13, 7.83, 18
"""Of a monospaced font: its size, the width of a letter in it, and the height of a line, in pixels."""
LEFT, TOP = 22, 66
COLOURS = {"paper": "#1e2429", "bar": "#2c343b", "ink": "#d5dbe0", "rate": "#7fd1ae"}


def printed(record: Record) -> str:
    """What the command prints of a record, but for where it lies and what to do next."""
    return f"{render(result_table(record), Console(width=COLUMNS, color_system=None))}\n{verdict(record)}"


def command_of(record: Record) -> str:
    """The command that made a record with default options."""
    return f"prefbench run --task {record.task} --aligner {record.aligner}"


def drawn_line(number: int, line: str, row: re.Pattern[str]) -> str:
    """One line of the terminal; win rates of the groups stand out."""
    y = TOP + number * LINE
    said = escape(line)
    if row.match(line):
        said = re.sub(
            r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\]", rf'<tspan fill="{COLOURS["rate"]}">\g<0></tspan>', said
        )
    width = f'textLength="{len(line) * ADVANCE:.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{LEFT}" y="{y}" {width} xml:space="preserve">{said}</text>' if line else ""


def picture(record: Record) -> str:
    """A terminal with the command and what it prints, in SVG."""
    lines = [f"$ {command_of(record)}", ""]
    for line in printed(record).split("\n"):
        lines += textwrap.wrap(line, COLUMNS) if len(line) > COLUMNS else [line]
    names = "|".join(re.escape(group.name) for group in record.groups)
    row = re.compile(rf" (?:{names})\b")
    width, height = 2 * LEFT + round(COLUMNS * ADVANCE), TOP + len(lines) * LINE
    dots = (f'<circle cx="{LEFT + 18 * i}" cy="20" r="5.5" fill="#5b6770"/>' for i in range(3))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" '
            f'font-size="{SIZE}" fill="{COLOURS["ink"]}">',
            f"<title>{escape(command_of(record))}, and what it prints</title>",
            f'<rect width="{width}" height="{height}" rx="9" fill="{COLOURS["paper"]}"/>',
            f'<path d="M0 40V9a9 9 0 0 1 9-9H{width - 9}a9 9 0 0 1 9 9V40z" fill="{COLOURS["bar"]}"/>',
            *dots,
            *filter(None, (drawn_line(i, line, row) for i, line in enumerate(lines))),
            "</svg>\n",
        ]
    )


def block(record: Record) -> str:
    """What is printed, as the block of docs/reading.md."""
    return f"```text\n{printed(record)}\n```\n"


def main(given: list[str]) -> None:
    """Keep a record if one is named; draw and write."""
    if given:
        KEPT.write_bytes((Path(given[0]) / "record.json").read_bytes())
    record = read_record(KEPT)
    PICTURE.write_text(picture(record), encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKED.sub(lambda _: block(record), page), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
