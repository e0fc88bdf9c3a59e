"""The page's section on frontiers: drawings and tables that need no script.

It is there only where an aligner was run with several strengths.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from prefbench.boards.frontier import NATS, Frontier, Quantity, by_board, frontiers_of
from prefbench.boards.ranks import roles
from prefbench.boards.rows import Row
from prefbench.report.figures import ratio_label
from prefbench.report.frontier_lines import (
    PANELS,
    TICKS,
    FrontierLine,
    ends_of,
    gains_of,
    lines_of,
    panels_of,
)
from prefbench.report.markup import escape
from prefbench.report.page_svg import group, level, line, marker, swatch, upright
from prefbench.stats.runs import interval_of, mean_of_figures

WIDTH, HEIGHT = 400, 300
"""Size of one panel, in pixels of the drawing."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 22, 44
_HOW = (
    "Each line is an aligner run with several strengths, from close to the reference policy on the "
    "left to far from it on the right; what is higher at the same KL is better. Points are means over "
    "seeds of each run&rsquo;s own worst group. Gains are counted in standard deviations over "
    "reference responses, of the group or the learned reward that gained least: where the learned "
    "reward goes on to rise and the true utility falls, too much was optimised. Grey lines are "
    "told the true utilities; where the divergence of a policy that needs no training is unknown, its upper "
    "bound stands in its place."
)


def frontier_section(rows: Iterable[Row]) -> str:
    """The section, as markup that ends in a line break; empty where there is no frontier."""
    rows = list(rows)
    boards = by_board(frontiers_of(rows))
    if not boards:
        return ""
    aligners = roles(rows)
    parts = [_board(found, aligners, len(boards) > 1) for found in boards.values()]
    return (
        '<section id="frontier" class="wide" aria-labelledby="frontier-title">\n'
        '<h2 id="frontier-title">What each step away from the reference buys</h2>\n'
        f'<p class="how">{_HOW}</p>\n{"".join(parts)}</section>\n'
    )


def _board(frontiers: Sequence[Frontier], aligners: Mapping[str, str], named: bool) -> str:
    record = frontiers[0].record
    lines = lines_of(frontiers, aligners)
    title = (
        f"{record.task}@{record.task_version}, {record.model}, {record.data}, "
        f"{ratio_label(record.minority_ratio)}"
    )
    head = f"<h3>{escape(title)}</h3>\n" if named else ""
    panels = "".join(_panel(name, lines) for name in panels_of(lines))
    legend = "".join(f"<li>{swatch(one.style)}<bdi>{escape(one.name)}</bdi></li>" for one in lines)
    return (
        f'{head}<figure><div class="panels">{panels}</div><ul class="legend">{legend}</ul></figure>\n'
        f"{_table(title, lines)}\n"
    )


def _panel(quantity: Quantity, lines: Sequence[FrontierLine]) -> str:
    """One drawing: a quantity against KL on a logarithmic axis."""
    low, high = ends_of(lines)
    rate = quantity == "worst_group"
    bottom, top = (0.0, 1.0) if rate else gains_of(lines, quantity)
    right, floor = WIDTH - _RIGHT, HEIGHT - _BOTTOM

    def x(nats: float) -> str:
        share = math.log(nats / low) / math.log(high / low)
        return f"{_LEFT + share * (right - _LEFT):.1f}"

    def y(value: float) -> str:
        return f"{floor - (value - bottom) / (top - bottom) * (floor - _TOP):.1f}"

    drawn = []
    drawn += [level(_LEFT, right, y(value), f"{value:g}") for value in _steps(bottom, top)]
    drawn += [upright(_TOP, floor, x(nats), f"{nats:g}") for nats in TICKS if low <= nats <= high]
    middle, title = (_LEFT + right) // 2, "KL (nats per response)"
    none = y(0.5 if rate else 0.0)
    drawn += [
        f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>',
        f'<line class="half" x1="{_LEFT}" x2="{right}" y1="{none}" y2="{none}"/>',
        f'<text class="label" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{title}</text>',
        f'<text class="label" x="{_LEFT}" y="13">{escape(PANELS[quantity])}</text>',
        *(_drawn(one, quantity, x, y) for one in lines if one.points(quantity)),
    ]
    said = f"{PANELS[quantity]} against KL, a line for each aligner; numbers are in the table below"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(said)}">{"".join(drawn)}</svg>'
    )


def _drawn(
    found: FrontierLine, quantity: Quantity, x: Callable[[float], str], y: Callable[[float], str]
) -> str:
    """A line with its markers, each with a title that a pointer brings up."""
    points = found.points(quantity)
    path = "L".join(f"{x(nats)} {y(value)}" for nats, value in points)
    marks = "".join(
        marker(found.style, x(nats), y(value), f"{found.name}: {value:.2f} at {nats:.2f} nats")
        for nats, value in points
    )
    return group(found.style, f"{line(found.style, f'M{path}')}{marks}")


def _steps(low: float, high: float) -> list[float]:
    """Round values of an axis, five or so."""
    raw = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


_GAINS = ("most utility", "reward there", "last utility", "last reward")


def _table(title: str, lines: Sequence[FrontierLine]) -> str:
    """Worst group at some divergences, the area, and gains on the way."""
    columns = [f"at {nats:g} nats" for nats in NATS]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in (
            ("aligner", ""),
            ("option", ""),
            *((name, ' class="number"') for name in ("KL", *columns, "area", *_GAINS)),
        )
    )
    body = "\n".join(map(_row, lines))
    caption = (
        f"{escape(title)}: the worst group&rsquo;s win rate at equal KL and its mean over log KL from 1 to 8 "
        "nats; the most true utility gained on the way, at which KL, and the learned reward there; both at "
        "the largest KL. Empty where it was not measured."
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Frontiers of {escape(title)}">'
        f"<table><caption>{caption}</caption>"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(one: FrontierLine) -> str:
    found = one.frontier
    ends = [x for x, _ in found.means()]
    bound = "at most " if found.measure == "bound" else ""
    cells = [
        f'<th scope="row">{swatch(one.style)} <bdi>{escape(one.name)}</bdi></th>',
        f"<td>{escape(found.option)} {found.strengths[0]:g} to {found.strengths[-1]:g}</td>",
        _cell(f"{bound}{min(ends):.2f} to {max(ends):.2f}"),
        *(_cell(_mean(found.at(nats))) for nats in NATS),
        _cell(_mean(found.areas())),
        *(_cell(text) for text in _gains(found)),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _gains(found: Frontier) -> list[str]:
    """The most true utility on the way with the learned reward there, and both at the largest KL."""
    utility, proxy = found.means("utility"), found.means("proxy")
    if not utility:
        return [""] * len(_GAINS)
    best = max(range(len(utility)), key=lambda place: utility[place][1])
    there, last = (f"{proxy[place][1]:.2f}" if proxy else "" for place in (best, -1))
    nats, most = utility[best]
    return [f"{most:.2f} at {nats:.2f}", there, f"{utility[-1][1]:.2f}", last]


def _mean(values: Sequence[float]) -> str:
    """A mean over seeds with its 95% interval where there are several."""
    if not values:
        return ""
    mean = mean_of_figures(values)
    if len(values) == 1:
        return f"{mean.estimate:.2f}"
    low, high = interval_of(mean)
    return f'{mean.estimate:.2f} <span class="ci">[{low:.2f}, {high:.2f}]</span>'


def _cell(text: str) -> str:
    return f'<td class="number">{text}</td>'
