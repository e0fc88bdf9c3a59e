"""The rooms in docs/architecture.md, drawn and listed from the code: `python docs/scripts/rooms.py`.

The floors are the layers of the import contract in pyproject.toml, the imports are what grimp (which
import-linter is built on) finds, and a room's sentence is the first paragraph of its own docstring.
`tests/test_architecture.py` compares what is written with what this would write now.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
PAGE = ROOT / "docs" / "architecture.md"
MARKED = re.compile(r"(?<=<!-- rooms -->\n).*?(?=<!-- /rooms -->)", re.DOTALL)
HOUSE = "prefbench"
GUESTS = {"prefbench_tasks": "tasks", "prefbench_baselines": "baselines"}
"""Packages that stand on the house and the folders they are in."""

Floor = tuple[str, ...]
"""Modules that may not import each other."""

CELL = 27
LEFT = 150
TOP = 12
SIZES = ((2, 3), (9, 6), (10**6, 10))
"""Imports up to so many, and the radius of their dot: coarse, so that one more seldom moves the picture."""
AMOUNTS = ("1 or 2", "3 to 9", "10 or more imports")


def floors() -> list[Floor]:
    """Top to bottom: the guests, the face that they enter by, and the contract's layers."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    return [tuple(GUESTS), (HOUSE,), *(tuple(layer.split(" | ")) for layer in layers)]


def graph() -> grimp.ImportGraph:
    """Every import of the house and its guests, those for type checkers included."""
    return grimp.build_graph(HOUSE, *GUESTS, cache_dir=None)


def room_of(module: str) -> str:
    """The room that a module is in: `prefbench.learn` for `prefbench.learn.em`."""
    parts = module.split(".")
    return parts[0] if parts[0] in GUESTS else ".".join(parts[:2])


def imports(found: grimp.ImportGraph) -> Counter[tuple[str, str]]:
    """Imports between every two rooms, counted by module that imports and module that is imported.

    Modules of the house that import `prefbench` itself ask for its version; they do not enter by its face.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for module in found.modules:
        for imported in found.find_modules_directly_imported_by(module):
            one, other = room_of(module), room_of(imported)
            if one != other and (other != HOUSE or one in GUESTS):
                counts[one, other] += 1
    return counts


def path_of(room: str) -> Path:
    """A room's folder or file, from the root of the repository."""
    folder = Path(GUESTS.get(room, room.replace(".", "/")))
    return folder if (ROOT / folder).is_dir() else folder.with_suffix(".py")


def label(room: str) -> str:
    """A room's name on the page: `learn/` for a folder, `spec` for a file."""
    if room == HOUSE:
        return "import prefbench as pb"
    return f"{path_of(room).name}/" if (ROOT / path_of(room)).is_dir() else path_of(room).stem


def sentence(room: str) -> str:
    """The first paragraph of a room's docstring."""
    path = ROOT / path_of(room)
    source = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8")))
    if text is None:
        raise SystemExit(f"{source.relative_to(ROOT)} has no docstring: write what the room holds.")
    return " ".join(text.split("\n\n")[0].split())


def table(rooms: Sequence[Floor]) -> str:
    """Every room with its sentence, a row each; rooms of one floor follow each other."""
    rows = [
        f"| [`{label(room)}`](../{path_of(room)}) | {sentence(room)} |" for floor in rooms for room in floor
    ]
    return "\n".join(["| room | holds |", "|---|---|", *rows]) + "\n"


def picture(rooms: Sequence[Floor], counts: Counter[tuple[str, str]]) -> str:
    """The floors as a staircase, in SVG: a floor's row says what it imports, its column who imports it."""
    size = len(rooms) * CELL
    width, height = LEFT + size + 12, TOP + size + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        'font-family="DejaVu Sans, Verdana, Helvetica, sans-serif" font-size="12.5">',
        "<title>The rooms of prefbench and how often they import each other</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for i, floor in enumerate(rooms):
        parts += _floor(i, floor, len(rooms))
    for i, floor in enumerate(rooms):
        for j, below in enumerate(rooms):
            number = sum(counts[one, other] for one in floor for other in below)
            if number:
                parts.append(_dot(i, j, number))
    parts += _legend(height)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _at(i: int) -> int:
    return TOP + i * CELL


def _floor(i: int, floor: Floor, count: int) -> list[str]:
    """A floor's step, its name before it, and its lines to the right and upwards."""
    x, y, middle = LEFT + i * CELL, _at(i), _at(i) + CELL // 2
    names = escape(", ".join(label(room) for room in floor))
    return [
        f'<path d="M{x + CELL // 2} {TOP}V{middle}H{LEFT + count * CELL}" fill="none" stroke="#e3e6ea"/>',
        f'<rect x="{x + 2}" y="{y + 2}" width="{CELL - 4}" height="{CELL - 4}" rx="3" fill="#36454f"/>',
        f'<text x="{x - 5}" y="{middle + 4}" text-anchor="end" fill="#1b1f23">{names}</text>',
    ]


def _dot(i: int, j: int, number: int) -> str:
    """Imports of one floor in another's row."""
    radius = next(size for most, size in SIZES if number <= most)
    return (
        f'<circle cx="{LEFT + j * CELL + CELL // 2}" cy="{_at(i) + CELL // 2}" r="{radius}" fill="#2f6f9f"/>'
    )


def _legend(height: int) -> list[str]:
    """How to read it, in the corner that the steps leave free."""
    lines = (
        "Ground at the bottom, doors at the top.",
        "A row: what a floor imports.",
        "A column, upwards: who imports it.",
        "Left of the steps is nothing, since no floor",
        "imports one that stands above it.",
    )
    top = height - 170
    parts = [f'<text x="16" y="{top + 20 * i}" fill="#57606a">{line}</text>' for i, line in enumerate(lines)]
    for i, (_, radius) in enumerate(SIZES):
        parts.append(f'<circle cx="{28 + 100 * i}" cy="{top + 108}" r="{radius}" fill="#2f6f9f"/>')
        parts.append(f'<text x="{44 + 100 * i}" y="{top + 112}" fill="#57606a">{AMOUNTS[i]}</text>')
    return parts


def main() -> None:
    """Write the picture and the table."""
    rooms = floors()
    PICTURE.write_text(picture(rooms, imports(graph())), encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKED.sub(lambda _: table(rooms), page), encoding="utf-8")


if __name__ == "__main__":
    main()
