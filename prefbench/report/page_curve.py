"""The page's personal curves: the worst group's win rate by what is known of a person, without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from prefbench.boards.people import WORST
from prefbench.report.figures import Style, style
from prefbench.report.markup import escape
from prefbench.report.page_svg import group, level, line, marker, swatch, upright

WIDTH, HEIGHT = 520, 320
"""Size of the drawing, in pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 12, 46
_ASIDE = 7
"""Pixels between the marks of two policies, so that no interval lies on another."""
Cells = Mapping[str, Any]
"""A row of `people_frame`, what is missing None."""


def curve_figure(rows: Sequence[Cells], of: str, known: Mapping[str, Style]) -> str:
    """The drawing of one board with its legend; empty where nobody is unseen.

    Args:
        rows: of the board, each policy under each knowledge of people.
        of: what the board is of.
        known: looks of the page's lines by their names, which policies have here, too.
    """
    policies: dict[str, list[Cells]] = {}
    for row in rows:
        if row["context"] == "own" and row[WORST] is not None:
            policies.setdefault(row["config_hash"], []).append(row)
    places: list[int | None] = [*sorted({row["n"] for row in rows if row["n"] is not None}), None]
    if len(places) < 2:
        return ""
    looks = _looks(
        {key: policies[key][0] for key in sorted(policies, key=lambda k: _name(policies[k][0]))}, known
    )
    aside = {key: (index - (len(looks) - 1) / 2) * _ASIDE for index, key in enumerate(looks)}
    drawn = "".join(_drawn(policies[key], looks[key], places, aside[key]) for key in looks)
    legend = "".join(
        f"<li>{swatch(looks[key])}<bdi>{escape(_name(policies[key][0]))}</bdi></li>" for key in looks
    )
    said = (
        f"the worst group's win rate against what is known of a person, {of}; numbers are in the table below"
    )
    return (
        f'<figure><svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(said)}">{_axes(places)}{drawn}</svg><ul class="legend">{legend}</ul></figure>\n'
    )


def _looks(policies: Mapping[str, Cells], known: Mapping[str, Style]) -> dict[str, Style]:
    """Looks of each policy: those of its line or of its aligner, and where they are taken others."""
    found: dict[str, Style] = {}
    for key, row in policies.items():
        mine = known.get(_name(row), known.get(row["aligner"]))
        wanted = chain([] if mine is None else [mine], map(style, range(len(known), len(known) + 200)))
        found[key] = next((look for look in wanted if look not in found.values()), style(len(found)))
    return found


def _axes(places: Sequence[int | None]) -> str:
    floor, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    middle = (_LEFT + right) // 2
    title = "labelled pairs known of an unseen person; right: seen in training"
    return "".join(
        [
            *(level(_LEFT, right, _y(tick / 5), f"{tick / 5:.1f}") for tick in range(6)),
            *(upright(_TOP, floor, _x(n, places), "seen" if n is None else str(n)) for n in places),
            f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>',
            f'<line class="half" x1="{_LEFT}" x2="{right}" y1="{_y(0.5)}" y2="{_y(0.5)}"/>',
            f'<text class="label" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{title}</text>',
            f'<text class="label" transform="translate(13 {(_TOP + floor) // 2}) rotate(-90)" '
            'text-anchor="middle">worst group\'s win rate</text>',
        ]
    )


def _drawn(rows: Sequence[Cells], looks: Style, places: Sequence[int | None], aside: float) -> str:
    """One policy: a line over numbers of pairs, and a point of its own for people seen in training."""
    known = {row["n"]: row for row in rows}
    order = [n for n in places if n in known]
    path = "L".join(f"{_x(n, places, aside)} {_y(known[n][WORST])}" for n in order if n is not None)
    parts = [line(looks, f"M{path}")] if path else []
    for n in order:
        row, x = known[n], _x(n, places, aside)
        value, low, high = (row[f"{WORST}{end}"] for end in ("", "_low", "_high"))
        interval = ""
        if low is not None and high is not None:
            parts.append(f'<line class="whisker" x1="{x}" x2="{x}" y1="{_y(low)}" y2="{_y(high)}"/>')
            interval = f" [{low:.2f}, {high:.2f}]"
        what = "seen in training" if n is None else f"{n} pairs known"
        parts.append(marker(looks, x, _y(value), f"{_name(row)}, {what}: {value:.2f}{interval}"))
    return group(looks, "".join(parts))


def _name(row: Cells) -> str:
    return f"{row['aligner']} ({row['options']})" if row["options"] else str(row["aligner"])


def _x(n: int | None, places: Sequence[int | None], aside: float = 0.0) -> str:
    room = (WIDTH - _LEFT - _RIGHT) / len(places)
    return f"{_LEFT + (places.index(n) + 0.5) * room + aside:.1f}"


def _y(rate: float) -> str:
    return f"{HEIGHT - _BOTTOM - rate * (HEIGHT - _BOTTOM - _TOP):.1f}"
