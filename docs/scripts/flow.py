"""The picture of docs/concepts.md, who makes what of what in a run: `python docs/scripts/flow.py`.

Steps that are stored have their stage's name below them. `tests/docs/test_written_pages.py` compares
the picture with what this would draw now, and the names with the stages of a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "images" / "flow.svg"
WIDTH, HEIGHT = 860, 452
BOX = 168, 62
"""Width and height of a box."""
INK, SOFT, LINE, PEOPLE, MACHINE, SAID = "#1b1f23", "#57606a", "#8c959f", "#fbe9dc", "#e4eef6", "#f1f3f5"


@dataclass(frozen=True)
class Box:
    """One step: who acts, what it makes, and the stage in which that is stored, if it is."""

    x: int
    y: int
    title: str
    said: str
    colour: str
    stage: str = ""

    @property
    def middle(self) -> tuple[float, float]:
        """The box's middle."""
        return self.x + BOX[0] / 2, self.y + BOX[1] / 2


BOXES = {
    "task": Box(20, 40, "task", "groups, wishes, prompts", PEOPLE),
    "reference": Box(240, 40, "reference policy", "where alignment starts", MACHINE, "reference"),
    "pairs": Box(460, 40, "pairs", "two answers to a prompt", SAID, "pairs"),
    "annotators": Box(672, 40, "annotators", "say which they prefer", PEOPLE, "labels"),
    "view": Box(672, 170, "view", "only what is declared", SAID),
    "aligner": Box(460, 170, "aligner", "learns from the labels", MACHINE, "rewards"),
    "policy": Box(240, 170, "policy", "for all, or each person", MACHINE, "policy"),
    "outside": Box(20, 170, "policy from outside", "weights, table, server", MACHINE),
    "answers": Box(240, 300, "test prompts", "both policies answer", SAID, "samples"),
    "evaluator": Box(460, 300, "evaluator", "asks each group's wish", PEOPLE, "scores"),
    "record": Box(672, 300, "record", "who won, who lost", SAID),
}
ARROWS = (
    ("task", "reference"),
    ("reference", "pairs"),
    ("pairs", "annotators"),
    ("annotators", "view"),
    ("view", "aligner"),
    ("aligner", "policy"),
    ("policy", "answers"),
    ("outside", "answers"),
    ("answers", "evaluator"),
    ("evaluator", "record"),
)


def drawn_box(box: Box) -> Iterator[str]:
    """A box with its words."""
    x, y = box.x, box.y
    size = f'width="{BOX[0]}" height="{BOX[1]}"'
    yield f'<rect x="{x}" y="{y}" {size} rx="7" fill="{box.colour}" stroke="{LINE}"/>'
    middle = x + BOX[0] // 2
    words = f'text-anchor="middle" x="{middle}"'
    yield f'<text {words} y="{y + 27}" fill="{INK}" font-weight="600">{escape(box.title)}</text>'
    yield f'<text {words} y="{y + 46}" fill="{SOFT}" font-size="12">{escape(box.said)}</text>'
    if box.stage:
        yield f'<text {words} y="{y + 77}" fill="{SOFT}" font-size="11">stored: {escape(box.stage)}</text>'


def edge(box: Box, towards: Box) -> tuple[float, float]:
    """Where an arrow leaves a box: the middle of the side that faces the other one."""
    (x, y), (there, below) = box.middle, towards.middle
    if box.y != towards.y and box.x == towards.x:
        return x, y + (BOX[1] / 2 + (18 if box.stage else 0) if below > y else -BOX[1] / 2)
    if box.y != towards.y:
        return x, y + BOX[1] / 2
    return x + (BOX[0] / 2 if there > x else -BOX[0] / 2), y


def drawn_arrow(one: Box, other: Box) -> str:
    """An arrow between two boxes, straight or with one corner."""
    x, y = edge(one, other)
    if one.y != other.y and one.x != other.x:
        end, level = other.x, other.middle[1]
        path = f"M{x:g} {y:g}V{level:g}H{end:g}"
    else:
        there, below = edge(other, one)
        if one.y != other.y:
            below = other.y
        path = f"M{x:g} {y:g}L{there:g} {below:g}"
    return f'<path d="{path}" fill="none" stroke="{LINE}" stroke-width="1.6" marker-end="url(#tip)"/>'


def picture() -> str:
    """The whole picture, in SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="DejaVu Sans, Verdana, Helvetica, sans-serif" font-size="13.5">',
        "<title>From a task to the leaderboard: who makes what of what</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for box in BOXES.values():
        parts += drawn_box(box)
    parts += [drawn_arrow(BOXES[one], BOXES[other]) for one, other in ARROWS]
    board = "records of several seeds and aligners: leaderboard, comparison, gate, page"
    parts += [
        f'<path d="M756 362V400H{WIDTH - 300}" fill="none" stroke="{LINE}" stroke-width="1.6" '
        'marker-end="url(#tip)"/>',
        f'<text x="{WIDTH - 308}" y="404" text-anchor="end" fill="{INK}">{board}</text>',
    ]
    legend = ((PEOPLE, "knows who wants what"), (MACHINE, "learns or writes"), (SAID, "is passed on"))
    for i, (colour, words) in enumerate(legend):
        x = 20 + 200 * i
        parts.append(f'<rect x="{x}" y="426" width="14" height="14" rx="3" fill="{colour}" stroke="{LINE}"/>')
        parts.append(f'<text x="{x + 21}" y="438" fill="{SOFT}" font-size="12">{words}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
