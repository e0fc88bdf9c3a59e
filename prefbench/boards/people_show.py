"""People's figures of a board for a reader: what is known of people, controls, and how evenly they fare."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prefbench.boards.csv_file import to_csv
from prefbench.boards.people import SLIGHT, SURE, WORST
from prefbench.boards.tabular import Document, Format, check_format, document, heading, paragraph
from prefbench.errors import UserError
from prefbench.evaluate.room import Room
from prefbench.problem.strata import CONTROLS
from prefbench.stats.covered import said_of_all
from prefbench.text import one_line, visible

if TYPE_CHECKING:
    import pandas as pd

Cells = Mapping[str, Any]
"""A row of the frame, what is missing None."""
_SINGLE = "best single policy"
_ORDER = (_SINGLE, "learner", "gold", "ceiling", "floor")
_NAMES = ("aligner", "needs", "sees")
_WRAPPED = (*_NAMES, "beats it from", *CONTROLS)
"""Columns whose cells may take several lines."""


@dataclass(frozen=True)
class PeopleTable:
    """One table as text."""

    title: str
    header: list[str]
    rows: list[list[str]]
    expendable: tuple[str, ...] = ()
    """Columns that a narrow terminal does without, first to go first."""


@dataclass(frozen=True)
class PeopleBoard:
    """All that is shown of one board."""

    title: str
    room: list[str]
    """Sentences on what knowing the person could be worth, to be read first."""
    tables: list[PeopleTable]
    failed: list[str]
    """A sentence for each control that a policy fails."""
    notes: list[str]


def show_people(
    frame: pd.DataFrame,
    fmt: Format = "table",
    console: Console | None = None,
) -> str:
    """People's figures for a reader, as text that ends without a newline.

    Args:
        frame: from `people_file.people_frame` or `read_people`.
        fmt: `table` for a terminal, `markdown`, `latex` or `html` for a document, `csv` for all columns.
        console: whose width and colours a `table` has; standard output's if left out.

    Raises:
        UserError: the format is unknown, or there is no row.
    """
    check_format(fmt)
    if frame.empty:
        raise UserError("nobody is told apart in these runs: set task.unseen_annotators or task.spread.")
    if fmt == "csv":
        return visible(to_csv(frame).rstrip("\n"), keep="\n")
    if fmt != "table":
        return "\n\n".join(part for board in people_boards(frame) for part in _in_document(board, fmt))
    pairs = zip(people_boards(frame), people_boards(frame, wide=False), strict=True)
    return "\n\n".join("\n".join(_plain(board, narrow, console or Console())) for board, narrow in pairs)


def people_boards(frame: pd.DataFrame, wide: bool = True) -> list[PeopleBoard]:
    """Tables and sentences of each board of a frame.

    Args:
        frame: as `show_people` takes it.
        wide: write half the 95% interval behind each mean.
    """
    return [_board(rows, wide) for rows in boards_of(frame)]


def boards_of(frame: pd.DataFrame) -> list[list[Cells]]:
    """The rows of each board of a frame, in the order of `people_boards`."""
    plain = frame.astype(object).where(frame.notna(), None)
    boards: dict[tuple[Any, ...], list[Cells]] = {}
    for row in plain.to_dict("records"):
        key = tuple(row[name] for name in ("board", "minority_ratio", "numerics", "single_hash"))
        boards.setdefault(key, []).append({str(name): value for name, value in row.items()})
    return list(boards.values())


def _board(rows: Sequence[Cells], wide: bool) -> PeopleBoard:
    first = rows[0]
    by_policy: dict[str, list[Cells]] = {}
    for row in rows:
        by_policy.setdefault(row["config_hash"], []).append(row)
    policies = sorted(by_policy.values(), key=_place)
    sizes = sorted({row["n"] for row in rows if row["n"] is not None})
    names = [_name(strata[0]) for strata in policies]
    title = ", ".join(
        str(part)
        for part in (
            *(first[name] for name in ("task", "model", "data")),
            f"minority ratio {first['minority_ratio']:g}",
            first["setting"],
            f"seeds {first['seeds']}",
            ", ".join(sorted({f"tuned: {row['tuning']}" for row in rows if row["tuning"] != "default"})),
        )
        if part
    )
    tables = [_by_known(policies, names, sizes, wide)]
    if any(_sees(strata[0]) for strata in policies):
        tables.append(_personal(policies, names, wide))
    tables.append(_evenness(policies, names, sizes, wide))
    return PeopleBoard(title, _room(policies, sizes), tables, _failed(policies, names), _notes(policies))


def _place(strata: Sequence[Cells]) -> tuple[int, bool, float, str]:
    """The best single policy, then learners told of people, from the best worst group down; ceilings last."""
    first, last = strata[0], _last(strata)
    role = _ORDER.index(first["role"]) if first["role"] in _ORDER else len(_ORDER)
    return role, not _sees(first), -(last[WORST] or 0.0), first["config_hash"]


def _last(strata: Sequence[Cells]) -> Cells:
    """The own stratum in which most is known of the unseen; that of the seen where nobody is unseen."""
    own = [row for row in strata if row["context"] == "own"]
    return max(own, key=lambda row: -1 if row["n"] is None else row["n"])


def _sees(row: Cells) -> bool:
    return bool(row["sees"] != "nothing")


def _name(row: Cells) -> str:
    name = f"{row['aligner']} ({row['options']})" if row["options"] else str(row["aligner"])
    return name if row["role"] == "learner" else f"{name} [{row['role']}]"


def _at(strata: Sequence[Cells], n: int | None, context: str = "own") -> Cells | None:
    return next((row for row in strata if row["n"] == n and row["context"] == context), None)


def _mean(row: Cells | None, name: str, halves: bool, sign: str = "") -> str:
    """A mean, and half its interval as far as it is known."""
    if row is None or row[name] is None:
        return ""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    value = format(row[name], f"{sign}.2f")
    return value if low is None or high is None or not halves else f"{value} ± {(high - low) / 2:.2f}"


def _by_known(
    policies: Sequence[Sequence[Cells]], names: Sequence[str], sizes: Sequence[int], wide: bool
) -> PeopleTable:
    places: list[int | None] = [None, *sizes]
    single = next((strata[0]["single"] for strata in policies if strata[0]["single"]), None)
    star = f"; * surely more than {single}, the best single policy" if single else ""
    rows = []
    for strata, name in zip(policies, names, strict=True):
        cells = [_mean(_at(strata, n), WORST, wide) + _star(_at(strata, n)) for n in places]
        rows.append([name, strata[0]["needs"], strata[0]["sees"], *cells])
    title = f"worst group's win rate by what is known of people: the seen, and n pairs of the unseen{star}"
    middle = tuple(f"n = {n}" for n in reversed(sizes[1:-1]))
    return PeopleTable(title, [*_NAMES, "seen", *(f"n = {n}" for n in sizes)], rows, (*middle, "needs"))


def _star(row: Cells | None) -> str:
    if row is None or row["minus_single_p"] is None:
        return ""
    return "*" if row["minus_single_p"] < SURE and row["minus_single"] > 0 else ""


def _personal(policies: Sequence[Sequence[Cells]], names: Sequence[str], wide: bool) -> PeopleTable:
    rows = []
    for strata, name in zip(policies, names, strict=True):
        first = strata[0]
        if not _sees(first):
            continue
        nothing = _at(strata, 0)
        controls = []
        for context in CONTROLS:
            row = next((row for row in strata if row["context"] == context), None)
            answer = "" if row is None or not row["control"] else f" {row['control']}"
            controls.append(_mean(row, "own_minus", wide, "+") + answer)
        beats = first["beats_single_from"]
        least = f"n = {beats}" if beats.isdecimal() else beats
        rows.append(
            [
                *(name, first["needs"], first["sees"], least),
                *("" if nothing is None else nothing["control"], *controls),
            ]
        )
    title = (
        "policies told of people: n that beats the best single policy, and controls (own labels less these)"
    )
    return PeopleTable(title, [*_NAMES, "beats it from", "n = 0", *CONTROLS], rows, (CONTROLS[-1], "needs"))


def _evenness(
    policies: Sequence[Sequence[Cells]], names: Sequence[str], sizes: Sequence[int], wide: bool
) -> PeopleTable:
    places: list[tuple[str, int | None]] = [("seen", None)]
    places += [(f"n = {n}", n) for n in sorted({*sizes[:1], *sizes[-1:]})]
    header = [f"{measure},\n{said}" for said, _ in places for measure in ("worst tenth", "Gini")]
    rows = [
        [name, strata[0]["needs"], strata[0]["sees"]]
        + [_mean(_at(strata, n), measure, wide) for _, n in places for measure in ("worst_tenth", "gini")]
        for strata, name in zip(policies, names, strict=True)
    ]
    title = "how evenly people fare: win rate of the worst tenth, and Gini"
    return PeopleTable(title, [*_NAMES, *header], rows, (*header[2:-2], "needs"))


def _room(policies: Sequence[Sequence[Cells]], sizes: Sequence[int]) -> list[str]:
    """The exact room, and what the rows of this board show of it."""
    said = []
    known = next((s[0] for s in policies if s[0]["room_own"] is not None), None)
    if known is not None:
        room = Room(known["room_single"], known["room_own"])
        said.append(f"{room.sentence} (Exact, in values V; means over seeds.)")
    told = [s for s in policies if s[0]["role"] in ("ceiling", "gold") and _sees(s[0])]
    told = [s for s in told if _last(s)["minus_single"] is not None]
    if told:
        best = max(told, key=lambda strata: _last(strata)[WORST])
        last, single = _last(best), best[0]["single"]
        by = f" with {last['n']} pairs" if "pairs" in last["sees"].split() and last["n"] else ""
        said.append(
            f"In win rates: the worst group has {last[WORST]:.2f} of {best[0]['aligner']}{by}, "
            f"{_mean(last, 'minus_single', True, '+')} beyond {single}, the best single policy learned."
            f"{_better_single(policies, last, single)}"
        )
    return said


def _better_single(policies: Sequence[Sequence[Cells]], last: Cells, single: str) -> str:
    """A sentence where a policy for everybody that knows the truth gives the worst group more."""
    alone = [s for s in policies if not _sees(s[0]) and s[0]["role"] in ("ceiling", "gold", _SINGLE)]
    best = max(alone, key=lambda strata: _last(strata)[WORST])
    if best[0]["aligner"] == single:
        return ""
    return (
        f" A single policy that is told the true utilities, {best[0]['aligner']}, gives it "
        f"{_last(best)[WORST]:.2f}."
    )


def _failed(policies: Sequence[Sequence[Cells]], names: Sequence[str]) -> list[str]:
    return [
        f"control failed by {name}: {_failure(row)}"
        for strata, name in zip(policies, names, strict=True)
        for row in strata
        if row["control"] == "fails"
    ]


def _notes(policies: Sequence[Sequence[Cells]]) -> list[str]:
    said = []
    if any(_sees(strata[0]) for strata in policies):
        said.append(
            "surely: paired over seeds, 5%, corrected by Holm over n; never: more than "
            f"{SLIGHT:.2f} is ruled out at every n; a control passes where own labels are surely worth more "
            f"than those, and fails where more than {SLIGHT:.2f} is ruled out or nothing that the policy "
            "says depends on them; n = 0 passes where the default answers whoever nothing is known of"
        )
    few = said_of_all(strata[0]["n_seeds"] for strata in policies)
    return [*said, *([few] if few else [])]


def _failure(row: Cells) -> str:
    if row["context"] == "own":
        return "whoever nothing is known of is not given its default"
    worth = _mean(row, "own_minus", True, "+")
    return f"own labels are worth {worth} beyond those of the control '{row['context']}'"


# ---------------------------------------------------------------------------------------------- as text


def _in_document(board: PeopleBoard, fmt: Document) -> list[str]:
    parts = [heading(board.title, fmt), *(paragraph(line, fmt) for line in board.room)]
    for table in board.tables:
        parts.append(paragraph(f"{table.title[0].upper()}{table.title[1:]}.", fmt))
        parts.append(document(table.header, table.rows, fmt))
    return [*parts, *(paragraph(line, fmt) for line in (*board.failed, *board.notes))]


def _plain(board: PeopleBoard, narrow: PeopleBoard, console: Console) -> list[str]:
    """A board for a terminal; where it is too narrow, without intervals, and then without some columns."""
    lines = textwrap.wrap(one_line(board.title), console.width)
    for sentence in board.room:
        lines += textwrap.wrap(one_line(sentence), console.width)
    shown = [
        whole if _least(whole) <= console.width else _fitted(bare, console.width)
        for whole, bare in zip(board.tables, narrow.tables, strict=True)
    ]
    for table in shown:
        lines += ["", *_rich(table, console)]
    if shown != board.tables:
        lines += ["", *textwrap.wrap("too narrow for all: see the markdown or csv format", console.width)]
    for note in (*board.failed, *board.notes):
        lines += textwrap.wrap(one_line(note), console.width)
    return lines


def _fitted(table: PeopleTable, width: int) -> PeopleTable:
    """The table without as many of its expendable columns as it takes to fit."""
    for name in table.expendable:
        if _least(table) <= width:
            break
        kept = [i for i, head in enumerate(table.header) if head != name]
        rows = [[row[i] for i in kept] for row in table.rows]
        table = replace(table, header=[table.header[i] for i in kept], rows=rows)
    return table


def _least(table: PeopleTable) -> int:
    """Columns that a terminal has to have: names and answers wrap, numbers do not."""
    return sum(width + 2 for width in _widths(table)) + 1


def _widths(table: PeopleTable, room: int = 0) -> list[int]:
    """The width of each column: the least, and of what wraps as much more as there is room for."""
    found = []
    for i, name in enumerate(table.header):
        cells = [name, *(row[i] for row in table.rows)]
        parts = [part for cell in cells for part in (cell.split() if name in _WRAPPED else cell.splitlines())]
        least = max(map(cell_len, parts), default=0)
        more = min(room, max(map(cell_len, cells)) - least) if name in _WRAPPED else 0
        room -= more
        found.append(least + more)
    return found


def _rich(shown: PeopleTable, console: Console) -> list[str]:
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    widths = _widths(shown, max(0, console.width - _least(shown)))
    for name, width in zip(shown.header, widths, strict=True):
        table.add_column(name, width=width, no_wrap=name not in _WRAPPED, overflow="fold")
    for row in shown.rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    with console.capture() as capture:
        console.print(table)
    lines = "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")
    return [*textwrap.wrap(visible(shown.title), console.width), "", lines]
