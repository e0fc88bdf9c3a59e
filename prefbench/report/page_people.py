"""The page's section on people: tables that need no script.

It is there only where it matters who is answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefbench.boards.people_file import people_frame
from prefbench.boards.people_show import Cells, PeopleBoard, PeopleTable, boards_of, people_boards
from prefbench.boards.rows import Row
from prefbench.report.figures import Style
from prefbench.report.markup import breakable, escape
from prefbench.report.page_curve import curve_figure

_HOW = (
    "Each person judges by her own utility. Of the seen all their training labels are known, of the unseen n "
    "labelled pairs; at n = 0 nothing is known, and the default policy answers. Numbers behind &plusmn; are "
    "half the 95% interval over seeds. The best single policy is the learner that sees nothing of people and "
    "gives the worst group most; a policy for each person has to beat it on the same people."
)


def people_section(rows: Sequence[Row], looks: Mapping[str, Style]) -> str:
    """The section, as markup that ends in a line break; empty where nobody is told apart."""
    frame = people_frame(rows)
    if frame.empty:
        return ""
    found = boards_of(frame)
    parts = "".join(
        _board(board, rows, looks) for board, rows in zip(people_boards(frame), found, strict=True)
    )
    return (
        '<section id="people" class="wide" aria-labelledby="people-title">\n'
        '<h2 id="people-title">What knowing the person is worth</h2>\n'
        f'<p class="how">{_HOW}</p>\n{parts}</section>\n'
    )


def _board(board: PeopleBoard, rows: Sequence[Cells], looks: Mapping[str, Style]) -> str:
    room = "".join(f"<p>{escape(sentence)}</p>\n" for sentence in board.room)
    tables = "".join(_table(table, board.title) for table in board.tables)
    notes = "".join(
        f'<p class="note">{escape(_sentence(note))}</p>\n' for note in (*board.failed, *board.notes)
    )
    curve = curve_figure(rows, board.title, looks)
    said = f'<div class="beside">{curve}<div>{room}</div></div>\n' if curve else room
    return f"<h3>{escape(board.title)}</h3>\n{said}{tables}{notes}"


def _table(table: PeopleTable, of: str) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.header)
    body = "\n".join(f"<tr>{_cells(row)}</tr>" for row in table.rows)
    caption = _sentence(table.title)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(f"{caption} {of}")}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
    )


def _cells(row: Sequence[str]) -> str:
    name, *cells = row
    return f'<th scope="row"><bdi>{breakable(name)}</bdi></th>' + "".join(
        f"<td>{escape(cell)}</td>" for cell in cells
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}".rstrip(".") + "."
