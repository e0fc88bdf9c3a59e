"""The page's matrix: every two policies of a board head to head, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefbench.boards.matrix import SURE, head_to_head, titles_of
from prefbench.boards.rows import Row
from prefbench.errors import UserError
from prefbench.text import one_line


def matrix_of(rows: Sequence[Row], lines: Sequence[int]) -> dict[str, Any] | None:
    """The duels of rows at one split; None where fewer than two can be held against each other.

    Args:
        rows: of one board.
        lines: the number of each row's line.

    Returns:
        `lines` from the best worst group down; `rates` by group, for each two of them (0 and 1, 0 and 2 and
        so on) the win rate of the first, its 95% interval, and 1 where it is surely not one half.
    """
    try:
        found = head_to_head(rows)
    except UserError:
        return None
    titles = titles_of([row for row in rows if row.measurable])
    if len(set(titles)) < len(titles):  # by their names nobody could tell two of them apart
        return None
    line_of = {title: line for title, line in zip(titles, _measurable(rows, lines), strict=True)}
    rates: dict[str, list[list[float]]] = {group: [] for group in found.groups}
    for duel in found.duels:
        rates[duel.group].append(
            [*(round(value, 3) for value in (duel.win_rate, duel.low, duel.high)), int(duel.p_value < SURE)]
        )
    return {
        "lines": [line_of[title] for title in found.policies],
        "seeds": len(found.seeds),
        "prompts": found.n_prompts,
        "out": [one_line(left) for left in found.left_out],
        "groups": [one_line(group) for group in found.groups],
        "rates": [rates[group] for group in found.groups],
    }


def _measurable(rows: Sequence[Row], lines: Sequence[int]) -> list[int]:
    return [line for row, line in zip(rows, lines, strict=True) if row.measurable]
