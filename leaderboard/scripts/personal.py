"""The curves of docs/personal.md, of every world: `python leaderboard/scripts/personal.py`.

Writes leaderboard/personal.csv, which `tables.py` makes the page's table of, and the page's picture.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from prefbench import registry
from prefbench.evaluate.context_curve import curves
from prefbench.evaluate.room import NO_ROOM
from prefbench.report.personal_plot import save_figure

PUBLISHED = Path(__file__).parents[1]
IMAGE = PUBLISHED.parent / "docs" / "images" / "personal.png"
OPTIONS = {
    "bandit_two_group": [{"features": "same"}, {"features": "swapped"}, {"features": "flipped"}],
}
"""Worlds of a task that differ in what there is to gain; of the others the default."""
SHOWN = {"value": "of all methods", "shares_value": "shares"}


def computed() -> pd.DataFrame:
    """The curve of every world that comes with prefbench, named by its task and options."""
    parts = []
    for entry in registry.entries("task"):
        if entry.backbone == "finite":
            for sets in OPTIONS.get(entry.name, [{}]):
                name = ", ".join([entry.name, *sets.values()])
                parts.append(curves(entry.name, sets=sets).assign(task=name))
    return pd.concat(parts, ignore_index=True)


def table(frame: pd.DataFrame) -> str:
    """Two rows for each world: the worst group's value by number of pairs, under either prior."""
    rows = []
    for world, part in frame.groupby("task", sort=False):
        by_pairs = part.set_index("pairs")
        room = by_pairs["value"].iloc[-1] - by_pairs["value"].iloc[0]
        for measure, name in SHOWN.items():
            rows.append(
                {
                    "world": world if measure == "value" else "",
                    "room": ("0" if room <= NO_ROOM else f"{room:.2f}") if measure == "value" else "",
                    "best": name,
                    **{
                        "limit"
                        if pairs == float("inf")
                        else f"n = {pairs:.0f}": f"{round(value, 2) + 0.0:.2f}"
                        for pairs, value in by_pairs[measure].items()
                    },
                    "largest error": f"{by_pairs[f'{measure}_se'].max():.3f}",
                }
            )
    return pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)


if __name__ == "__main__":
    registry.load_plugins()
    frame = computed()
    frame.to_csv(PUBLISHED / "personal.csv", index=False, float_format="%.6g")
    with tempfile.TemporaryDirectory() as folder:
        (drawn,) = save_figure(frame, Path(folder), ("png",))
        IMAGE.write_bytes(drawn.read_bytes())
    print(table(frame))
