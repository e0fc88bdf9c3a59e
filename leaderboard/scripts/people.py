"""Tables of docs/personal.md on policies for each person: what they win, whom they beat, and how evenly."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prefbench.boards.people_file import people_frame
from prefbench.boards.people_show import people_boards
from prefbench.boards.rows import Row


def tables(rows: Sequence[Row]) -> list[str]:
    """Worst groups by what is known of people, controls, and how evenly people fare; rows of one board."""
    (board,) = people_boards(people_frame(rows))
    return [
        pd.DataFrame(table.rows, columns=[" ".join(name.split()) for name in table.header]).to_markdown(
            index=False, disable_numparse=True
        )
        for table in board.tables
    ]
