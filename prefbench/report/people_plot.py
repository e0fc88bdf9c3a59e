"""The figure of what is known of people: the worst group against the number of a person's pairs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from prefbench.boards.people_file import people_frame
from prefbench.boards.rows import Row
from prefbench.report.drawing import half, heading, legend, looks, new_figure, tidy, words
from prefbench.report.figures import ratio_label
from prefbench.report.setting_plots import CAPTION
from prefbench.report.styles import styles_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_SINGLE = "best single policy"


def people_boards(rows: Sequence[Row], aligners: Collection[str] | None = None) -> dict[str, pd.DataFrame]:
    """Figures by what is known of people, by the label of their board; none where nobody is told apart."""
    import pandas as pd

    frame = people_frame(rows)
    found = {}
    columns = ["task", "model", "data", "setting", "minority_ratio", "numerics"]
    for key, board in frame.groupby(columns, sort=False, dropna=False):
        own = board[(board["context"] == "own") & board["worst_group_win_rate"].notna()]
        told = own[(own["sees"] != "nothing") & (own["role"] != _SINGLE)]
        if aligners:
            told = told[told["aligner"].isin(aligners)]
        if not told.empty:
            single = own[own["role"] == _SINGLE]
            task, model, data, options, ratio, _ = cast(tuple[Any, ...], key)
            label = ", ".join(filter(None, [task, model, data, options, ratio_label(ratio)]))
            found[label] = pd.concat([single, told])
    return found


def draw_people(label: str, board: pd.DataFrame, aligners: Mapping[str, str], width: float) -> Figure:
    """The worst group's win rate by pairs that are known of a person, a line for each policy that sees some.

    The best single policy is a grey band: it is the same whatever is known.

    Args:
        label: of the board.
        board: from `people_boards`.
        aligners: all aligners of the folder with their roles.
        width: inches.
    """
    unseen = sorted({int(n) for n in board.loc[board["known"] == "unseen", "n"].dropna()})
    places = [*unseen, *([None] if (board["known"] == "seen").any() else [])]
    figure = new_figure(width, 0.62 * width + 0.8)
    axes = figure.subplots()
    names = {key: _name(rows) for key, rows in board.groupby("config_hash", sort=False)}
    styles = styles_of(aligners, names.values())
    told = [key for key, rows in board.groupby("config_hash", sort=False) if (rows["role"] != _SINGLE).all()]
    for key, rows in board.groupby("config_hash", sort=False):
        points = [
            (places.index(_known(row)), row) for row in rows.to_dict("records") if _known(row) in places
        ]
        points.sort(key=lambda point: point[0])
        x: list[float] = [place for place, _ in points]
        y, low, high = (
            [row[f"worst_group_win_rate{end}"] for _, row in points] for end in ("", "_low", "_high")
        )
        if (rows["role"] == _SINGLE).all():
            axes.fill_between(x, low, high, color="0.6", alpha=0.2, linewidth=0)
            axes.plot(x, y, color="0.3", linewidth=1, linestyle=(0, (4, 2)), label=f"{names[key]}, {_SINGLE}")
            continue
        look = looks(styles[names[key]], names[key])
        beside = 0.07 * (told.index(key) - (len(told) - 1) / 2)  # so that no interval hides another
        x = [place + beside for place, _ in points]
        axes.plot(x, y, linewidth=1.2, **look)
        axes.vlines(x, low, high, color=look["color"], linewidth=0.8, alpha=0.6)
    half(axes)
    axes.set(ylim=(0, 1), xlabel="labelled pairs that are known of a person", ylabel="worst group's win rate")
    axes.set_xticks(range(len(places)), ["seen in\ntraining" if n is None else str(n) for n in places])
    axes.set_xlim(-0.4, len(places) - 0.6)
    heading(figure, words(label), CAPTION)
    tidy(axes)
    legend(figure, axes)
    return figure


def _known(row: Mapping[Any, Any]) -> int | None:
    return None if row["known"] == "seen" else int(row["n"])


def _name(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{first['aligner']} ({first['options']})" if first["options"] else str(first["aligner"])
