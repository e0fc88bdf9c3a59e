"""Pieces of the page's drawings that need no script: markers, lines and what they look like in a legend."""

from __future__ import annotations

from prefbench.report.markup import escape
from prefbench.report.styles import PALETTE, Style

_SHAPES = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z",
    "square": "M-4 -4H4V4H-4Z",
    "triangle": "M0 -5.2L5 3.8H-5Z",
    "diamond": "M0 -5.6L5 0L0 5.6L-5 0Z",
    "down": "M0 5.2L5 -3.8H-5Z",
    "plus": "M-1.8 -5H1.8V-1.8H5V1.8H1.8V5H-1.8V1.8H-5V-1.8H-1.8Z",
    "cross": "M-5 -2.6L-2.6 -5L0 -2.4L2.6 -5L5 -2.6L2.4 0L5 2.6L2.6 5L0 2.4L-2.6 5L-5 2.6L-2.4 0Z",
}
"""Markers as page_files/core.js draws them."""


def marker(style: Style, x: str, y: str, said: str) -> str:
    """A marker at a place, with a title that a pointer brings up."""
    return (
        f'<path class="mark" d="{_SHAPES[style.marker]}" transform="translate({x} {y})">'
        f"<title>{escape(said)}</title></path>"
    )


def line(style: Style, path: str) -> str:
    """A line along a path, in the style's dashes and the colour of what it stands in."""
    dash = " ".join(f"{length:g}" for length in style.dash)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="line"{dashes} d="{path}"/>'


def group(style: Style, parts: str) -> str:
    """Parts of a drawing in the style's colour."""
    return f'<g class="series {colour_class(style)}">{parts}</g>'


def swatch(style: Style) -> str:
    """A short piece of a line with its marker, for a legend."""
    return (
        f'<svg class="swatch {colour_class(style)}" width="34" height="14" viewBox="0 0 34 14" '
        f'aria-hidden="true">{line(style, "M1 7H33")}'
        f'<path class="mark" d="{_SHAPES[style.marker]}" transform="translate(17 7)"/></svg>'
    )


def colour_class(style: Style) -> str:
    """The page's class of a style's colour."""
    return f"c{PALETTE.index(style.colour)}"


def level(left: int, right: int, at: str, text: str) -> str:
    """A line of the grid across a drawing, and the value of its height."""
    return (
        f'<line class="grid" x1="{left}" x2="{right}" y1="{at}" y2="{at}"/>'
        f'<text x="{left - 6}" y="{at}" dy="4" text-anchor="end">{text}</text>'
    )


def upright(top: int, floor: int, at: str, text: str) -> str:
    """A line of the grid up a drawing, and the value of its place."""
    return (
        f'<line class="grid" x1="{at}" x2="{at}" y1="{top}" y2="{floor}"/>'
        f'<text x="{at}" y="{floor + 16}" text-anchor="middle">{text}</text>'
    )
